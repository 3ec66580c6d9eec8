"""The matrices of a fit's linear terms, over the free coefficients of one level of a sparse spline, as stored sparse rows."""

from __future__ import annotations

import torch
from torch import Tensor

from surfrecon.ops.bricks import BRICK, BRICK_NODES, FACE_NEIGHBOURS, Level
from surfrecon.ops.reference.bspline import STENCIL, bspline_weights
from surfrecon.ops.reference.sparse import SparseRows

BRICKS_AT_ONCE = 2**14  # bounds the memory of index tables


def pull_rows(level: Level, free: Tensor, points: Tensor, reach: float) -> SparseRows:
    """Values and gradients of the spline at points, the gradients times reach.

    Args:
        level: all points lie in its active bricks.
        free: (rows of coefficients,) int64 column of each coefficient among the unknowns, -1 where it is fixed.
        points: (N, 3) unit frame.
        reach: unit frame.
    Returns:
        4 N rows: N values, then the 3 N gradient components (unit frame) times reach, point by point.
    """
    middle, weights, slopes = bspline_weights(level.lattice(points))
    columns = free[level.stencil_slots(middle)]
    rows = torch.cat([weights, (slopes * (reach / level.step)).transpose(1, 2).reshape(-1, STENCIL)])
    every = torch.cat([columns, columns[:, None, :].expand(-1, 3, -1).reshape(-1, STENCIL)])
    return SparseRows(every, rows, int((free >= 0).sum()))


def laplacian_rows(level: Level, free: Tensor) -> SparseRows:
    """The Laplacian at each node of an active brick: the sum over its face neighbours of (theirs - its own), in units of coefficients.

    Beyond the box's border the field goes on as it is there: neighbours outside the lattice give nothing.

    Args:
        level: it stores the neighbours of its active bricks.
        free: (rows of coefficients,) int64 column of each coefficient among the unknowns, in their order, -1 where it is fixed.
    Returns:
        active * 64 rows, in the order of the coefficients.
    """
    slots, values = _laplacian(level)
    own = torch.nonzero(free >= 0)[:, 0]
    back = slots[own].int()  # the map is symmetric: a coefficient is met by its neighbours' rows, with the values of its own
    back.masked_fill_(back >= level.active * BRICK_NODES, -1)
    columns = free[slots.clamp(min=0)].masked_fill(slots < 0, -1)
    return SparseRows(columns, values, len(own), transpose=(back, values[own]))


def laplacian(level: Level) -> Tensor:
    """(active * 64,) the Laplacian of the level's own coefficients, as laplacian_rows has it."""
    slots, values = _laplacian(level)
    return (level.coefficients[slots.clamp(min=0)] * values).sum(1)


def _laplacian(level: Level) -> tuple[Tensor, Tensor]:
    """(active * 64, 7) rows of coefficients, negative where there is nothing, and what each counts."""
    width = BRICK + 2
    at = torch.arange(width**3, device=level.table.device).reshape((width,) * 3)
    inner = slice(1, -1)
    middle = at[inner, inner, inner]
    around = [at[tuple(slice(1 + o, width - 1 + o) for o in step)] for step in FACE_NEIGHBOURS]
    pick = torch.stack([middle, *around], dim=-1).reshape(-1, 7)  # of a brick's window: each node and its neighbours
    corners = level.corners()[: level.active].split(BRICKS_AT_ONCE)
    slots = torch.cat([level.window_slots(part - 1, width)[:, pick].reshape(-1, 7).int() for part in corners])
    around = slots[:, 1:]
    around.masked_fill_(around == slots[:, :1], -1)  # beyond the lattice
    values = (slots >= 0).to(level.coefficients.dtype)
    values[:, 0] = -values[:, 1:].sum(1)
    return slots, values
