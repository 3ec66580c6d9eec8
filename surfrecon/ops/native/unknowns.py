"""Between a fit's unknowns and the coefficients of a level, see unknowns.cpp."""

from __future__ import annotations

import torch
from torch import Tensor

from surfrecon.errors import InputError
from surfrecon.ops.bricks import Level
from surfrecon.ops.native.loader import COUNT, FLOATS, INTS, SIZE, checked, function, threads

_spread = function("spread", [SIZE, INTS, FLOATS, FLOATS, COUNT])
_collect = function("collect", [SIZE, INTS, FLOATS, FLOATS, COUNT])
MOST = 2**31  # coefficients that 32-bit rows can name


class Unknowns:
    """The free coefficients of a level, and room for all of them.

    Attributes:
        rows: (M,) int32 row of coefficients of each unknown.
        full: (bricks * 64,) float32 scratch; rows that aren't free stay zero.
    """

    def __init__(self, level: Level, free: Tensor):
        size = len(checked(level.coefficients, "coefficients", (None,), torch.float32))
        checked(free, "free", (size,), torch.int64)
        if size >= MOST:
            raise InputError(f"a level may have {MOST:,} coefficients at most, got {size:,}; lower the resolution")
        own = torch.nonzero(free >= 0)[:, 0]
        self.rows = torch.empty(len(own), dtype=torch.int32)
        self.rows[free[own]] = own.int()
        self.full = torch.zeros(size)

    def __len__(self) -> int:
        return len(self.rows)

    def spread(self, x: Tensor) -> Tensor:
        """(M,) -> (bricks * 64,) with zeros where nothing is free, valid until the next call."""
        x = checked(x, "x", (len(self.rows),), torch.float32)
        _spread(len(x), self.rows.data_ptr(), x.data_ptr(), self.full.data_ptr(), threads())
        return self.full

    def collect(self, full: Tensor) -> Tensor:
        """(bricks * 64,), or its beginning that holds all unknowns -> (M,)"""
        x = torch.empty(len(self.rows))
        _collect(len(x), self.rows.data_ptr(), full.data_ptr(), x.data_ptr(), threads())
        return x
