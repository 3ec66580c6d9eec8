"""The Laplacian of a level without its matrix, see bending.cpp: 4 bytes a node and 24 a brick in place of 120 a node."""

from __future__ import annotations

import torch
from torch import Tensor

from surfrecon.ops.bricks import BRICK, BRICK_NODES, FACE_NEIGHBOURS, Level
from surfrecon.ops.linear_map import LinearMap
from surfrecon.ops.native.loader import COUNT, FLOATS, INTS, SIZE, checked, function, threads
from surfrecon.ops.native.unknowns import Unknowns

_laplacian = function("laplacian", [SIZE, SIZE, INTS, FLOATS, FLOATS, FLOATS, COUNT])
_laplacian_squares = function("laplacian_squares", [SIZE, SIZE, INTS, FLOATS, FLOATS, COUNT])


class LaplacianRows(LinearMap):
    """Every node of an active brick is a row; those of other bricks are none, and no unknowns."""

    def __init__(self, level: Level, free: Tensor):
        self.unknowns = Unknowns(level, free)
        self.columns, self.bricks, self.stored = len(self.unknowns), level.active, len(level.coefficients) // BRICK_NODES
        self.near = _near(level)
        self.scratch = torch.empty(2, self.bricks * BRICK_NODES)  # fresh memory at every call would take as long as the kernel

    def __call__(self, x: Tensor) -> Tensor:
        rows = torch.empty(self.bricks * BRICK_NODES)
        return _apply(self.near, self.stored, self.unknowns.spread(x), None, rows)

    def adjoint(self, y: Tensor) -> Tensor:
        return self.unknowns.collect(_apply(self.near, self.bricks, self._checked(y), None, self.scratch[1]))

    def squared_columns(self, weights: Tensor) -> Tensor:
        weights, result = self._checked(weights), self.scratch[1]
        _laplacian_squares(self.bricks, self.bricks, self.near.data_ptr(), weights.data_ptr(), result.data_ptr(), threads())
        return self.unknowns.collect(result)

    def normal(self, x: Tensor, weights: Tensor) -> Tensor:
        full = self.unknowns.spread(x)
        return self.adjoint(_apply(self.near, self.stored, full, self._checked(weights), self.scratch[0]))

    def _checked(self, rows: Tensor) -> Tensor:
        return checked(rows, "rows", (self.bricks * BRICK_NODES,), torch.float32)


def laplacian_rows(level: Level, free: Tensor) -> LaplacianRows:
    """As in reference.

    Raises:
        InputError: a tensor of another shape, dtype or device.
    """
    return LaplacianRows(level, free)


def laplacian(level: Level) -> Tensor:
    """As in reference.

    Raises:
        InputError: a tensor of another shape, dtype or device.
    """
    values = checked(level.coefficients, "coefficients", (None,), torch.float32)
    result = torch.empty(level.active * BRICK_NODES)
    return _apply(_near(level), len(values) // BRICK_NODES, values, None, result)


def _near(level: Level) -> Tensor:
    return level.neighbours(level.corners()[: level.active] // BRICK, FACE_NEIGHBOURS)


def _apply(near: Tensor, stored: int, values: Tensor, weights: Tensor | None, result: Tensor) -> Tensor:
    """Put (len(near) * 64,) weights, or ones, times the Laplacian of the values of the first `stored` bricks, others zero, into result."""
    given = None if weights is None else weights.data_ptr()
    _laplacian(len(near), stored, near.data_ptr(), values.data_ptr(), given, result.data_ptr(), threads())
    return result
