"""The zero set of a field as a closed mesh: the only map from lattice to space.

Conventions: R cells along each side of the unit box, nodes 0..R along each axis, node i at -1 + 2 i / R. A node is outside where f >= 0, so
an exact zero is outside. Nodes on the box itself are outside whatever the field says, which closes the surface there.

A brick owns BRICK^3 nodes, no node belongs to two: each value is computed once, in one batch, and neighbours read it. (Evaluating a
node twice is no substitute: the same network differs in the last bit from batch to batch, which opens seams.) Bricks that aren't
evaluated count as wholly inside or outside, by one probe; flooding goes on until no cell with both signs touches such a brick.

Topology comes from signs alone, so a vertex is named by the lattice edge it lies on, exactly, and blocks weld without rounding. The
position along that edge comes afterwards, from the two values at its ends.
"""

from __future__ import annotations

from itertools import product

import mcubes
import numpy as np
import torch
from scipy.ndimage import maximum_filter, minimum_filter

from surfrecon.errors import InputError, SurfreconError
from surfrecon.fields.field import Field
from surfrecon.geometry import Mesh
from surfrecon.run import Run

BRICK = 4  # nodes along a brick's side; smaller wastes less evaluation, larger less bookkeeping
BLOCK = 8  # bricks along one call of marching cubes
PROBES = 128  # most probes along a side of the box in the first, dense look
BATCH = 2**18  # points per evaluation of the field
FRACTION_MARGIN = 1e-3  # of a lattice edge: keeps vertices of neighbouring edges apart when a file rounds them to float32
OUTSIDE, INSIDE = -1, -2  # in place of a row: a brick that isn't evaluated, taken as wholly outside or inside
REACH = np.sqrt(3)  # distance from a cube's centre to its corner, per half side


def marching_cubes(field: Field, *, resolution: int, run: Run | None = None) -> Mesh:
    """The surface where the field is zero, closed by the unit box.

    The field is evaluated near the surface only: in bricks whose probe says that they may be crossed (opposite signs next to each other;
    or, where the field knows its Lipschitz bound, |f| within reach), then wherever the surface leads from there. What can be missed is a
    piece smaller than the first look's step (4 cells, or 2 / 128 if that is more) that touches no other, of a field without such a bound.

    Args:
        field: negative inside.
        resolution: cells along each side of the box [-1, 1]^3, >= 2.
        run: device and progress; the field is moved to its device.
    Returns:
        A closed manifold mesh in the unit frame; its vertices lie on lattice edges, in the order of these edges.
    Raises:
        InputError: resolution < 2.
        SurfreconError: the field has no zero crossing, or values that aren't finite.
    """
    if resolution < 2:
        raise InputError(f"resolution must be >= 2 (cells along a side of the unit box), got {resolution}")
    bricks = _Bricks(field, resolution, run or Run())
    bricks.flood(bricks.seeds())
    edges, faces = bricks.march()
    return Mesh(bricks.positions(edges), faces)


