"""Scores of a plane sweep, see sweep.cpp."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from surfrecon.ops.native.loader import BYTES, COUNT, FLOATS, LONGS, REAL, SIZE, checked, function, threads
from surfrecon.ops.sweep import FILLED, NEAREST_DEPTH, Room, Source, check_sweep

UNSEEN = 1e30  # as in sweep.cpp

_ROOM = [BYTES, SIZE, FLOATS, FLOATS]
_scores = function(
    "sweep_scores",
    [*[FLOATS] * 3, SIZE, SIZE, FLOATS, LONGS, FLOATS, FLOATS, SIZE, FLOATS, SIZE, SIZE, COUNT, REAL, REAL, REAL, *_ROOM, FLOATS, COUNT],
)


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
    """As the reference's, but for rounding.

    Raises:
        InputError: a shape is another, or dtype or device is not float32 on the CPU.
    """
    checked(grey, "grey", (None, None), torch.float32)
    check_sweep(grey, mask, sources, guide, offsets, window, room)
    height, width = grey.shape
    pictures = [pad(torch.where(source.mask > 0, source.grey, UNSEEN), (1, 1, 1, 1), value=UNSEEN) for source in sources]
    begins = torch.tensor([0, *(picture.numel() for picture in pictures[:-1])]).cumsum(0)
    places = torch.stack([begins, *torch.tensor([source.grey.shape for source in sources]).T], dim=1)
    pixels = torch.cat([picture.reshape(-1) for picture in pictures])
    turns, shifts = torch.stack([source.turn for source in sources]), torch.stack([source.shift for source in sources])
    here = [tensor.contiguous() for tensor in (grey, mask, guide)]
    there = [tensor.contiguous() for tensor in (offsets, *(() if room is None else (room.cells, room.ray, room.start)))]
    where = (None, 0, None, None) if room is None else (there[1].data_ptr(), len(room.cells), there[2].data_ptr(), there[3].data_ptr())
    scores = torch.empty(len(offsets), height, width)
    _scores(
        *(tensor.data_ptr() for tensor in here), height, width, pixels.data_ptr(), places.contiguous().data_ptr(), turns.data_ptr(),
        shifts.data_ptr(), len(sources), there[0].data_ptr(), len(offsets), window, int(two), NEAREST_DEPTH, FILLED * window**2,
        contrast**4, *where, scores.data_ptr(), threads(),
    )  # fmt: skip
    return scores
