"""What a plane sweep compares: a reference picture's windows and what its neighbours show there if a depth is right.

Letters: H and W rows and columns of the reference, P hypotheses, S sources. A pixel's middle is at (column + 1/2, row + 1/2). A hypothesis
is an inverse depth w for each pixel x = (column + 1/2, row + 1/2, 1) of the reference, which a source has at turn x + w shift, homogeneous.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from surfrecon.errors import InputError
from surfrecon.ops.samples import fits

FILLED = 0.4  # share of a window that both pictures must show
NEAREST_DEPTH = 1e-6  # of the reference's: what lies nearer to a source, or behind it, isn't seen by it
MOST_WINDOW = 31  # pixels


@dataclass(frozen=True)
class Source:
    """A neighbouring picture: grey (H', W') in [-1, 1], mask (H', W') 0 or 1, turn (3, 3) and shift (3,) to its pixel positions."""

    grey: Tensor
    mask: Tensor
    turn: Tensor
    shift: Tensor


@dataclass(frozen=True)
class Room:
    """Where a surface may be: cells (D, D, D) bool, indexed [z, y, x]; the pixel x at w is at ray x / w + start there, in cells."""

    cells: Tensor
    ray: Tensor
    start: Tensor


def check_sweep(
    grey: Tensor, mask: Tensor, sources: Sequence[Source], guide: Tensor, offsets: Tensor, window: int, room: Room | None
) -> None:
    """Raise InputError where a shape, dtype or device is another than sweep_scores takes, or the window is even or too large."""
    if grey.ndim != 2 or not grey.is_floating_point():
        raise InputError(f"grey must be (rows, columns) of a floating dtype, got {tuple(grey.shape)} {grey.dtype}")
    if window % 2 == 0 or not 1 <= window <= MOST_WINDOW:
        raise InputError(f"the window must be an odd number of pixels, 1 to {MOST_WINDOW}, got {window}")
    if offsets.ndim != 1:
        raise InputError(f"offsets must be (hypotheses,), got {tuple(offsets.shape)}")
    if not sources:
        raise InputError("a sweep needs at least one source, got none")
    wanted = [("mask", mask, grey.shape), ("guide", guide, grey.shape), ("offsets", offsets, offsets.shape)]
    for source in sources:
        if source.grey.ndim != 2 or 0 in source.grey.shape:
            raise InputError(f"the grey of a source must be (rows, columns), not empty, got {tuple(source.grey.shape)}")
        wanted += [("the grey of a source", source.grey, source.grey.shape), ("the mask of a source", source.mask, source.grey.shape)]
        wanted += [("the turn of a source", source.turn, (3, 3)), ("the shift of a source", source.shift, (3,))]
    if room is not None:
        wanted += [("the ray of the room", room.ray, (3, 3)), ("the start of the room", room.start, (3,))]
        cells = room.cells
        if cells.ndim != 3 or len(set(cells.shape)) != 1 or cells.dtype != torch.bool or cells.device != grey.device:
            raise InputError(f"the room's cells must be (D, D, D) bool on the {grey.device}, got {tuple(cells.shape)} {cells.dtype}")
    for name, tensor, shape in wanted:
        fits(name, tensor, tuple(shape), grey)
