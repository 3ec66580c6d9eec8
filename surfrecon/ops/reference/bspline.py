"""Quadratic B-splines on a lattice: weights, their gradients, and evaluation.

Lattice coordinates: node n of an axis stands at n; a point at u touches the three nodes round(u) - 1 .. round(u) + 1.
Stencils list their 27 nodes with the last axis fastest.
"""

from __future__ import annotations

import torch
from torch import Tensor

STENCIL = 27


def bspline_weights(u: Tensor, *, gradient: bool = True) -> tuple[Tensor, Tensor, Tensor | None]:
    """The stencil of each point: middle node, 27 weights and their gradients.

    B2(t) = 3/4 - t^2 for |t| < 1/2, (3/2 - |t|)^2 / 2 for |t| < 3/2; products over the axes.

    Args:
        u: (N, 3) lattice coordinates.
        gradient: whether the third result is wanted.
    Returns:
        (N, 3) int64 middle nodes, (N, 27) weights that sum to 1, (N, 27, 3) derivatives with respect to u (None if not wanted).
    """
    middle = torch.floor(u + 0.5)
    t = u - middle
    w = torch.stack([0.5 * (0.5 - t) ** 2, 0.75 - t * t, 0.5 * (0.5 + t) ** 2], dim=-1)  # (N, 3 axes, 3 nodes)
    x, y, z = w[:, 0, :, None, None], w[:, 1, None, :, None], w[:, 2, None, None, :]
    weights = (x * y * z).reshape(-1, STENCIL)
    if not gradient:
        return middle.long(), weights, None
    d = torch.stack([t - 0.5, -2 * t, t + 0.5], dim=-1)
    dx, dy, dz = d[:, 0, :, None, None], d[:, 1, None, :, None], d[:, 2, None, None, :]
    slopes = torch.stack([(dx * y * z).reshape(-1, STENCIL), (x * dy * z).reshape(-1, STENCIL), (x * y * dz).reshape(-1, STENCIL)], dim=-1)
    return middle.long(), weights, slopes


def bspline_evaluate(coefficients: Tensor, slots: Tensor, weights: Tensor, slopes: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Value and gradient (lattice units) of a spline at points whose stencils are known.

    Args:
        coefficients: (M,).
        slots: (N, 27) rows of coefficients.
        weights, slopes: as from bspline_weights; slopes None leaves the gradient out.
    Returns:
        (N,) values, (N, 3) gradients or None.
    """
    local = coefficients[slots]
    value = (local * weights).sum(1)
    return value, None if slopes is None else torch.einsum("nk,nkd->nd", local, slopes)
