"""Where points stand on the levels of a hash grid: what the kernels share. Layout, letters and frame: see hash_grid.py.

A tile is (B, LANES): B points by L levels, LANES a power of two from L on. Where vertices are read or added to it is (B, LANES, 2, F):
both ends of an edge along x, whose entries are neighbours more often than not, stand in neighbouring threads, and the features of an entry,
which are neighbours always, in one thread; so an edge costs about one access to memory. Lanes beyond L, levels of weight 0 and points
beyond N read and add nothing.

A vertex has entry (x + my y + mz z), or that with xor in place of +, modulo a power of two. `layout` holds my and mz of each level (strides
or primes), the bits that stay (all of them where dense), the entries, beyond which a dense level begins anew (once is enough, as
V^3 + V^2 + V < 2 V^3), and the first entry.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from surfrecon.ops.hash_grid import PRIMES, HashGrid

ALL_BITS = 2**32 - 1


@cache  # for good: some 800 bytes, which CUDA graphs keep reading
def levels_on(grid: HashGrid, device: torch.device) -> tuple[Tensor, Tensor]:
    """(L,) scales, (5, L) int32 layout."""
    rows = [
        (count, count**2, ALL_BITS, size, offset) if dense else (*PRIMES, size - 1, size, offset)
        for count, dense, size, offset in zip(grid.vertices, grid.dense, grid.sizes, grid.offsets)
    ]
    layout = np.array(rows, dtype=np.uint32).T.copy().view(np.int32)
    return torch.tensor(grid.scales, dtype=torch.float32, device=device), torch.from_numpy(layout).to(device)


def lanes(grid: HashGrid) -> int:
    """Lanes of a tile: at least as many as give the 16 columns that a matrix product takes."""
    return triton.next_power_of_2(max(grid.levels, -(-16 // grid.features)))


@triton.jit
def clamped(x, rows, inside, AXIS: tl.constexpr):
    """(B,) a coordinate of points, moved into the box; NaN stays."""
    value = tl.load(x + rows * 3 + AXIS, mask=inside, other=0.0)
    value = tl.where(value > 1.0, 1.0, value)
    return tl.where(value < -1.0, -1.0, value)


@triton.jit
def level_rows(scales, layout, mask, LEVELS: tl.constexpr, LANES: tl.constexpr):
    """(LANES,) scale, my, mz, bits, entries, first entry, weight of each level; of weight 0 beyond L."""
    lane = tl.arange(0, LANES)
    there = lane < LEVELS
    scale = tl.load(scales + lane, mask=there, other=0.0)
    my = tl.load(layout + lane, mask=there, other=0).to(tl.uint32, bitcast=True)
    mz = tl.load(layout + LEVELS + lane, mask=there, other=0).to(tl.uint32, bitcast=True)
    bits = tl.load(layout + 2 * LEVELS + lane, mask=there, other=0).to(tl.uint32, bitcast=True)
    size = tl.load(layout + 3 * LEVELS + lane, mask=there, other=1).to(tl.uint32, bitcast=True)
    first = tl.load(layout + 4 * LEVELS + lane, mask=there, other=0)
    if mask is None:
        weight = there.to(tl.float32)
    else:
        weight = tl.load(mask + lane, mask=there, other=0.0)
    return scale, my, mz, bits, size, first, weight


@triton.jit
def weights_of_columns(mask, LEVELS: tl.constexpr, LANES: tl.constexpr, FEATURES: tl.constexpr):
    """(LANES F,) weight of the level that a column of features belongs to, zero beyond L."""
    level = tl.arange(0, LANES * FEATURES) // FEATURES
    if mask is None:
        return (level < LEVELS).to(tl.float32)
    else:
        return tl.load(mask + level, mask=level < LEVELS, other=0.0)


@triton.jit
def on_axis(x, scale, SMOOTH: tl.constexpr):
    """(B, LANES) lower vertex as uint32, weight of the upper one, and its derivative with respect to x."""
    place = ((x + 1.0) * 0.5)[:, None] * scale[None, :] + 0.5
    low = tl.floor(place)
    t = place - low
    vertex = tl.where(low == low, low, 0.0).to(tl.int32).to(tl.uint32, bitcast=True)  # NaN stays in t
    half = (0.5 * scale)[None, :]
    if SMOOTH:
        return vertex, t * t * (3.0 - 2.0 * t), 6.0 * t * (1.0 - t) * half
    else:
        return vertex, t, half + 0.0 * t


@triton.jit
def side(t, UPPER: tl.constexpr):
    """Weight of the upper or the lower vertex."""
    if UPPER:
        return t
    else:
        return 1.0 - t


@triton.jit
def signed(rise, UPPER: tl.constexpr):
    """Its derivative."""
    if UPPER:
        return rise
    else:
        return -rise


@triton.jit
def ends(vx, tx, rx):
    """(B, LANES, 2) vertex, weight and derivative of either end along x."""
    upper = tl.arange(0, 2)[None, None, :] == 1
    vx, tx, rx = vx[:, :, None], tx[:, :, None], rx[:, :, None]
    return vx + upper.to(tl.uint32), tl.where(upper, tx, 1.0 - tx), tl.where(upper, rx, -rx)


@triton.jit
def entries(x, y, z, my, mz, bits, size, first, EDGE: tl.constexpr):
    """(B, LANES, 2) rows of the table of both ends of an edge along x, one of four; y and z are lower vertices times my and mz."""
    if EDGE & 1:
        y += my[None, :]
    if EDGE & 2:
        z += mz[None, :]
    dense = (bits == 0xFFFFFFFF)[None, :]
    yz = tl.where(dense, y + z, y ^ z)[:, :, None]
    bits, size, first = bits[None, :, None], size[None, :, None], first[None, :, None]
    row = tl.where(dense[:, :, None], x + yz, (x ^ yz) & bits)
    row = tl.where(row >= size, row - size, row)
    return row.to(tl.int32, bitcast=True) + first


@triton.jit
def encode(
    table, x0, x1, x2, inside, scales, layout, mask,
    LEVELS: tl.constexpr, LANES: tl.constexpr, FEATURES: tl.constexpr, SMOOTH: tl.constexpr, GRADIENT: tl.constexpr,
):  # fmt: skip
    """(B, LANES, F) features, and their derivatives with respect to x, y and z (the features again if not GRADIENT).

    Not yet multiplied by the weights of levels; zero where that is 0.
    """
    scale, my, mz, bits, size, first, weight = level_rows(scales, layout, mask, LEVELS, LANES)
    vx, tx, rx = on_axis(x0, scale, SMOOTH)
    vy, ty, ry = on_axis(x1, scale, SMOOTH)
    vz, tz, rz = on_axis(x2, scale, SMOOTH)
    vy *= my[None, :]
    vz *= mz[None, :]
    ex, wx, dx = ends(vx, tx, rx)
    column = tl.arange(0, FEATURES)[None, None, None, :]
    there = (inside[:, None] & (weight != 0.0)[None, :])[:, :, None, None]
    value = tl.zeros([x0.shape[0], LANES, 2, FEATURES], tl.float32)
    by_y, by_z = value, value
    for edge in tl.static_range(4):
        row = entries(ex, vy, vz, my, mz, bits, size, first, edge)
        found = tl.load(table + (row * FEATURES)[:, :, :, None] + column, mask=there, other=0.0)
        wy, wz = side(ty, edge & 1), side(tz, edge & 2)
        value += found * (wy * wz)[:, :, None, None]
        if GRADIENT:
            by_y += found * (signed(ry, edge & 1) * wz)[:, :, None, None]
            by_z += found * (wy * signed(rz, edge & 2))[:, :, None, None]
    wx, dx = wx[:, :, :, None], dx[:, :, :, None]
    result = tl.sum(value * wx, axis=2)
    if GRADIENT:
        return result, tl.sum(value * dx, axis=2), tl.sum(by_y * wx, axis=2), tl.sum(by_z * wx, axis=2)
    else:
        return result, result, result, result


@triton.jit
def scatter(
    to_table, x0, x1, x2, inside, by_value, by_x, by_y, by_z, scales, layout, mask,
    LEVELS: tl.constexpr, LANES: tl.constexpr, FEATURES: tl.constexpr, SMOOTH: tl.constexpr, GRADIENT: tl.constexpr,
):  # fmt: skip
    """Add to the table's derivatives what is asked of features and, if GRADIENT, of their derivatives with respect to x, y and z.

    All are (B, LANES, F), multiplied by the weights of levels already.
    """
    scale, my, mz, bits, size, first, weight = level_rows(scales, layout, mask, LEVELS, LANES)
    vx, tx, rx = on_axis(x0, scale, SMOOTH)
    vy, ty, ry = on_axis(x1, scale, SMOOTH)
    vz, tz, rz = on_axis(x2, scale, SMOOTH)
    vy *= my[None, :]
    vz *= mz[None, :]
    ex, wx, dx = ends(vx, tx, rx)
    wx, dx = wx[:, :, :, None], dx[:, :, :, None]
    column = tl.arange(0, FEATURES)[None, None, None, :]
    there = (inside[:, None] & (weight != 0.0)[None, :])[:, :, None, None]
    along = by_value[:, :, None, :] * wx
    if GRADIENT:
        along += by_x[:, :, None, :] * dx
    for edge in tl.static_range(4):
        row = entries(ex, vy, vz, my, mz, bits, size, first, edge)
        wy, wz = side(ty, edge & 1), side(tz, edge & 2)
        amount = along * (wy * wz)[:, :, None, None]
        if GRADIENT:
            amount += by_y[:, :, None, :] * (wx * (signed(ry, edge & 1) * wz)[:, :, None, None])
            amount += by_z[:, :, None, :] * (wx * (wy * signed(rz, edge & 2))[:, :, None, None])
        tl.atomic_add(to_table + (row * FEATURES)[:, :, :, None] + column, amount, mask=there, sem="relaxed")
