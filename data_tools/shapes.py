"""Solids given by their signed distance, and the closed meshes of them: objects whose truth is known everywhere.

Conventions: p points (N, 3), float64, any frame. Distances are negative inside. Every distance here is 1-Lipschitz, with the exact sign
and zero set. Primitives are exact everywhere; of combinations, `a | b` is exact outside, `a & b` and `a - b` may fall short of the
distance near edges that they cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, Similarity
from surfrecon.run import Run

MARGIN = 0.9  # half of a shape's longest side in the unit box of marching cubes
KNOT_SAMPLES = 2048  # points of a knot's curve from which its nearest point is sought
NEWTON_STEPS = 4  # from a start within half a sample the error falls below 1e-12 of the knot


@dataclass(frozen=True, eq=False)
class Shape:
    """A solid.

    Attributes:
        distance: (N, 3) -> (N,) signed distance.
        bounds: (2, 3) corners of a box that holds the solid.
    """

    distance: Callable[[np.ndarray], np.ndarray]
    bounds: np.ndarray

    def __or__(self, other: Shape) -> Shape:
        """The union."""
        bounds = np.stack([np.minimum(self.bounds[0], other.bounds[0]), np.maximum(self.bounds[1], other.bounds[1])])
        return Shape(lambda p: np.minimum(self.distance(p), other.distance(p)), bounds)

    def __and__(self, other: Shape) -> Shape:
        """The intersection."""
        bounds = np.stack([np.maximum(self.bounds[0], other.bounds[0]), np.minimum(self.bounds[1], other.bounds[1])])
        return Shape(lambda p: np.maximum(self.distance(p), other.distance(p)), bounds)

    def __sub__(self, other: Shape) -> Shape:
        """What the other leaves of this one."""
        return Shape(lambda p: np.maximum(self.distance(p), -other.distance(p)), self.bounds)

    def moved(self, offset) -> Shape:
        """The shape translated by (3,) offset."""
        offset = np.asarray(offset, float)
        return Shape(lambda p: self.distance(p - offset), self.bounds + offset)

    def axes(self, order: str) -> Shape:
        """The shape with its axes renamed: axes("yzx") puts its x along y, its y along z and its z along x."""
        to = ["xyz".index(axis) for axis in order]
        bounds = np.empty((2, 3))
        bounds[:, to] = self.bounds
        return Shape(lambda p: self.distance(p[:, to]), bounds)


def _cube(half) -> np.ndarray:
    return np.stack([-np.broadcast_to(half, 3), np.broadcast_to(half, 3)]).astype(float)


def sphere(radius: float) -> Shape:
    """A ball around the origin."""
    return Shape(lambda p: np.linalg.norm(p, axis=1) - radius, _cube(radius))


def torus(major: float, minor: float) -> Shape:
    """A ring in the xy plane: a tube of radius `minor` around a circle of radius `major`."""
    ring = lambda p: np.hypot(np.hypot(p[:, 0], p[:, 1]) - major, p[:, 2]) - minor
    return Shape(ring, _cube([major + minor, major + minor, minor]))


def box(sides, rounding: float = 0.0) -> Shape:
    """A box of (3,) sides around the origin, its edges rounded with a radius."""
    half = np.asarray(sides, float) / 2

    def distance(p: np.ndarray) -> np.ndarray:
        q = np.abs(p) - (half - rounding)
        return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0) - rounding

    return Shape(distance, _cube(half))


def cylinder(radius: float, height: float) -> Shape:
    """A flat-ended cylinder along z, centred."""

    def distance(p: np.ndarray) -> np.ndarray:
        q = np.stack([np.hypot(p[:, 0], p[:, 1]) - radius, np.abs(p[:, 2]) - height / 2], axis=1)
        return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0)

    return Shape(distance, _cube([radius, radius, height / 2]))


def capsule(start, end, radius: float) -> Shape:
    """Everything within a radius of the segment between two points."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    along = end - start

    def distance(p: np.ndarray) -> np.ndarray:
        share = np.clip((p - start) @ along / (along @ along), 0, 1)
        return np.linalg.norm(p - start - share[:, None] * along, axis=1) - radius

    return Shape(distance, np.stack([np.minimum(start, end) - radius, np.maximum(start, end) + radius]))


