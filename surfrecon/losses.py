"""The terms that methods share.

Linear terms, for fields that are linear in their unknowns (GridField): each is a residual r = A x - b, as SparseRows with a target. They
are the pull of GridPull linearised: a query q is pulled to g = q - f(q) grad f / |grad f|. With target t on a local plane of normal n,
|g - t|^2 splits into (f(q) - (q - t) . n)^2 along n and f(q)^2 |grad f / |grad f| - n|^2 across it: values and gradients at the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from surfrecon import ops
from surfrecon.fields.grid import Level

FACE_NEIGHBOURS = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))


@dataclass(frozen=True)
class LinearTerm:
    """The energy sum_i weight_i (A x - b)_i^2, as a function of a change x of the free coefficients.

    Attributes:
        rows: A.
        target: b, (rows,).
    """

    rows: ops.SparseRows
    target: Tensor

    def right(self, weights: Tensor) -> Tensor:
        """A^T W b"""
        return self.rows.adjoint(weights * self.target)

    def normal(self, x: Tensor, weights: Tensor) -> Tensor:
        """A^T W A x"""
        return self.rows.adjoint(weights * self.rows(x))

    def diagonal(self, weights: Tensor) -> Tensor:
        return self.rows.squared_columns(weights)


def plane_pull(level: Level, free: Tensor, points: Tensor, normals: Tensor, reach: float) -> LinearTerm:
    """The field is zero at points and its gradient there is the normal.

    Args:
        level: where the unknowns live; all points lie in its active bricks.
        free: (rows of coefficients,) int64 column of each coefficient among the unknowns, -1 where it is fixed.
        points: (N, 3) unit frame.
        normals: (N, 3) unit, outward.
        reach: distance of the queries from the plane, unit frame: an error of one radian in the gradient counts like this distance.
    Returns:
        4 N rows: N values, then the 3 N gradient components times reach.
    """
    middle, weights, slopes = ops.bspline_weights(level.lattice(points))
    slots = level.stencil_slots(middle)
    value, slope = ops.bspline_evaluate(level.coefficients, slots, weights, slopes)
    scale = reach / level.step
    columns = free[slots]
    rows = torch.cat([weights, (slopes * scale).transpose(1, 2).reshape(-1, ops.STENCIL)])
    target = torch.cat([-value, (reach * normals - scale * slope).reshape(-1)])
    every = torch.cat([columns, columns[:, None, :].expand(-1, 3, -1).reshape(-1, ops.STENCIL)])
    return LinearTerm(ops.SparseRows(every, rows, int(free.max()) + 1), target)


def bending(level: Level, free: Tensor) -> LinearTerm:
    """The Laplacian of the field vanishes at every free node and next to it: least bending, as far as the border allows.

    The integral of |D^2 f|^2 equals that of (lap f)^2 up to border terms. Rows are in units of the coefficients: the sum of their squares
    over h is the integral.
    """
    nodes = level.nodes()
    touched = free >= 0
    around = [level.slots(nodes[touched] + torch.tensor(step, device=nodes.device)) for step in FACE_NEIGHBOURS]
    touched[torch.cat(around)] = True
    rows = torch.nonzero(touched)[:, 0]
    slots = torch.stack([rows, *(level.slots(nodes[rows] + torch.tensor(step, device=nodes.device)) for step in FACE_NEIGHBOURS)], dim=1)
    stencil = torch.tensor([-6.0] + [1.0] * 6, dtype=level.coefficients.dtype, device=nodes.device).expand(len(rows), -1)
    # A node at the rim of the halo has neighbours that aren't stored: they drop out of its row.
    stencil = stencil.masked_fill(slots < 0, 0)
    target = -(level.coefficients[slots.clamp(min=0)] * stencil).sum(1)
    columns = torch.where(slots < 0, slots, free[slots.clamp(min=0)])
    return LinearTerm(ops.SparseRows(columns, stencil, int(free.max()) + 1), target)
