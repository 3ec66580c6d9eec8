"""The terms that methods share.

Linear terms, for fields that are linear in their unknowns (GridField): each is a residual r = A x - b, a linear map with a target. They
are the pull of GridPull linearised: a query q is pulled to g = q - f(q) grad f / |grad f|. With target t on a local plane of normal n,
|g - t|^2 splits into (f(q) - (q - t) . n)^2 along n and f(q)^2 |grad f / |grad f| - n|^2 across it: values and gradients at the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from surfrecon import ops
from surfrecon.fields.grid import Level

REACH_OF_NOISE = 2.0  # the normals' least reach per standard deviation of the noise
CREASE = 4.0  # radius of curvature in smoothing lengths below which bending costs less than its square: edges stay
NORMAL_LIMIT = 0.7  # gradients that miss their normal by this much have lost 3/4 of their say
RESIDUAL_SCALE = 3.0  # residuals beyond this many robust standard deviations lose their weight


def robust_weights(residual: Tensor, *, usual: Tensor, floor: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) Geman-McClure weights of points by their residuals (N,), and () these ones' robust standard deviation over what is usual.

    Args:
        usual: (N,) residuals that are to be expected of each point, > 0.
        floor: (N,) least scale of the residuals: clean data have none to measure.
    """
    deviation = 1.4826 * (residual / usual).abs().median()
    limit = torch.maximum(RESIDUAL_SCALE * deviation * usual, floor)
    return (1 + (residual / limit) ** 2) ** -2, deviation


def normal_weights(gradient: Tensor, normals: Tensor) -> Tensor:
    """(N,) Geman-McClure weights of normals (N, 3) by how far the gradient (N, 3) misses them."""
    return (1 + (gradient - normals).square().sum(1) / NORMAL_LIMIT**2) ** -2


def crease_discount(squared: Tensor) -> Tensor:
    """Share of its weight that bending keeps where the curvature times the smoothing length has this square."""
    return (1 + CREASE**2 * squared) ** -0.5


@dataclass(frozen=True)
class LinearTerm:
    """The energy sum_i weight_i (A x - b)_i^2, as a function of a change x of the free coefficients.

    Attributes:
        rows: A.
        target: b, (rows,).
    """

    rows: ops.LinearMap
    target: Tensor

    def right(self, weights: Tensor) -> Tensor:
        """A^T W b"""
        return self.rows.adjoint(weights * self.target)

    def normal(self, x: Tensor, weights: Tensor) -> Tensor:
        """A^T W A x"""
        return self.rows.normal(x, weights)

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
    value, gradient = ops.spline_field([level], points)
    target = torch.cat([-value, reach * (normals - gradient).reshape(-1)])
    return LinearTerm(ops.pull_rows(level, free, points, reach), target)


def bending(level: Level, free: Tensor) -> LinearTerm:
    """The Laplacian of the field vanishes: least bending, as far as the border allows.

    The integral of |D^2 f|^2 equals that of (lap f)^2 up to border terms. Rows, one for each node of an active brick in the order of the
    coefficients, are in units of the coefficients: the sum of their squares over h is the integral. Those that touch no free node are
    constants.

    Args:
        level: where the unknowns live.
        free: as in plane_pull.
    """
    return LinearTerm(ops.laplacian_rows(level, free), -ops.laplacian(level))


def roughness_weights(occupied: Tensor, reach: int) -> Tensor:
    """What each node of a lattice weighs in the roughness of ops.pulling: more, the farther it is from the points; nothing beyond reach.

    w = |i| + |j| + |k| + 1 for the offset (i, j, k) to the occupied node that makes this least.

    Args:
        occupied: (M, M, M) bool, nodes next to points; one at least.
        reach: most steps along every axis to an occupied node.
    Source: Chen, Liu and Han, GridPull, 2023.
    """
    from scipy.ndimage import distance_transform_cdt

    empty = ~occupied.cpu().numpy()
    taxicab, chessboard = (distance_transform_cdt(empty, metric=metric) for metric in ("taxicab", "chessboard"))
    return torch.as_tensor((taxicab + 1) * (chessboard <= reach), dtype=torch.float32, device=occupied.device)
