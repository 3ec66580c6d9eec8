"""hash_encode and its backward, one kernel each; see cells.py for the tiles. Must equal reference/hash_encoding.py."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from surfrecon.ops.hash_grid import HashGrid
from surfrecon.ops.trial import trial
from surfrecon.ops.triton.cells import clamped, encode, lanes, levels_on, scatter, weights_of_columns
from surfrecon.ops.triton.here import WARPS, points, require


def hash_encode(grid: HashGrid, table: Tensor, x: Tensor, *, mask: Tensor | None, gradient: bool) -> tuple[Tensor, Tensor | None]:
    grid.check(table, x, mask)
    require(x, "x")
    table, x, mask = table.contiguous(), x.detach().contiguous(), None if mask is None else mask.detach().contiguous()
    with torch.cuda.device_of(x):
        if len(x):
            trial(("hash_encode", grid, gradient, mask is None, x.device), lambda: _try(grid, table, x[:1], mask, gradient))
        return _Encoding.apply(grid, gradient, x, mask, table)


def _try(grid: HashGrid, table: Tensor, x: Tensor, mask: Tensor | None, gradient: bool) -> None:
    with torch.enable_grad():
        results = [part for part in _Encoding.apply(grid, gradient, x, mask, table.detach().requires_grad_()) if part is not None]
        torch.autograd.backward(results, [torch.ones_like(part) for part in results])


def tiles(grid: HashGrid) -> dict[str, object]:
    """What a kernel knows of a grid when it is compiled."""
    return {"LEVELS": grid.levels, "LANES": lanes(grid), "FEATURES": grid.features, "SMOOTH": grid.smooth, "B": points()}


class _Encoding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, grid, gradient, x, mask, table):
        features = x.new_empty(len(x), grid.encoded)
        slopes = x.new_empty(len(x), grid.encoded, 3) if gradient else None
        if len(x):
            forward[triton.cdiv(len(x), points()),](
                x, table, *levels_on(grid, x.device), mask, features, slopes, len(x), **tiles(grid), num_warps=WARPS
            )
        ctx.save_for_backward(x, mask)
        ctx.grid, ctx.shape = grid, table.shape
        ctx.set_materialize_grads(False)
        return features, slopes

    @staticmethod
    @once_differentiable
    def backward(ctx, by_features, by_slopes):
        x, mask = ctx.saved_tensors
        to_table = x.new_zeros(ctx.shape)
        by_features, by_slopes = (None if given is None else given.contiguous() for given in (by_features, by_slopes))
        if len(x) and not by_features is by_slopes is None:
            with torch.cuda.device_of(x):
                backward[triton.cdiv(len(x), points()),](
                    x, *levels_on(ctx.grid, x.device), mask, by_features, by_slopes, to_table, len(x), **tiles(ctx.grid), num_warps=WARPS,
                )  # fmt: skip
        return None, None, None, None, to_table


@triton.jit(do_not_specialize=["count"])
def forward(
    x, table, scales, layout, mask, features, slopes, count,
    LEVELS: tl.constexpr, LANES: tl.constexpr, FEATURES: tl.constexpr, SMOOTH: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    GRADIENT: tl.constexpr = slopes is not None
    WIDE: tl.constexpr = LANES * FEATURES
    rows = tl.program_id(0) * B + tl.arange(0, B)
    inside = rows < count
    x0, x1, x2 = clamped(x, rows, inside, 0), clamped(x, rows, inside, 1), clamped(x, rows, inside, 2)
    e, dx, dy, dz = encode(table, x0, x1, x2, inside, scales, layout, mask, LEVELS, LANES, FEATURES, SMOOTH, GRADIENT)
    weight = weights_of_columns(mask, LEVELS, LANES, FEATURES)[None, :]
    column = tl.arange(0, WIDE)[None, :]
    there = inside[:, None] & (column < LEVELS * FEATURES)
    place = rows.to(tl.int64)[:, None] * (LEVELS * FEATURES) + column
    tl.store(features + place, tl.reshape(e, [B, WIDE]) * weight, mask=there)
    if GRADIENT:
        tl.store(slopes + 3 * place, tl.reshape(dx, [B, WIDE]) * weight, mask=there)
        tl.store(slopes + 3 * place + 1, tl.reshape(dy, [B, WIDE]) * weight, mask=there)
        tl.store(slopes + 3 * place + 2, tl.reshape(dz, [B, WIDE]) * weight, mask=there)


@triton.jit
def asked(by, place, there, weight, B: tl.constexpr, LANES: tl.constexpr, FEATURES: tl.constexpr):
    """(B, LANES, F) of what is asked of features, times the weights of levels; zero if nothing is."""
    if by is None:
        return tl.zeros([B, LANES, FEATURES], tl.float32)
    else:
        return tl.reshape(tl.load(by + place, mask=there, other=0.0) * weight, [B, LANES, FEATURES])


@triton.jit(do_not_specialize=["count"])
def backward(
    x, scales, layout, mask, by_features, by_slopes, to_table, count,
    LEVELS: tl.constexpr, LANES: tl.constexpr, FEATURES: tl.constexpr, SMOOTH: tl.constexpr, B: tl.constexpr,
):  # fmt: skip
    GRADIENT: tl.constexpr = by_slopes is not None
    WIDE: tl.constexpr = LANES * FEATURES
    rows = tl.program_id(0) * B + tl.arange(0, B)
    inside = rows < count
    x0, x1, x2 = clamped(x, rows, inside, 0), clamped(x, rows, inside, 1), clamped(x, rows, inside, 2)
    weight = weights_of_columns(mask, LEVELS, LANES, FEATURES)[None, :]
    column = tl.arange(0, WIDE)[None, :]
    there = inside[:, None] & (column < LEVELS * FEATURES)
    place = rows.to(tl.int64)[:, None] * (LEVELS * FEATURES) + column
    by_value = asked(by_features, place, there, weight, B, LANES, FEATURES)
    by_x, by_y, by_z = by_value, by_value, by_value
    if GRADIENT:
        by_x = asked(by_slopes, 3 * place, there, weight, B, LANES, FEATURES)
        by_y = asked(by_slopes, 3 * place + 1, there, weight, B, LANES, FEATURES)
        by_z = asked(by_slopes, 3 * place + 2, there, weight, B, LANES, FEATURES)
    scatter(to_table, x0, x1, x2, inside, by_value, by_x, by_y, by_z, scales, layout, mask, LEVELS, LANES, FEATURES, SMOOTH, GRADIENT)
