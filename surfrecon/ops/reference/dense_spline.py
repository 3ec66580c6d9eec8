"""Quadratic B-splines on dense lattices: gather reads a lattice at points, splat writes points to it; each is the other's transpose.

Lattice coordinates as in bspline_weights: node n of an axis stands at n. A point whose 27 nodes are not all on the lattice takes nothing
and gives nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from surfrecon.ops.reference.bspline import STENCIL, bspline_evaluate, bspline_weights


def spline_gather(lattice: Tensor, u: Tensor, *, gradient: bool = True) -> tuple[Tensor, Tensor | None]:
    """Value and gradient of the spline at points.

    Args:
        lattice: (nx, ny, nz) coefficients.
        u: (N, 3) lattice coordinates.
        gradient: whether the second result is wanted.
    Returns:
        (N,) values, (N, 3) gradients in lattice units, or None; 0 for points that the lattice doesn't hold.
    Gradient: lattice, to any order (both results are linear in it); u, of the value.
    """
    slots, weights, slopes = _stencils(u, lattice.shape, gradient=gradient)
    return bspline_evaluate(lattice.reshape(-1), slots, weights, slopes)


def spline_splat(u: Tensor, amounts: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The lattice that received amounts at points: scalars by the stencils' weights, vectors by their slopes.

    Args:
        u: (N, 3) lattice coordinates.
        amounts: (N,) scalars a, a node gets the sum of a w; or (N, 3) vectors a, it gets the sum of a . dw/du.
        shape: (nx, ny, nz).
    Returns:
        (nx, ny, nz)
    Gradient: amounts, to any order.
    """
    slots, weights, slopes = _stencils(u, shape, gradient=amounts.ndim == 2)
    given = weights * amounts[:, None] if slopes is None else torch.einsum("nkd,nd->nk", slopes, amounts)
    return given.new_zeros(math.prod(shape)).index_add_(0, slots.reshape(-1), given.reshape(-1)).view(shape)


def _stencils(u: Tensor, shape: tuple[int, ...], *, gradient: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """(N, 27) rows of the flat lattice, (N, 27) weights, (N, 27, 3) slopes or None; all zero for points that it doesn't hold."""
    last = torch.tensor(shape, device=u.device) - 2
    node = torch.floor(u + 0.5)
    held = ((node >= 1) & (node <= last)).all(1)
    middle, weights, slopes = bspline_weights(torch.where(held[:, None], u, 1.0), gradient=gradient)
    keep = held.to(u.dtype)
    step = torch.arange(-1, 2, device=u.device)
    x, y, z = (middle[:, axis, None] + step for axis in range(3))
    slots = ((x[:, :, None, None] * shape[1] + y[:, None, :, None]) * shape[2] + z[:, None, None, :]).reshape(-1, STENCIL)
    return slots.where(held[:, None], 0), weights * keep[:, None], None if slopes is None else slopes * keep[:, None, None]
