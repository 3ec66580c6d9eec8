"""Splines on nested levels: each point is evaluated at the finest level whose active brick holds it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from surfrecon.ops.bricks import Level
from surfrecon.ops.reference.bspline import bspline_evaluate, bspline_weights

CACHED = 2**15  # points evaluated at once on a CPU: their stencils stay in its cache, which makes it 2.6 times as fast


def spline_field(levels: Sequence[Level], x: Tensor, *, gradient: bool = True) -> tuple[Tensor, Tensor | None]:
    """Value and gradient at points.

    Args:
        levels: coarsest first.
        x: (N, 3) unit frame.
        gradient: whether the second result is wanted.
    Returns:
        (N,) values, (N, 3) gradients in the unit frame, or None; NaN where no level holds a point.
    Gradient: x and coefficients, of the value to any order.
    """
    value = torch.full((len(x),), torch.nan, dtype=x.dtype, device=x.device)
    slope = torch.full_like(x, torch.nan) if gradient else None
    for part in torch.arange(len(x), device=x.device).split(CACHED if x.device.type == "cpu" else max(1, len(x))):
        for level in reversed(levels):
            here = level.holds(x[part])
            rows, part = part[here], part[~here]
            if len(rows):
                middle, weights, slopes = bspline_weights(level.lattice(x[rows]), gradient=gradient)
                v, g = bspline_evaluate(level.coefficients, level.stencil_slots(middle), weights, slopes)
                value[rows] = v
                if slope is not None:
                    slope[rows] = g / level.step
    return value, slope