def knot(turns: int, windings: int, major: float, minor: float, radius: float) -> Shape:
    """A tube around the (turns, windings) torus knot on the torus of radii `major` and `minor`.

    The nearest point of the curve c is found among samples, then by Newton on (c(t) - p) . c'(t) = 0.
    """
    from scipy.spatial import cKDTree

    def curve(t: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(N, 3) position, first and second derivative."""
        a, b = turns * t, windings * t
        r, dr, ddr = major + minor * np.cos(b), -minor * windings * np.sin(b), -minor * windings**2 * np.cos(b)
        c, s = np.cos(a), np.sin(a)
        dx, dy = dr * c - turns * r * s, dr * s + turns * r * c
        ddx, ddy = (ddr - turns**2 * r) * c - 2 * turns * dr * s, (ddr - turns**2 * r) * s + 2 * turns * dr * c
        z, dz, ddz = minor * np.sin(b), minor * windings * np.cos(b), -minor * windings**2 * np.sin(b)
        return np.stack([r * c, r * s, z], 1), np.stack([dx, dy, dz], 1), np.stack([ddx, ddy, ddz], 1)

    step = 2 * np.pi / KNOT_SAMPLES
    samples = step * np.arange(KNOT_SAMPLES)
    tree = cKDTree(curve(samples)[0])

    def distance(p: np.ndarray) -> np.ndarray:
        best, nearest = tree.query(p)
        first = t = samples[nearest]
        for _ in range(NEWTON_STEPS):
            c, dc, ddc = curve(t)
            slope = np.einsum("ni,ni->n", dc, dc) + np.einsum("ni,ni->n", c - p, ddc)
            slope = np.where(slope > 0, slope, np.inf)  # a farthest point, not a nearest: stay
            t = np.clip(t - np.einsum("ni,ni->n", c - p, dc) / slope, first - step, first + step)
        return np.minimum(best, np.linalg.norm(curve(t)[0] - p, axis=1)) - radius

    reach = major + minor + radius
    return Shape(distance, _cube([reach, reach, minor + radius]))


def smooth_union(a: Shape, b: Shape, blend: float) -> Shape:
    """The union with its seams filleted where both distances differ by less than `blend`.

    min(a, b) - blend h^2 / 4 with h = max(1 - |a - b| / blend, 0): the gradient is a mean of both, so 1-Lipschitz.
    """

    def distance(p: np.ndarray) -> np.ndarray:
        da, db = a.distance(p), b.distance(p)
        return np.minimum(da, db) - blend * np.maximum(1 - np.abs(da - db) / blend, 0) ** 2 / 4

    return Shape(distance, (a | b).bounds + np.array([[-blend / 4], [blend / 4]]))


def smooth_difference(a: Shape, b: Shape, blend: float) -> Shape:
    """What b leaves of a, the rim rounded where both distances differ by less than `blend`: the complement of a smooth union."""
    outside = Shape(lambda p: -a.distance(p), a.bounds)
    return Shape(lambda p: -smooth_union(outside, b, blend).distance(p), a.bounds)


def embossed(shape: Shape, relief: Callable[[np.ndarray], np.ndarray], height: float, slope: float) -> Shape:
    """A shape raised by relief(p), a function of space, where that is > 0, and lowered where it is < 0.

    (distance - relief) / (1 + slope) is 1-Lipschitz with the sign of distance - relief. It is smaller than the distance.

    Args:
        relief: (N, 3) -> (N,), |relief| <= height.
        slope: bound of the relief's gradient.
    """
    return Shape(lambda p: (shape.distance(p) - relief(p)) / (1 + slope), shape.bounds + np.array([[-height], [height]]))


def bracket() -> Shape:
    """An angle bracket, 80 x 50 x 60: a bored boss on a wall, and two holes in its foot."""
    foot = box([80, 50, 10], rounding=2).moved([0, 0, 5])
    wall = box([10, 50, 60], rounding=2).moved([-35, 0, 30])
    boss = cylinder(14, 20).axes("yzx").moved([-26, 0, 38])
    hull = box([80, 50, 60], rounding=2).moved([0, 0, 30])  # cuts off the bead of the fillet where both are flush
    body = smooth_union(smooth_union(foot, wall, 6) & hull, boss, 3)
    bore = cylinder(8, 60).axes("yzx").moved([-28, 0, 38])
    hole = cylinder(5, 30)
    return body - bore - hole.moved([18, -14, 5]) - hole.moved([18, 14, 5])


def blob() -> Shape:
    """Five balls melted into one."""
    balls = [([0, 0, 0], 0.5), ([0.55, 0.1, 0.15], 0.35), ([-0.4, 0.45, -0.1], 0.3), ([-0.2, -0.5, 0.2], 0.32), ([0.1, 0.05, 0.6], 0.25)]
    shape, *others = (sphere(radius).moved(centre) for centre, radius in balls)
    for other in others:
        shape = smooth_union(shape, other, 0.25)
    return shape


def plates() -> Shape:
    """Four thin plates on a post: 1 thick, 60 wide, 12 apart."""
    shape = cylinder(5, 38).moved([0, 0, 18])
    for level in range(4):
        shape = shape | box([60, 40, 1]).moved([0, 0, 12 * level])
    return shape


SHAPES: dict[str, Callable[[], Shape]] = {
    "sphere": lambda: sphere(1.0),
    "torus": lambda: torus(1.0, 0.4),
    "capsule": lambda: capsule([-0.7, 0, 0], [0.7, 0, 0], 0.3),
    "bracket": bracket,
    "knot": lambda: knot(2, 3, major=1.0, minor=0.4, radius=0.18),
    "blob": blob,
    "plates": plates,
}


def named(name: str) -> Shape:
    """A demo shape by its name in SHAPES.

    Raises:
        InputError: no such shape.
    """
    if name not in SHAPES:
        raise InputError(f"there is no shape {name!r}; choose one of {', '.join(SHAPES)}")
    return SHAPES[name]()


def mesh_of(shape: Shape, resolution: int = 128) -> Mesh:
    """The shape's surface as a closed manifold mesh, in the shape's frame.

    Args:
        resolution: cells along the box, which the shape's longest side fills to MARGIN. Parts thinner than a cell may be missed.
    """
    import torch

    from surfrecon.extract import marching_cubes
    from surfrecon.fields import Field

    low, high = shape.bounds
    scale = 2 * MARGIN / (high - low).max()
    unit_from_shape = Similarity(scale, -scale * (low + high) / 2)
    shape_from_unit = unit_from_shape.inverse()

    class Distance(Field):
        lipschitz = 1.0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(scale * shape.distance(shape_from_unit.points(x.numpy())))

        def value_and_gradient(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            raise NotImplementedError("shapes are extracted by their values alone")

    return marching_cubes(Distance(), resolution=resolution, run=Run(device="cpu")).transformed(shape_from_unit)
