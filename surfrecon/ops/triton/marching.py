"""march: one kernel, launched to count samples and again to write them. Must equal reference/marching.py: march, to the byte; with a
surface but for samples on the edge of being seen.

Layout: as in samples.py; occupied (M, M, M) bytes and values (N, N, N), last axis fastest; all contiguous. A program takes RAYS rays, on a
GPU one by a single warp, and goes over their places PLACES at a time, until they leave the box, have `most` samples, or see no more. Empty
cells are not skipped as native/marching.cpp does it: places then wait for memory together, not one for another.

Places are in double, and no product is fused with a sum: rounded otherwise, a place on a border would be in another cell than it is by the
reference, and by one launch in another than by the other.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from surfrecon.ops.samples import Samples, Surface, check_march, check_steps
from surfrecon.ops.trial import trial
from surfrecon.ops.triton.compositing import half_drop, opacity, three
from surfrecon.ops.triton.here import interpreted, require

RAYS, PLACES = 1, 64
RAYS_INTERPRETED = 1024  # there the time goes by instruction
OPTIONS = {"num_warps": 1, "enable_fp_fusion": False}
MOST_SAMPLES = 2**31 - 1  # of a ray, that int32 counts
NO_SURFACE = (None, 2, 1.0, 1.0, 0.0)  # values, nodes, inv_s, band, dark
INFINITE = tl.constexpr(float("inf"))


def march(
    occupied: Tensor, origins: Tensor, directions: Tensor, *, step: float | Tensor, jitter: Tensor, most: int, surface: Surface | None
) -> Samples:
    require(origins, "origins")
    step = check_march(occupied, origins, directions, step, jitter, most, surface)
    occupied = occupied.contiguous().view(torch.uint8)
    rays = [tensor.detach().contiguous() for tensor in (origins, directions, step, jitter)]
    seen = NO_SURFACE
    if surface is not None:
        seen = (surface.values.detach().contiguous(), len(surface.values), *map(float, surface[1:]))
    with torch.cuda.device_of(origins):
        if len(origins):
            trial(("march", surface is None, origins.device), lambda: _try(surface is None, origins.device))
        return _march(occupied, rays, most, seen)


def _try(without: bool, device: torch.device) -> None:
    """A ray that has samples: else nothing would be written."""
    row, one = torch.ones(1, 3, device=device), torch.ones(1, device=device)
    seen = NO_SURFACE if without else (torch.zeros(2, 2, 2, device=device), *NO_SURFACE[1:])
    _march(torch.ones(1, 1, 1, dtype=torch.uint8, device=device), [-row, row, one, one], 1, seen)


def _march(occupied: Tensor, rays: list[Tensor], most: int, seen: tuple) -> Samples:
    origins, _, steps, _ = rays
    programs = triton.cdiv(len(origins), tile()["RAYS"])
    inputs = occupied, len(occupied), *rays, len(origins), min(most, MOST_SAMPLES), *seen
    launch = lambda *results: along[programs,](*inputs, *results, **tile(), **OPTIONS)
    offsets = torch.zeros(len(origins) + 1, dtype=torch.int64, device=origins.device)
    if len(origins):
        launch(offsets[1:], None, None, None)
    offsets = offsets.cumsum(0)
    total, positive = torch.stack([offsets[-1], (steps > 0).all().long()]).tolist()  # the one place where the CPU waits
    if not positive:
        check_steps(steps)
    t, lengths = origins.new_empty(total), origins.new_empty(total)  # each where memory is aligned
    if total:
        launch(None, offsets, t, lengths)
    return Samples(t, lengths, offsets)


def tile() -> dict[str, int]:
    """Of one program."""
    return {"RAYS": RAYS_INTERPRETED if interpreted() else RAYS, "PLACES": PLACES}


@triton.jit
def between_sides(o, d):
    """From where to where a ray is between two opposite sides of the box."""
    crosses = d != 0.0
    divisor = tl.where(crosses, d, 1.0)
    one, other = (-1.0 - o) / divisor, (1.0 - o) / divisor
    within = tl.where(tl.abs(o) <= 1.0, INFINITE, -INFINITE)
    return tl.where(crosses, tl.minimum(one, other), -within), tl.where(crosses, tl.maximum(one, other), within)


@triton.jit
def cell_of(u, cells, there):
    """Cell of places, in cells along an axis; rounding may put these just beyond the box."""
    return tl.minimum(tl.where(there & (u > 0.0), u, 0.0).to(tl.int64), cells - 1)


@triton.jit
def node_of(x, nodes):
    """Node of a lattice below places along an axis, and how far they are on to the next one, 0 to 1."""
    u = (tl.minimum(tl.maximum(x, -1.0), 1.0) + 1.0) * ((nodes - 1) * 0.5)
    low = tl.minimum(u.to(tl.int32), nodes - 2)
    return low.to(tl.int64), u - low.to(tl.float32)


@triton.jit
def edge(values, node, t, there):
    """On the edge from a node to its neighbour along z: the value, and its rise from end to end."""
    low = tl.load(values + node, mask=there, other=0.0)
    rise = tl.load(values + node + 1, mask=there, other=0.0) - low
    return low + t * rise, rise


@triton.jit
def read(values, nodes, x, y, z, dx, dy, dz, there):
    """Value of a lattice at places, and its slope along the ray."""
    row, tx = node_of(x, nodes)
    column, ty = node_of(y, nodes)
    node, tz = node_of(z, nodes)
    node += (row * nodes + column) * nodes
    above = node + nodes.to(tl.int64) * nodes
    near_0, rise_00 = edge(values, node, tz, there)
    near_1, rise_01 = edge(values, node + nodes, tz, there)
    far_0, rise_10 = edge(values, above, tz, there)
    far_1, rise_11 = edge(values, above + nodes, tz, there)
    near_y, far_y = near_1 - near_0, far_1 - far_0
    near, far = near_0 + ty * near_y, far_0 + ty * far_y
    near_z, far_z = rise_00 + ty * (rise_01 - rise_00), rise_10 + ty * (rise_11 - rise_10)
    slope = (far - near) * dx + (near_y + tx * (far_y - near_y)) * dy + (near_z + tx * (far_z - near_z)) * dz
    return near + tx * (far - near), slope * ((nodes - 1) * 0.5)


@triton.jit(do_not_specialize=["cells", "count", "most", "nodes", "inv_s", "band", "dark"])
def along(
    occupied, cells, origins, directions, steps, jitter, count, most, values, nodes, inv_s, band, dark, counts, offsets, t, lengths,
    RAYS: tl.constexpr, PLACES: tl.constexpr,
):  # fmt: skip
    ray = tl.program_id(0).to(tl.int64) * RAYS + tl.arange(0, RAYS)
    there = ray < count
    ox, oy, oz = three(origins, ray, there)
    dx, dy, dz = three(directions, ray, there)
    length, shift = tl.load(steps + ray, mask=there, other=0.0), tl.load(jitter + ray, mask=there, other=0.0)
    x, y, z = ox.to(tl.float64), oy.to(tl.float64), oz.to(tl.float64)
    vx, vy, vz = dx.to(tl.float64), dy.to(tl.float64), dz.to(tl.float64)
    h, first = length.to(tl.float64)[:, None], (shift.to(tl.float64) + 0.5)[:, None]
    from_x, to_x = between_sides(x, vx)
    from_y, to_y = between_sides(y, vy)
    from_z, to_z = between_sides(z, vz)
    near = tl.maximum(tl.maximum(tl.maximum(from_x, from_y), from_z), 0.0)[:, None]
    far = tl.minimum(tl.minimum(to_x, to_y), to_z)[:, None]
    finite = tl.abs(x) + tl.abs(y) + tl.abs(z) + tl.abs(vx) + tl.abs(vy) + tl.abs(vz) < INFINITE
    more = (there & finite & (length > 0.0))[:, None] & (far < INFINITE) & (near + first * h < far)
    if offsets is not None:
        begin, end = tl.load(offsets + ray, mask=there, other=0)[:, None], tl.load(offsets + ray + 1, mask=there, other=0)[:, None]
        more &= begin < end
    ox, oy, oz, dx, dy, dz, length = ox[:, None], oy[:, None], oz[:, None], dx[:, None], dy[:, None], dz[:, None], length[:, None]
    half = cells.to(tl.float64) * 0.5
    x, y, z, vx, vy, vz = (x + 1.0) * half, (y + 1.0) * half, (z + 1.0) * half, vx * half, vy * half, vz * half  # in cells
    x, y, z, vx, vy, vz = x[:, None], y[:, None], z[:, None], vx[:, None], vy[:, None], vz[:, None]
    met, found, deep = tl.zeros([RAYS, 1], tl.int32), tl.zeros([RAYS, 1], tl.int32), tl.zeros([RAYS, 1], tl.float32)
    start, unfinished = 0, tl.sum(more.to(tl.int32))
    while unfinished > 0:
        middle = near + ((start + tl.arange(0, PLACES)).to(tl.float64)[None, :] + first) * h
        hit = more & (middle < far)
        cell = (cell_of(x + middle * vx, cells, hit) * cells + cell_of(y + middle * vy, cells, hit)) * cells
        cell += cell_of(z + middle * vz, cells, hit)
        hit &= tl.load(occupied + cell, mask=hit, other=0) != 0
        hit &= met + tl.cumsum(hit.to(tl.int32), 1) <= most
        met += tl.sum(hit.to(tl.int32), 1)[:, None]
        start += PLACES
        more &= (met < most) & (near + (start + first) * h < far)
        if values is not None:
            at = middle.to(tl.float32)
            value, slope = read(values, nodes, ox + at * dx, oy + at * dy, oz + at * dz, dx, dy, dz, hit)
            _, tau = opacity(value, half_drop(slope, length, 1.0), inv_s)
            tau = tl.where(hit, tau, 0.0)
            through = deep + tl.cumsum(tau, 1)
            hit &= (tl.abs(value) < band) & (tl.exp(tau - through) > dark)
            deep += tl.sum(tau, 1)[:, None]
            more &= tl.exp(-deep) > dark
        if offsets is not None:
            place = begin + found + tl.cumsum(hit.to(tl.int32), 1) - 1
            tl.store(t + place, middle.to(tl.float32), mask=hit)
            tl.store(lengths + place, length, mask=hit)
        found += tl.sum(hit.to(tl.int32), 1)[:, None]
        if offsets is not None:
            more &= begin + found < end
        unfinished = tl.sum(more.to(tl.int32))
    if counts is not None:
        tl.store(counts + ray[:, None], found, mask=there[:, None])
