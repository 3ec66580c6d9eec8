"""Rays of pixels.

A camera looks along its z, x to the right and y down. (0, 0) is the top left corner of an image, (0.5, 0.5) the centre of its first pixel.
Letters: R rays, H x W pixels of an image.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from surfrecon.errors import InputError


class Rays(NamedTuple):
    """Where cameras are and where pixels look: (R, 3) each, directions of unit length."""

    origins: Tensor
    directions: Tensor


def pixel_centers(width: int, height: int, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Tensor:
    """(H W, 2) x and y of an image's pixels, row by row."""
    y, x = torch.meshgrid(*(torch.arange(size, dtype=dtype, device=device) + 0.5 for size in (height, width)), indexing="ij")
    return torch.stack([x, y], dim=-1).view(-1, 2)


def pixel_rays(pixels: Tensor, intrinsics: Tensor, cam_from_world: Tensor) -> Rays:
    """The rays that end in pixels, in the world's frame.

    Args:
        pixels: (R, 2) x and y.
        intrinsics: (3, 3) of one camera or (R, 3, 3) of each ray's: [[fx, skew, cx], [0, fy, cy], [0, 0, 1]] in pixels; lenses without
            distortion.
        cam_from_world: (3, 4) or (R, 3, 4): a rotation, then a translation.
    Raises:
        InputError: a shape, dtype or device is another.
    Gradient: all inputs, to any order.
    """
    if pixels.ndim != 2 or pixels.shape[1] != 2 or not pixels.is_floating_point():
        raise InputError(f"pixels must be (any, 2) numbers of a floating dtype, got {tuple(pixels.shape)} {pixels.dtype}")
    for name, tensor, shape in (("intrinsics", intrinsics, (3, 3)), ("cam_from_world", cam_from_world, (3, 4))):
        fits = tuple(tensor.shape) in (shape, (len(pixels), *shape))
        if not fits or tensor.dtype != pixels.dtype or tensor.device != pixels.device:
            want = f"{shape} or {(len(pixels), *shape)} {pixels.dtype} on the {pixels.device}, as pixels are"
            raise InputError(f"{name} must be {want}, got {tuple(tensor.shape)} {tensor.dtype} on the {tensor.device}")
    x, y = pixels.unbind(1)
    down = (y - intrinsics[..., 1, 2]) / intrinsics[..., 1, 1]
    right = (x - intrinsics[..., 0, 2] - intrinsics[..., 0, 1] * down) / intrinsics[..., 0, 0]
    in_camera = torch.stack([right, down, torch.ones_like(x)], dim=1)
    world_from_cam = cam_from_world[..., :3].transpose(-1, -2)
    turned = lambda vectors: (world_from_cam @ vectors[..., None])[..., 0]
    origins = -turned(cam_from_world[..., 3]).expand(len(pixels), 3)
    return Rays(origins, normalize(turned(in_camera), dim=1))
