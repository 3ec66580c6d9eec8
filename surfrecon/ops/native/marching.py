"""Samples of rays in occupied cells, see marching.cpp."""

from __future__ import annotations

import torch
from torch import Tensor

from surfrecon.ops.native.loader import BYTES, COUNT, FLOATS, LONGS, REAL, SIZE, checked, function, threads
from surfrecon.ops.samples import Samples, Surface, check_march, check_steps

BLOCK = 8  # cells along an axis, as in marching.cpp

_INPUTS = [BYTES, SIZE, BYTES, *[FLOATS] * 4, SIZE, SIZE, FLOATS, SIZE, *[REAL] * 3]
_count = function("march_count", [*_INPUTS, LONGS, COUNT])
_write = function("march_write", [*_INPUTS, LONGS, FLOATS, FLOATS, COUNT])


def march(
    occupied: Tensor,
    origins: Tensor,
    directions: Tensor,
    *,
    step: float | Tensor,
    jitter: Tensor,
    most: int,
    surface: Surface | None = None,
) -> Samples:
    """As the reference's, to the byte; with a surface but for samples on the edge of being seen.

    Raises:
        InputError: a shape is another, dtype or device is not float32 on the CPU, or a step or `most` is too small.
    """
    checked(origins, "origins", (None, 3), torch.float32)
    step = check_march(occupied, origins, directions, step, jitter, most, surface)
    check_steps(step)
    blocks = torch.empty((-(-len(occupied) // BLOCK),) * 3, dtype=torch.uint8)
    occupied = occupied.contiguous()
    arrays = [tensor.detach().contiguous() for tensor in (origins, directions, step, jitter)]
    inputs = (occupied.data_ptr(), len(occupied), blocks.data_ptr(), *(array.data_ptr() for array in arrays), len(origins), most)
    values = None if surface is None else surface.values.detach().contiguous()
    inputs += (None, 2, 1.0, 1.0, 0.0) if surface is None else (values.data_ptr(), len(values), *map(float, surface[1:]))
    offsets = torch.zeros(len(origins) + 1, dtype=torch.int64)
    _count(*inputs, offsets[1:].data_ptr(), threads())
    offsets = offsets.cumsum(0)
    t, lengths = origins.new_empty(2, int(offsets[-1])).unbind()
    _write(*inputs, offsets.data_ptr(), t.data_ptr(), lengths.data_ptr(), threads())
    return Samples(t, lengths, offsets)
