"""Soft and grown solids: melted balls, tubes along curves, branches, relief."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline

from surfrecon.data_tools.families.blocks import constructive, primitive, superquadrics
from surfrecon.data_tools.families.draw import chance, direction, log_uniform, loose, on_surface, pick, rotation, waves, wavy
from surfrecon.data_tools.shapes import Shape, box, embossed, joined, round_cone, smooth_difference, sphere, superquadric

RELIEF = 0.2  # most that a relief adds to a side of the box
THINNEST = 0.05  # least radius of a tube or branch in a shape about 2.5 long
TURNS_PARTS, PARTS = 48, 28  # round cones along a tube: one that turns many times, one that doesn't


def blends(rng: np.random.Generator) -> Shape:
    """Balls and round cones, each begun at the surface of those before, melted together; some hollowed by dents."""
    radius = lambda: log_uniform(rng, 0.12, 0.6)
    parts = [sphere(radius())]
    centres = [np.zeros(3)]
    spread = rng.uniform(0.7, 1.5)
    for _ in range(rng.integers(2, 12)):
        start, r = centres[rng.integers(len(centres))], radius()
        step = spread * (r + 0.25) * direction(rng) * rng.uniform(0.6, 1.2)
        parts.append(round_cone(start, start + step, rng.uniform(0.08, 0.3), r) if chance(rng, 0.6) else sphere(r).moved(start + step))
        centres.append(start + step)
    shape = joined(parts, log_uniform(rng, 0.08, 0.5))
    for _ in range(pick(rng, 0, 0, 0, 1, 2, 3)):
        shape = smooth_difference(shape, sphere(rng.uniform(0.15, 0.4)).moved(on_surface(rng, shape)), rng.uniform(0.05, 0.2))
    return shape.rotated(rotation(rng))


def tube(points: np.ndarray, radii: np.ndarray, closed: bool, blend: float = 0.0) -> Shape:
    """A tube through (V, 3) points with (V,) radii."""
    ends = np.roll(np.arange(len(points)), -1)[: None if closed else -1]
    return joined([round_cone(points[i], points[j], radii[i], radii[j]) for i, j in enumerate(ends)], blend)


def _curve(rng: np.random.Generator) -> tuple[np.ndarray, bool]:
    """(V, 3) points of a random curve about 2 long and wide, and whether it is closed."""
    kind = rng.integers(6)
    t = np.linspace(0, 2 * np.pi, TURNS_PARTS if kind == 0 else PARTS, endpoint=False)
    if kind == 0:  # a torus knot
        turns, windings = pick(rng, (2, 3), (3, 2), (2, 5), (1, 2), (1, 3), (1, 4), (3, 4))
        r = 1 + rng.uniform(0.25, 0.5) * np.cos(windings * t)
        return np.stack([r * np.cos(turns * t), r * np.sin(turns * t), rng.uniform(0.3, 0.6) * np.sin(windings * t)], axis=1), True
    if kind == 1:  # a wavy ring
        highest = rng.integers(1, 5)
        amounts = rng.normal(0, 1, (highest, 2, 3)) / (1 + np.arange(highest))[:, None, None] ** 1.5
        phase = np.arange(1, highest + 1)[:, None] * t
        curve = np.einsum("hv,hc->vc", np.cos(phase), amounts[:, 0]) + np.einsum("hv,hc->vc", np.sin(phase), amounts[:, 1])
        return curve * 2 / np.ptp(curve, axis=0).max(), True
    if kind == 2:  # a helix or a spiral
        turns, height = rng.uniform(1, 3.5), rng.uniform(0.3, 2)
        s = np.linspace(0, 1, TURNS_PARTS)
        r, angle = 0.8 * (1 - rng.uniform(0, 0.8) * s), 2 * np.pi * turns * s
        return np.stack([r * np.cos(angle), r * np.sin(angle), height * (s - 0.5)], axis=1), False
    knots = rng.integers(3, 8)  # a random walk that keeps its heading
    heading, places = direction(rng), [np.zeros(3)]
    for _ in range(knots - 1):
        heading = heading + rng.uniform(0.3, 1.3) * direction(rng)
        heading /= np.linalg.norm(heading)
        places.append(places[-1] + heading * rng.uniform(0.5, 1))
    curve = CubicSpline(np.arange(knots), places)(np.linspace(0, knots - 1, PARTS))
    return curve * 2 / np.ptp(curve, axis=0).max(), False


def _swept_once(rng: np.random.Generator, thinnest: float) -> Shape:
    points, closed = _curve(rng)
    s = np.linspace(0, 2 * np.pi, len(points), endpoint=False)
    size = log_uniform(rng, 0.08, 0.4)
    uneven = rng.uniform(0, 0.5) * np.cos(rng.integers(1, 5) * s + rng.uniform(0, 6))
    taper = 1 if closed else np.linspace(1, rng.uniform(0.3, 1), len(points))
    return tube(points, np.maximum(size * (1 + uneven) * taper, thinnest), closed)


def swept(rng: np.random.Generator) -> Shape:
    """One to three tubes, sometimes flattened."""
    shape = _swept_once(rng, THINNEST)
    for _ in range(pick(rng, 0, 0, 0, 1, 2)):
        size = rng.uniform(0.5, 1)
        other = _swept_once(rng, 1.4 * THINNEST / size).scaled(size).rotated(rotation(rng))
        shape = shape | other.moved(on_surface(rng, shape, 0.05) - on_surface(rng, other, 0.05))
    factors = pick(rng, np.ones(3), np.array([1, 1, rng.uniform(0.75, 1.3)]))
    return shape.scaled(factors).rotated(rotation(rng))


def branching(rng: np.random.Generator) -> Shape:
    """Trees, corals and roots, or the junction of pipes."""
    return _junction(rng) if chance(rng, 0.25) else _tree(rng)


def _tree(rng: np.random.Generator) -> Shape:
    decay, shrink = rng.uniform(0.65, 0.9), rng.uniform(0.6, 0.85)
    spread, most, depth = rng.uniform(0.4, 1.1), int(rng.integers(2, 5)), int(rng.integers(2, 5))
    bend = rng.uniform(0, 0.4)
    parts = []

    def grow(start: np.ndarray, heading: np.ndarray, reach: float, radius: float, level: int) -> None:
        for _ in range(2):  # a branch of two pieces bends
            end, thinner = start + heading * reach / 2, max(radius * np.sqrt(shrink), THINNEST)
            parts.append(round_cone(start, end, radius, thinner))
            start, radius = end, thinner
            heading = heading + bend * direction(rng)
            heading /= np.linalg.norm(heading)
        if level == 0 or len(parts) > 80:
            return
        first = direction(rng)
        frame = [np.cross(heading, first), np.cross(heading, np.cross(heading, first))]
        count = int(rng.integers(2, most + 1))
        phase = rng.uniform(0, 2 * np.pi)
        for i in range(count):
            angle = phase + 2 * np.pi * i / count
            side = np.cos(angle) * frame[0] + np.sin(angle) * frame[1]
            side /= np.linalg.norm(side)
            lean = spread * rng.uniform(0.6, 1.2)
            grow(start, np.cos(lean) * heading + np.sin(lean) * side, reach * decay * rng.uniform(0.7, 1.2), radius, level - 1)

    grow(np.zeros(3), np.array([0.0, 0.0, 1.0]), rng.uniform(0.4, 0.75), log_uniform(rng, 0.09, 0.22), depth)
    shape = joined(parts, pick(rng, 0.0, 0.05, 0.12))
    if chance(rng, 0.4):
        shape = shape | superquadric([rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.5), 0.12], 2, rng.uniform(2, 6))
    return shape.rotated(rotation(rng))


def _junction(rng: np.random.Generator) -> Shape:
    """Arms from a common middle, solid or hollow with open ends."""
    count, radius = int(rng.integers(3, 7)), rng.uniform(0.14, 0.32)
    arms = [direction(rng) for _ in range(count)]
    if chance(rng):
        arms = [*np.concatenate([np.eye(3), -np.eye(3)])[rng.permutation(6)[:count]]]
    lengths, radii = rng.uniform(0.7, 1.1, count), radius * rng.uniform(0.7, 1.2, count)
    outer = joined([round_cone([0, 0, 0], a * n, r, r) for a, n, r in zip(arms, lengths, radii)], pick(rng, 0.0, 0.15))
    if chance(rng, 0.7):
        wall = 0.08
        outer = outer - joined([round_cone([0, 0, 0], a * (n + 1), r - wall, r - wall) for a, n, r in zip(arms, lengths, radii)])
    if chance(rng):
        outer = outer | sphere(radius * rng.uniform(1.1, 1.8))
    return outer.rotated(rotation(rng))


def displaced(rng: np.random.Generator) -> Shape:
    """A simpler body with waves, bumps, ridges or dents on its surface."""
    size = rng.uniform(1.5, 2)
    kind = rng.integers(4)
    if kind == 0:
        shape = primitive(rng, size)
    elif kind == 1:
        shape = sphere(size / 2).scaled(rng.uniform(0.6, 1.2, 3)) if chance(rng) else box(rng.uniform(0.6, 1.6, 3), rounding=0.15)
    else:
        shape = constructive(rng) if kind == 2 else superquadrics(rng)
    for _ in range(pick(rng, 1, 1, 2)):
        shape = _relief(rng, loose(shape, RELIEF))
    return shape.rotated(rotation(rng))


def _relief(rng: np.random.Generator, shape: Shape) -> Shape:
    height, length = log_uniform(rng, 0.02, 0.06), log_uniform(rng, 0.25, 0.8)
    kind = rng.integers(5)
    if kind <= 1:
        return wavy(rng, shape, int(rng.integers(2, 9)), length, height)
    if kind == 2:  # tiles or knobs: a soft threshold of a lattice of waves
        pitch, soft, phase = 2 * np.pi / length, rng.uniform(0.4, 1), rng.uniform(0, 6, 3)
        frame = rotation(rng)
        knobs = lambda p: height * np.tanh(np.cos(pitch * (p @ frame.astype(p.dtype)) + phase.astype(p.dtype)).sum(axis=1) / soft)
        return embossed(shape, knobs, height, height / soft * np.sqrt(3) * pitch)
    if kind == 3:  # ridges across an axis, bent by a wave
        pitch, axis = 2 * np.pi / length, direction(rng)
        sway, slope = waves(rng, 3, 1.0, pick(rng, 0.0, 0.1))
        ridges = lambda p: height * np.sin(pitch * (p @ axis.astype(p.dtype) + sway(p)))
        return embossed(shape, ridges, height, height * pitch * (1 + slope))
    for _ in range(rng.integers(3, 12)):
        dent = sphere(rng.uniform(0.12, 0.4)).moved(on_surface(rng, shape, -0.08))
        shape = smooth_difference(shape, dent, 0.05)
    return shape
