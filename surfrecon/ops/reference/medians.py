"""Medians over windows of what is known in them. Letters: H rows and W columns."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad, unfold

from surfrecon.errors import InputError

SIDE = 5  # pixels of the window


@torch.no_grad()
def known_medians(values: Tensor, *, least: int) -> Tensor:
    """Medians over windows of 5 x 5 pixels, the lower of two in the middle, of the numbers above 0 in them.

    Args:
        values: (H, W), 0 where unknown.
        least: known numbers of a window, >= 1.
    Returns:
        (H, W), 0 where fewer are known.
    Raises:
        InputError: values aren't (H, W), or `least` is < 1.
    Gradient: none.
    """
    if values.ndim != 2 or not values.is_floating_point():
        raise InputError(f"values must be (rows, columns) of a floating dtype, got {tuple(values.shape)} {values.dtype}")
    if least < 1:
        raise InputError(f"least must be >= 1 known numbers, got {least}")
    if not values.numel():
        return values.clone()
    half = SIDE // 2
    patches = unfold(pad(torch.where(values > 0, values, torch.nan)[None, None], (half,) * 4, value=torch.nan), SIDE)[0]
    known = (~patches.isnan()).sum(dim=0) >= least
    return torch.where(known, patches.nanmedian(dim=0).values, 0).reshape(values.shape)
