"""The plane pull's linear map without its matrix, see pull.cpp: some 50 bytes a point in place of 1.7 kB."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from surfrecon.errors import InputError
from surfrecon.ops.bricks import BRICK, Level
from surfrecon.ops.linear_map import LinearMap
from surfrecon.ops.native.loader import BYTES, COUNT, FLOATS, INTS, REAL, SIZE, checked, function, threads
from surfrecon.ops.native.unknowns import Unknowns

_pull_rows = function("pull_rows", [COUNT, SIZE, SIZE, FLOATS, INTS, INTS, INTS, BYTES, INTS, REAL, FLOATS, FLOATS, FLOATS, COUNT])
FORWARD, ADJOINT, NORMAL, SQUARES = range(4)
AROUND = tuple(product((-1, 0, 1), repeat=3))


class PullRows(LinearMap):
    """Points sorted by brick, bricks by layer."""

    def __init__(self, level: Level, free: Tensor, points: Tensor, reach: float):
        points = checked(points, "points", (None, 3), torch.float32)
        self.unknowns = Unknowns(level, free)
        self.columns, self.count, self.scale = len(self.unknowns), len(points), reach / level.step
        self.sums = torch.zeros(len(level.coefficients))
        slots = level.slots(points)
        if bool(((slots < 0) | (slots >= level.active)).any()):
            raise InputError("all points must lie in active bricks of the level; leave out those that it doesn't hold")
        bricks = level.corners()[: level.active] // BRICK
        key = bricks[slots, 0] * level.active + slots
        order = torch.argsort(key, stable=True)
        key, counts = torch.unique_consecutive(key[order], return_counts=True)
        met = bricks[key % max(1, level.active)]
        self.layers = level.resolution // BRICK
        sides = torch.cat([met == 0, met == self.layers - 1], dim=1)
        self.order = order.int()
        self.start = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()
        self.layer = torch.searchsorted(key, level.active * torch.arange(self.layers + 1)).int()
        self.near = level.neighbours(met, AROUND)
        self.border = (sides.int() @ (2 ** torch.arange(6, dtype=torch.int32))).to(torch.uint8)
        corner = BRICK * bricks[slots[order]]
        self.coordinates = level.cells(points[order]) - corner

    def __call__(self, x: Tensor) -> Tensor:
        rows = torch.empty(4 * self.count)
        self._run(FORWARD, self.unknowns.spread(x), rows)
        return rows

    def adjoint(self, y: Tensor) -> Tensor:
        return self._summed(ADJOINT, None, y)

    def squared_columns(self, weights: Tensor) -> Tensor:
        return self._summed(SQUARES, None, weights)

    def normal(self, x: Tensor, weights: Tensor) -> Tensor:
        return self._summed(NORMAL, self.unknowns.spread(x), weights)

    def _summed(self, job: int, full: Tensor | None, rows: Tensor) -> Tensor:
        self.sums.zero_()
        self._run(job, full, checked(rows, "rows", (4 * self.count,), torch.float32))
        return self.unknowns.collect(self.sums)

    def _run(self, job: int, full: Tensor | None, rows: Tensor) -> None:
        points = (self.coordinates, self.order, self.start, self.near, self.border, self.layer)
        results = (None if full is None else full.data_ptr(), rows.data_ptr(), self.sums.data_ptr())
        _pull_rows(job, self.count, self.layers, *(tensor.data_ptr() for tensor in points), self.scale, *results, threads())


def pull_rows(level: Level, free: Tensor, points: Tensor, reach: float) -> PullRows:
    """As in reference.

    Raises:
        InputError: points that the level doesn't hold, or a tensor of another shape, dtype or device.
    """
    return PullRows(level, free, points, reach)
