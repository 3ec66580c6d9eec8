"""Maps of inverse depth w = 1 / z: planes fitted over windows, gaps bridged, and what lies between pixels.

Inverse depth is linear in pixel positions on every plane of space, so planes fitted to it are exact, and so is its bilinear interpolation.

Letters: H and W rows and columns, C channels, N positions. Pixel positions as in views.py. 0 stands for depths that aren't known.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from surfrecon import ops
from surfrecon.views import Views

FIT = 5  # pixels along the window of the planes fitted to inverse depth
LEAST_KNOWN = 10  # of the 25 pixels whose median counts: a lone pixel is none
FILLS = (9, 17, 33, 65)  # windows of those that bridge gaps in the surface found so far


def smoothed(w: Tensor, score: Tensor) -> Tensor:
    """Inverse depth without specks and gaps: medians, planes fitted to them, wider ones where nothing is known; 0 where they end."""
    known = (w > 0) & (score > 0)
    median = ops.known_medians(torch.where(known, w, 0), least=LEAST_KNOWN)
    weight = (median > 0).float()
    plane, solid = fitted_planes(median, weight, FIT)
    close = solid & ((plane[2] - median).abs() < 0.003 * median)
    result = torch.where(close, plane[2], median)
    for window in FILLS:
        count, total = ops.box_sums(torch.stack([weight, median * weight]), window)
        result = torch.where((result == 0) & (count > 0), total / count.clamp(min=1), result)
    return result


def fitted_planes(w: Tensor, weight: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Planes w = a dx + b dy + c through inverse depth by weighted least squares over windows, dx and dy from the window's middle.

    Args:
        w: (H, W) inverse depth. weight: (H, W) >= 0.
    Returns:
        (3, H, W) a, b, c, and (H, W) bool: where the windows determine them.
    """
    height, width = w.shape
    x = torch.arange(width, device=w.device, dtype=torch.float64).expand(height, width)
    y = torch.arange(height, device=w.device, dtype=torch.float64)[:, None].expand(height, width)
    m, w = weight.double(), w.double()
    sums = ops.box_sums(torch.stack([m, m * x, m * y, m * x * x, m * x * y, m * y * y, m * w, m * w * x, m * w * y]), window)
    n, sx, sy, sxx, sxy, syy, sw, swx, swy = sums
    per = 1 / n.clamp(min=1e-12)
    xx, xy, yy = sxx - sx * sx * per, sxy - sx * sy * per, syy - sy * sy * per
    wx, wy = swx - sw * sx * per, swy - sw * sy * per
    det = xx * yy - xy * xy
    solid = (n > 0) & (det > 0.05 * n * n)
    det = torch.where(solid, det, 1)
    a, b = (yy * wx - xy * wy) / det, (xx * wy - xy * wx) / det
    c = sw * per + a * (x - sx * per) + b * (y - sy * per)
    return torch.stack([a, b, c]).float(), solid


def sampled(w: Tensor, pixels: Tensor) -> Tensor:
    """(N,) inverse depth at (2, N) pixel positions, linear between pixels; 0 where one of the four isn't known."""
    height, width = w.shape
    grid = torch.nan_to_num(pixels, nan=-10.0).T * torch.tensor([2 / width, 2 / height], device=w.device) - 1
    both = torch.stack([w, (w > 0).float()])[None]
    found, known = grid_sample(both, grid[None, None], mode="bilinear", padding_mode="zeros", align_corners=False)[0, :, 0]
    return torch.where(known > 0.999, found, 0)


def carry(views: Views, reference: int, source: int) -> tuple[np.ndarray, np.ndarray]:
    """(3, 3) and (3,) that take (x, y, 1) and inverse depth of the reference to the source's homogeneous pixel position."""
    there, here = views.cam_from_world[source], views.cam_from_world[reference]
    turn = there[:, :3] @ here[:, :3].T
    shift = there[:, 3] - turn @ here[:, 3]
    k = views.intrinsics[source]
    return k @ turn @ np.linalg.inv(views.intrinsics[reference]), k @ shift


def carried(views: Views, reference: int, source: int, pixels: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """(2, N) pixel positions in the source, NaN behind it, and depth (N,) there of what the reference sees at (2, N) with w (N,)."""
    turn, shift = (torch.as_tensor(value, dtype=w.dtype, device=w.device) for value in carry(views, reference, source))
    place = turn[:, :2] @ pixels + turn[:, 2:] + shift[:, None] * w
    return torch.where(place[2] > 0, place[:2] / place[2], torch.nan), place[2] / w
