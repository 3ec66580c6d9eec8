"""Medians over windows, see medians.cpp."""

from __future__ import annotations

import torch
from torch import Tensor

from surfrecon.errors import InputError
from surfrecon.ops.native.loader import COUNT, FLOATS, SIZE, checked, function, threads

_medians = function("known_medians", [FLOATS, SIZE, SIZE, SIZE, FLOATS, COUNT])


def known_medians(values: Tensor, *, least: int) -> Tensor:
    """As the reference's, to the bit.

    Raises:
        InputError: values aren't (H, W) float32 on the CPU, or `least` is < 1.
    """
    values = checked(values, "values", (None, None), torch.float32)
    if least < 1:
        raise InputError(f"least must be >= 1 known numbers, got {least}")
    out = torch.zeros_like(values)
    _medians(values.data_ptr(), *values.shape, least, out.data_ptr(), threads())
    return out