class _Bricks:
    """The sparse lattice: values of the evaluated bricks and the sign of all others.

    Attributes:
        index: (n + 2,)^3 int32, one brick of margin on each side: row of `values`, or OUTSIDE or INSIDE.
        values: (rows, BRICK, BRICK, BRICK) float32.
        outside: the same shape, values >= 0.
    """

    def __init__(self, field: Field, resolution: int, run: Run):
        self.field, self.resolution, self.run = field.to(run.torch_device()), resolution, run
        self.side = resolution // BRICK + 1  # bricks along a side
        self.index = np.full((self.side + 2,) * 3, OUTSIDE, np.int32)
        self.values = np.empty((0, BRICK, BRICK, BRICK), np.float32)
        self.outside = np.empty(self.values.shape, bool)
        self.evaluations = 0

    def coordinates(self, nodes: np.ndarray) -> np.ndarray:
        """Unit frame positions (float64) of lattice coordinates, which may be fractional."""
        return -1 + 2 * nodes / self.resolution

    def sample(self, nodes: np.ndarray) -> np.ndarray:
        """(N,) float32 values at (N, 3) nodes, at most BATCH of them; nodes on the box or beyond are outside."""
        x = self.coordinates(np.minimum(nodes, self.resolution)).astype(np.float32)
        with torch.no_grad():
            values = self.field(torch.from_numpy(x).to(self.run.torch_device())).detach().to("cpu", torch.float32).numpy()
        self.evaluations += len(nodes)
        bad = int((~np.isfinite(values)).sum())
        if bad:
            raise SurfreconError(f"the field is NaN or infinite at {bad} of {len(nodes)} lattice nodes: the fit has diverged")
        border = ((nodes <= 0) | (nodes >= self.resolution)).any(axis=1)
        return np.where(border, np.maximum(values, 0), values)

    def probe(self, cubes: np.ndarray, width: int) -> np.ndarray:
        """(N,) values near the centres of (N, 3) cubes of width^3 bricks."""
        nodes = cubes * (width * BRICK) + width * BRICK // 2
        parts = [self.sample(nodes[i : i + BATCH]) for i in range(0, len(nodes), BATCH)]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def within_reach(self, values: np.ndarray, width: int) -> np.ndarray:
        """Whether the surface may come into a cell that touches a cube of width^3 bricks, given the values of their probes."""
        if self.field.lipschitz is None:
            return np.zeros(values.shape, bool)
        return np.abs(values) <= self.field.lipschitz * REACH * (width * BRICK / 2) * 2 / self.resolution

    def seeds(self) -> np.ndarray:
        """(N, 3) bricks to begin with: probes first over the whole box, then brick by brick where that look found something."""
        width = -(-self.side // PROBES)
        count = -(-self.side // width)
        cubes = np.indices((count,) * 3).reshape(3, -1).T
        values = self.probe(cubes, width).reshape((count,) * 3)
        outside = values >= 0
        near = self.within_reach(values, width)
        if width > 1:
            near |= maximum_filter(outside, 3) != minimum_filter(outside, 3)
            spread = lambda grid: grid.repeat(width, 0).repeat(width, 1).repeat(width, 2)[(slice(self.side),) * 3]
            outside, inner = spread(outside), np.argwhere(spread(near))
            values = self.probe(inner, 1)
            outside[tuple(inner.T)] = values >= 0
            near = np.zeros(outside.shape, bool)
            near[tuple(inner.T)] = self.within_reach(values, 1)
        self.index[1:-1, 1:-1, 1:-1] = np.where(outside, OUTSIDE, INSIDE)
        # Both sides of every change of sign, the one at the box included: then no cell between unevaluated bricks has two signs.
        for axis in range(3):
            changes = np.diff(outside, axis=axis, prepend=True, append=True)
            near |= changes.take(range(self.side), axis) | changes.take(range(1, self.side + 1), axis)
        return np.argwhere(near)

    def flood(self, wave: np.ndarray) -> None:
        """Evaluate these bricks, then every brick that they show to be crossed, until none is left."""
        total = 0
        while len(wave):
            first, total = total, total + len(wave)
            self.index[tuple(wave.T + 1)] = np.arange(first, total)
            self.values = np.concatenate([self.values, self.evaluate(wave, first, total)])
            self.outside = self.values >= 0
            step = BATCH // BRICK**3
            found = np.zeros(self.index.shape, bool)
            for i in range(0, len(wave), step):
                found[self.crossed_into(wave[i : i + step] + 1)] = True
            wave = np.argwhere(found[1:-1, 1:-1, 1:-1])

    def evaluate(self, wave: np.ndarray, done: int, total: int) -> np.ndarray:
        values = np.empty((len(wave), BRICK, BRICK, BRICK), np.float32)
        offsets = np.indices((BRICK,) * 3).reshape(3, -1).T
        step = BATCH // BRICK**3
        for i in range(0, len(wave), step):
            part = wave[i : i + step]
            values[i : i + step] = self.sample((part[:, None] * BRICK + offsets).reshape(-1, 3)).reshape(-1, BRICK, BRICK, BRICK)
            self.run.step("extract", done + i + len(part), total)
        return values

    def crossed_into(self, bricks: np.ndarray) -> tuple[np.ndarray, ...]:
        """Where `index` holds unevaluated bricks that share a cell of two signs with these (N, 3) evaluated ones."""
        n = BRICK
        outside = np.empty((len(bricks), n + 2, n + 2, n + 2), bool)  # a brick's nodes and one more layer all around
        near_side = {-1: slice(n - 1, n), 0: slice(n), 1: slice(1)}
        own_side = {-1: slice(1), 0: slice(1, n + 1), 1: slice(n + 1, n + 2)}
        rows = {}
        for offset in product((-1, 0, 1), repeat=3):
            rows[offset] = row = self.index[tuple((bricks + offset).T)]
            source = self.outside[(slice(None), *(near_side[o] for o in offset))]
            target = outside[(slice(None), *(own_side[o] for o in offset))]
            target[:] = np.where((row >= 0)[:, None, None, None], source[row], (row == OUTSIDE)[:, None, None, None])
        some, every = outside, outside
        for axis in (1, 2, 3):
            low, high = (slice(None),) * axis + (slice(-1),), (slice(None),) * axis + (slice(1, None),)
            some, every = some[low] | some[high], every[low] & every[high]
        crossed = some & ~every  # (N, n + 1, n + 1, n + 1) cells
        for axis in (1, 2, 3):  # of the cells along an axis the first touches the brick before, all touch this one, the last the next
            crossed = np.stack([crossed.take(0, axis), crossed.any(axis), crossed.take(-1, axis)], axis)
        found = [bricks[crossed[:, o[0] + 1, o[1] + 1, o[2] + 1] & (row < 0)] + o for o, row in rows.items()]
        return tuple(np.concatenate(found).T)

    def march(self) -> tuple[np.ndarray, np.ndarray]:
        """(V,) sorted names of the crossed lattice edges, (F, 3) faces between them, counter-clockwise from outside."""
        keys, faces, count = [], [], 0
        blocks = np.unique(np.argwhere(self.index[1:-1, 1:-1, 1:-1] >= 0) // BLOCK, axis=0)
        index = np.pad(self.index[1:, 1:, 1:], (0, BLOCK), constant_values=OUTSIDE)
        cells = BLOCK * BRICK
        for block in blocks:
            rows = index[tuple(slice(b, b + BLOCK + 1) for b in block * BLOCK)]
            signs = np.where((rows >= 0)[..., None, None, None], self.outside[rows], (rows == OUTSIDE)[..., None, None, None])
            signs = signs.transpose(0, 3, 1, 4, 2, 5).reshape(((BLOCK + 1) * BRICK,) * 3)[(slice(cells + 1),) * 3]
            if signs.all() or not signs.any():
                continue
            middles, triangles = mcubes.marching_cubes(signs, 0.5)  # each vertex halfway along its lattice edge
            keys.append(self.key((2 * middles).astype(np.int64) + 2 * cells * block))
            faces.append((triangles[:, ::-1] + count).astype(np.int32 if count < 2**30 else np.int64))
            count += len(middles)
        if not count:
            raise SurfreconError(
                f"the field has no zero crossing in the unit box at resolution {self.resolution}: "
                "there is no surface to extract (the fit failed, or its sign is the same everywhere)"
            )
        edges, vertex = np.unique(np.concatenate(keys), return_inverse=True)
        return edges, vertex[np.concatenate(faces)]

    def key(self, doubled: np.ndarray) -> np.ndarray:
        """(V,) names of lattice edges from their doubled middles, of which one coordinate is odd."""
        return np.ravel_multi_index(tuple(doubled.T), (2 * self.resolution + 1,) * 3)

    def positions(self, edges: np.ndarray) -> np.ndarray:
        """(V, 3) vertices: on each edge, where the line between its two values is zero."""
        doubled = np.stack(np.unravel_index(edges, (2 * self.resolution + 1,) * 3), axis=1)
        first, second = doubled // 2, (doubled + 1) // 2
        f0, f1 = self.at(first), self.at(second)
        fraction = np.clip(f0 / (f0 - f1), FRACTION_MARGIN, 1 - FRACTION_MARGIN)
        return self.coordinates(first + (second - first) * fraction[:, None])

    def at(self, nodes: np.ndarray) -> np.ndarray:
        """(N,) float64 stored values of evaluated nodes."""
        row = self.index[tuple((nodes // BRICK + 1).T)]
        assert (row >= 0).all(), "a crossed cell touches a brick that wasn't evaluated"
        return self.values[(row, *(nodes % BRICK).T)].astype(float)
