"""Solids joined from simple ones by set operations: boxes, cylinders, cones, balls, rings, superquadrics."""

from __future__ import annotations

import numpy as np

from surfrecon.data_tools.families.draw import attached, chance, direction, log_uniform, loose, on_surface, pick, rotation
from surfrecon.data_tools.profiles import polygon, revolved
from surfrecon.data_tools.shapes import Shape, box, capsule, cylinder, half_space, joined, smooth_difference, sphere, superquadric, torus

THIN = 0.12  # least side of a part, where the whole is about 2 wide

FILLET = 0.4  # most that fillets of superquadrics add to a side of the box


def cone(low: float, high: float, height: float) -> Shape:
    """A flat-ended cone about z with radii `low` and `high`, centred."""
    return revolved(polygon([[-low, -height / 2], [low, -height / 2], [high, height / 2], [-high, height / 2]]))


def primitive(rng: np.random.Generator, size: float) -> Shape:
    """A turned box, cylinder, cone, ball, capsule, ring or superquadric, about as wide as size."""
    side = lambda low=0.35: max(size * log_uniform(rng, low, 1.2), THIN)
    kind = rng.integers(8)
    if kind <= 1:
        sides = [side(), side(), side()]
        shape = box(sides, min(sides) * pick(rng, 0, 0, 0.1, 0.3))
    elif kind == 2:
        radius, height = side() / 2, side()
        shape = cylinder(radius, height, min(radius, height) * pick(rng, 0, 0, 0.2))
    elif kind == 3:
        shape = cone(side() / 2, pick(rng, THIN / 4, side(0.2) / 2), side())
    elif kind == 4:
        shape = sphere(side() / 2)
    elif kind == 5:
        shape = capsule([0, 0, 0], [0, 0, side()], side(0.2) / 2.5)
    elif kind == 6:
        major = side(0.6) / 2
        shape = torus(major, max(major * rng.uniform(0.2, 0.6), THIN / 2))
    else:
        shape = superquadric([side() / 2, side() / 2, side() / 2], rng.uniform(1, 6), rng.uniform(1, 6))
    return shape.rotated(pick(rng, np.eye(3), rotation(rng)))


def constructive(rng: np.random.Generator) -> Shape:
    """Unions, then an intersection, then differences."""
    shape = primitive(rng, rng.uniform(0.8, 1.6))
    for _ in range(rng.integers(0, 6)):
        shape = shape | attached(rng, primitive(rng, log_uniform(rng, 0.3, 1.2)), shape)
    if chance(rng, 0.25):
        large = primitive(rng, float(np.ptp(shape.bounds, axis=0).max()) * rng.uniform(0.7, 1.1))
        shape = shape & large.moved(on_surface(rng, shape, 0.4) - large.bounds.mean(axis=0))
    for _ in range(rng.integers(0, 5)):
        cut = attached(rng, primitive(rng, log_uniform(rng, 0.3, 0.9)), shape)
        shape = smooth_difference(shape, cut, 0.08) if chance(rng, 0.25) else shape - cut
    if chance(rng, 0.2):
        normal = direction(rng)
        shape = shape & half_space(normal, float(on_surface(rng, shape, 0.3) @ normal))
    return shape.rotated(rotation(rng))


def superquadrics(rng: np.random.Generator) -> Shape:
    """One to five, stacked at random or in a row along an axis, with or without fillets."""
    power = lambda: pick(rng, 2.0, rng.uniform(1, 2), log_uniform(rng, 2, 10))

    def one(size: float) -> Shape:
        axes = size * np.array([log_uniform(rng, 0.3, 1) for _ in range(3)])
        return superquadric(axes, power(), power())

    parts = [one(1.0)]
    for _ in range(rng.integers(0, 5)):
        part = one(log_uniform(rng, 0.35, 1)).rotated(pick(rng, np.eye(3), rotation(rng)))
        parts.append(attached(rng, part, joined(parts)))
    return loose(joined(parts, pick(rng, 0.0, 0.1, 0.25)), FILLET).rotated(rotation(rng))
