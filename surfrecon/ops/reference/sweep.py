"""Scores of a plane sweep, and sums over windows. Letters: see ops/sweep.py."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from surfrecon.ops.sweep import FILLED, NEAREST_DEPTH, Room, Source, check_sweep

SHOWN = 1 - 1e-5  # of a pixel's weights, the masked ones': all of them but for rounding


@torch.no_grad()
def sweep_scores(
    grey: Tensor,
    mask: Tensor,
    sources: Sequence[Source],
    guide: Tensor,
    offsets: Tensor,
    *,
    window: int,
    two: bool,
    contrast: float,
    room: Room | None = None,
) -> Tensor:
    """How well the sources' windows look like the reference's, for each hypothesis guide + offset.

    The normalised cross-correlation of square windows, over the pixels that both pictures show, each pixel of a window at its own inverse
    depth; -1 where these are less than FILLED of the window, or the pixel itself isn't shown by both. Pictures are linear between pixels.

    Args:
        grey: (H, W) in [-1, 1]. mask: (H, W) 0 or 1.
        sources: with which to compare.
        guide: (H, W) inverse depth. offsets: (P,).
        window: pixels along a side, odd.
        two: whether the mean of the best two sources counts, so that others may be hidden, rather than the best one's.
        contrast: standard deviation of grey in a window below which noise decides, > 0.
        room: outside of it the score is -1.
    Returns:
        (P, H, W) in [-1, 1].
    Raises:
        InputError: a shape, dtype or device is another.
    Gradient: none.
    """
    check_sweep(grey, mask, sources, guide, offsets, window, room)
    height, width = grey.shape
    as_grey = {"dtype": grey.dtype, "device": grey.device}
    y, x = torch.meshgrid(torch.arange(height, **as_grey) + 0.5, torch.arange(width, **as_grey) + 0.5, indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    turned = [torch.einsum("ij,hwj->ihw", source.turn, pixels) for source in sources]
    pictures = [torch.stack([source.grey * source.mask, source.mask]) for source in sources]
    scores = torch.empty(len(offsets), height, width, **as_grey)
    for p, offset in enumerate(offsets):
        w = guide + offset
        best = second = torch.full_like(grey, -1)
        for picture, place, source in zip(pictures, turned, sources):
            ncc = _ncc(grey, mask, picture, place + w * source.shift[:, None, None], window, contrast)
            second = torch.maximum(second, torch.minimum(best, ncc))
            best = torch.maximum(best, ncc)
        scores[p] = (best + second) / 2 if two else best
        if room is not None:
            scores[p] = torch.where(_within(room, pixels, w), scores[p], -1)
    return scores


def box_sums(values: Tensor, window: int) -> Tensor:
    """(C, H, W) sums over odd square windows, zeros beyond the border; log2(window) additions along each axis."""
    for axis in (1, 2):
        values = _run_sums(values, window, axis)
    return values


def _ncc(a: Tensor, mask: Tensor, picture: Tensor, place: Tensor, window: int, contrast: float) -> Tensor:
    """(H, W) correlation of windows of the reference and of a picture (2, H', W'), grey and mask, taken at (3, H, W) positions."""
    height, width = picture.shape[1:]
    z = place[2].clamp(min=NEAREST_DEPTH)
    grid = torch.stack([place[0] / z * (2 / width) - 1, place[1] / z * (2 / height) - 1], dim=-1)
    b, shown = grid_sample(picture[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=False)[0]
    m = mask * (shown > SHOWN) * (place[2] > NEAREST_DEPTH)
    a, b = a * m, torch.where(m > 0, b, 0)
    n, sa, sb, saa, sbb, sab = box_sums(torch.stack([m, a, b, a * a, b * b, a * b]), window)
    per = 1 / n.clamp(min=1)
    va, vb = (saa - sa * sa * per) * per, (sbb - sb * sb * per) * per
    ncc = (sab - sa * sb * per) * per / torch.sqrt(va.clamp(min=0) * vb.clamp(min=0) + contrast**4)
    return torch.where((n >= FILLED * window**2) & (m > 0), ncc.clamp(-1, 1), -1)


def _within(room: Room, pixels: Tensor, w: Tensor) -> Tensor:
    """(H, W) whether the places at inverse depth w of the pixels lie in cells that are on."""
    count = len(room.cells)
    place = (pixels @ room.ray.T / w[..., None] + room.start).nan_to_num(-1).floor()
    inside = ((place >= 0) & (place < count)).all(dim=-1) & (w > 0)
    x, y, z = place.clamp(0, count - 1).long().unbind(dim=-1)
    return inside & room.cells.reshape(-1)[(z * count + y) * count + x]


def _run_sums(values: Tensor, window: int, axis: int) -> Tensor:
    size, half = values.shape[axis], window // 2
    edge = (half, half) if axis == 2 else (0, 0, half, half)
    power, length, total, start = pad(values, edge), 1, None, 0
    while True:
        if window & length:
            part = power.narrow(axis, start, size)
            total = part if total is None else total + part
            start += length
        if 2 * length > window:
            return total
        power = power.narrow(axis, 0, power.shape[axis] - length) + power.narrow(axis, length, power.shape[axis] - length)
        length *= 2
