"""The compute contract: each op, who can compute it, and the choice between them. Ops are described in reference/."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from surfrecon.ops import reference
from surfrecon.ops.bricks import BRICK, BRICK_NODES, Level
from surfrecon.ops.choice import BACKENDS, OPS, backend_of, choices, use
from surfrecon.ops.linear_map import LinearMap
from surfrecon.ops.reference import STENCIL, SparseRows, bspline_evaluate, bspline_weights

__all__ = [
    "BACKENDS",
    "BRICK",
    "BRICK_NODES",
    "OPS",
    "STENCIL",
    "Level",
    "LinearMap",
    "SparseRows",
    "adam_step",
    "bspline_evaluate",
    "bspline_weights",
    "choices",
    "laplacian",
    "laplacian_rows",
    "pull_rows",
    "pulling",
    "spline_field",
    "spline_gather",
    "spline_splat",
    "trilinear",
    "use",
]


def spline_field(levels: Sequence[Level], x: Tensor, *, gradient: bool = True) -> tuple[Tensor, Tensor | None]:
    """Value and gradient (unit frame) of a spline on nested levels, coarsest first, at (N, 3) points."""
    backend = _without_derivatives("spline_field", x, *(level.coefficients for level in levels))
    return backend.spline_field(levels, x, gradient=gradient)


def pull_rows(level: Level, free: Tensor, points: Tensor, reach: float) -> LinearMap:
    """Values of a level at (N, 3) points, then its 3 N slopes times reach, from the free coefficients."""
    return backend_of("pull_rows", level.coefficients, points).pull_rows(level, free, points, reach)


def laplacian_rows(level: Level, free: Tensor) -> LinearMap:
    """The Laplacian at the nodes of a level's active bricks, from the free coefficients."""
    return backend_of("laplacian_rows", level.coefficients).laplacian_rows(level, free)


def laplacian(level: Level) -> Tensor:
    """The Laplacian of a level's own coefficients at the nodes of its active bricks."""
    return backend_of("laplacian", level.coefficients).laplacian(level)


def trilinear(values: Tensor, x: Tensor, *, gradient: bool = True) -> tuple[Tensor, Tensor | None]:
    """Value and gradient (unit frame) of a dense (M, M, M) lattice, linear between its nodes, at (N, 3) points."""
    if torch.is_grad_enabled() and x.requires_grad:
        return reference.trilinear(values, x, gradient=gradient)
    return backend_of("trilinear", values, x).trilinear(values, x, gradient=gradient)


def pulling(values: Tensor, queries: Tensor, targets: Tensor, weights: Tensor, *, smooth: float, surface: float, align: float) -> Tensor:
    """The objective of GridPull as published, on a dense (M, M, M) lattice and (N, 3) queries and targets."""
    backend = backend_of("pulling", values, queries, targets, weights)
    return backend.pulling(values, queries, targets, weights, smooth=smooth, surface=surface, align=align)


def spline_gather(lattice: Tensor, u: Tensor, *, gradient: bool = True) -> tuple[Tensor, Tensor | None]:
    """Value and gradient (lattice units) of the spline on a dense lattice at (N, 3) lattice coordinates."""
    return _without_derivatives("spline_gather", lattice, u).spline_gather(lattice, u, gradient=gradient)


def spline_splat(u: Tensor, amounts: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The dense lattice that received scalars (N,) or vectors (N, 3) at (N, 3) lattice coordinates."""
    return _without_derivatives("spline_splat", u, amounts).spline_splat(u, amounts, shape)


def adam_step(parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, *, step: int, rate: float) -> None:
    """Move a parameter and its two moments by one step of Adam, in place."""
    tensors = (parameter, gradient, mean, square)
    backend = backend_of("adam_step", *tensors) if all(tensor.is_contiguous() for tensor in tensors) else reference
    backend.adam_step(*tensors, step=step, rate=rate)


def _without_derivatives(op: str, *tensors: Tensor) -> ModuleType:
    """The backend of an op whose kernel has no backward."""
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return reference
    return backend_of(op, *tensors)
