"""Splines on nested levels, see field.cpp."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from surfrecon.errors import InputError
from surfrecon.ops.bricks import BRICK, Level
from surfrecon.ops.native.loader import COUNT, FLOATS, LONGS, SIZE, checked, function, threads

_spline_field = function("spline_field", [SIZE, LONGS, ctypes.c_void_p, LONGS, ctypes.c_void_p, SIZE, FLOATS, FLOATS, FLOATS, COUNT])


def spline_field(levels: Sequence[Level], x: Tensor, *, gradient: bool = True) -> tuple[Tensor, Tensor | None]:
    """As in reference; without derivatives.

    Raises:
        InputError: no level, or a tensor of another shape, dtype or device.
    """
    if not levels:
        raise InputError("a field needs one level at least, got none")
    x = checked(x, "points", (None, 3), torch.float32)
    finest_first = levels[::-1]
    tables = [checked(level.table, "table", (level.resolution // BRICK,) * 3, torch.int64) for level in finest_first]
    coefficients = [checked(level.coefficients, "coefficients", (None,), torch.float32) for level in finest_first]
    value = torch.full((len(x),), torch.nan)
    slope = torch.full_like(x, torch.nan) if gradient else None
    longs, pointers = ctypes.c_int64 * len(levels), ctypes.c_void_p * len(levels)
    _spline_field(
        len(levels),
        longs(*(level.resolution for level in finest_first)),
        pointers(*(table.data_ptr() for table in tables)),
        longs(*(level.active for level in finest_first)),
        pointers(*(values.data_ptr() for values in coefficients)),
        len(x),
        x.data_ptr(),
        value.data_ptr(),
        None if slope is None else slope.data_ptr(),
        threads(),
    )
    return value, slope
