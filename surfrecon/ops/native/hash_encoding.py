"""Features on a hash grid, see hash_encoding.cpp."""

from __future__ import annotations

import ctypes
from functools import cache

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from surfrecon.ops.hash_grid import HashGrid
from surfrecon.ops.native.loader import COUNT, FLOATS, REAL, SIZE, checked, function, threads
from surfrecon.ops.native.memory import empty

TILE, PASS, POINT_ROWS = 96, 684, 6  # points of a tile, tiles of a pass, and rows of a tile's points, as in hash_tiles.h
MOST_LEVELS = 32
LAYOUT = ctypes.c_void_p


class _Level(ctypes.Structure):
    _fields_ = [("scale", REAL), *((name, COUNT) for name in ("vertices", "dense", "entries", "offset"))]


class _Grid(ctypes.Structure):
    _fields_ = [*((name, COUNT) for name in ("levels", "features", "smooth")), ("level", _Level * MOST_LEVELS)]


_forward = function("hash_encode_forward", [LAYOUT, FLOATS, FLOATS, FLOATS, SIZE, FLOATS, FLOATS, FLOATS, COUNT])
_backward = function("hash_encode_backward", [LAYOUT, FLOATS, FLOATS, SIZE, FLOATS, FLOATS, FLOATS, FLOATS, COUNT])


def hash_encode(
    grid: HashGrid, table: Tensor, x: Tensor, *, mask: Tensor | None = None, gradient: bool = False
) -> tuple[Tensor, Tensor | None]:
    """As the reference's; gradient: table, first order.

    Raises:
        InputError: a shape is not the layout's, or dtype or device is not float32 on the CPU.
    """
    grid.check(table, x, mask)
    x = checked(x, "x", (None, 3), torch.float32)
    return _HashEncode.apply(grid, table.contiguous(), x, None if mask is None else mask.contiguous(), gradient)


class _HashEncode(torch.autograd.Function):
    @staticmethod
    def forward(ctx, grid, table, x, mask, gradient):
        features = x.new_empty(len(x), grid.encoded)
        slopes = x.new_empty(len(x), grid.encoded, 3) if gradient else None
        scratch = tiles(grid, len(x), passes=True, rows=4 if gradient else 1)
        _forward(
            layout(grid), table.data_ptr(), pointer(mask), x.data_ptr(), len(x), features.data_ptr(), pointer(slopes), scratch.data_ptr(),
            threads(),
        )  # fmt: skip
        ctx.save_for_backward(x, mask)
        ctx.grid = grid
        ctx.set_materialize_grads(False)
        return features, slopes

    @staticmethod
    @once_differentiable
    def backward(ctx, by_features, by_slopes):
        x, mask = ctx.saved_tensors
        by_features, by_slopes = (None if given is None else given.contiguous() for given in (by_features, by_slopes))
        owed = empty(ctx.grid.entries, ctx.grid.features)
        scratch = tiles(ctx.grid, len(x), passes=True, rows=1 if by_slopes is None else 4)
        _backward(
            layout(ctx.grid), pointer(mask), x.data_ptr(), len(x), pointer(by_features), pointer(by_slopes), owed.data_ptr(),
            scratch.data_ptr(), threads(),
        )  # fmt: skip
        return None, owed, None, None, None


@cache
def _structure(grid: HashGrid) -> _Grid:
    level = (_Level * MOST_LEVELS)(*map(_Level, grid.scales, grid.vertices, grid.dense, grid.sizes, grid.offsets))
    return _Grid(grid.levels, grid.features, grid.smooth, level)


def layout(grid: HashGrid) -> int:
    """Address of a grid's layout as the C functions take it; it stays."""
    return ctypes.addressof(_structure(grid))


def tiles(grid: HashGrid, points: int, *, passes: bool, rows: int) -> Tensor:
    """Room for tiles of points with `rows` rows for each feature: all of them, or, with `passes`, as many as go at a time."""
    count = -(-points // TILE)
    return empty((min(count, PASS) if passes else count) * (POINT_ROWS + rows * grid.encoded) * TILE)


def pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
