"""Solids that plane outlines make: extruded and deformed (lofted), or turned about an axis (turned)."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import PchipInterpolator

from surfrecon.data_tools.families.draw import chance, log_uniform, pick, rotation, upright
from surfrecon.data_tools.profiles import around, bowed, extruded, polygon, revolved, rounded, stroke, tapered, twisted
from surfrecon.data_tools.shapes import Shape, box, capsule, cylinder, joined, shell, sphere, torus

LETTERS = {  # outlines as strokes through points of a 2 x 2 square
    "L": [[(-0.8, 0.9), (-0.8, -0.9), (0.8, -0.9)]],
    "T": [[(-0.9, 0.9), (0.9, 0.9)], [(0, 0.9), (0, -0.9)]],
    "U": [[(-0.8, 0.9), (-0.8, -0.8), (0.8, -0.8), (0.8, 0.9)]],
    "H": [[(-0.8, 0.9), (-0.8, -0.9)], [(0.8, 0.9), (0.8, -0.9)], [(-0.8, 0), (0.8, 0)]],
    "Z": [[(-0.8, 0.9), (0.8, 0.9), (-0.8, -0.9), (0.8, -0.9)]],
    "Y": [[(0, -0.9), (0, 0)], [(-0.8, 0.9), (0, 0), (0.8, 0.9)]],
    "X": [[(-0.8, -0.9), (0.8, 0.9)], [(-0.8, 0.9), (0.8, -0.9)]],
    "E": [[(0.7, 0.9), (-0.7, 0.9), (-0.7, -0.9), (0.7, -0.9)], [(-0.7, 0), (0.5, 0)]],
}


def outline(rng: np.random.Generator) -> Shape:
    """A plane outline about 2 wide: a polygon, star, lobed or superformula curve, letter, cross or random spline."""
    kind = rng.integers(8)
    if kind == 0:
        count = int(rng.integers(3, 9))
        shape = polygon(_polar(np.ones(count)))
        return rounded(shape, 0.15) if chance(rng, 0.3) else shape
    if kind == 1:  # a star
        count = int(rng.integers(4, 10))
        return polygon(_polar(np.tile([1, rng.uniform(0.4, 0.8)], count)))
    if kind == 2:  # Gielis' superformula, its radii bounded below
        angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        lobes, n1, n2 = int(rng.integers(2, 8)), log_uniform(rng, 0.5, 8), log_uniform(rng, 0.7, 8)
        r = (np.abs(np.cos(lobes * angle / 4)) ** n2 + np.abs(np.sin(lobes * angle / 4)) ** n2 + 1e-9) ** (-1 / n1)
        return polygon(_polar(np.maximum(r / r.max(), 0.25)))
    if kind == 3:  # lobes
        angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        return polygon(_polar(1 + rng.uniform(0.1, 0.4) * np.cos(int(rng.integers(2, 9)) * angle)))
    if kind == 4:
        width = rng.uniform(0.25, 0.5)
        strokes = LETTERS[pick(rng, *LETTERS)]
        return joined([stroke(points, width) for points in strokes])
    if kind == 5:  # an irregular blob or splinter
        count = int(rng.integers(5, 12))
        return polygon(_polar(rng.uniform(0.4, 1, count)))
    if kind == 6:  # a rectangle with a notch or a groove
        sides = np.array([2, rng.uniform(0.7, 2)])
        notch = box(sides * rng.uniform(0.2, 0.6, 2)).moved([rng.uniform(-0.6, 0.6), sides[1] / 2])
        return box(sides, pick(rng, 0.0, 0.15)) - notch
    ring = np.linspace(0, rng.uniform(3, 5.2), 14)  # part of a ring
    return stroke(0.8 * np.stack([np.cos(ring), np.sin(ring)], axis=1), rng.uniform(0.25, 0.5))


def _polar(radii: np.ndarray) -> np.ndarray:
    """(V, 2) vertices at equal angles."""
    angle = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    return radii[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def lofted(rng: np.random.Generator) -> Shape:
    """An extruded outline, solid or a pipe, tapered, twisted or bowed, or all of it."""
    profile = outline(rng)
    if chance(rng, 0.25):
        profile = shell(profile, rng.uniform(0.18, 0.3)) if chance(rng) else profile - profile.scaled(rng.uniform(0.4, 0.6))
    height = log_uniform(rng, 0.3, 5)
    shape = extruded(profile, height)
    if chance(rng, 0.5):
        ends = rng.uniform(0.35, 1), 1.0
        shape = tapered(shape, *(ends if chance(rng) else ends[::-1]))
    if chance(rng, 0.5):
        shape = twisted(shape, rng.uniform(-1, 1) * min(2.5, 1.5 * height) / height)
    if chance(rng, 0.4):
        shape = bowed(shape, rng.uniform(0.1, 0.2) * height, pick(rng, 0.5, 0.5, 1.0, 1.5))
    return shape.rotated(rotation(rng))


def turned(rng: np.random.Generator) -> Shape:
    """Vases, bowls, bottles and cups, solid or hollow; spindles, rings and stacks of turned parts."""
    kind = rng.integers(8)
    if kind <= 3:
        shape = _vessel(rng)
    elif kind <= 5:
        shape = _spindle(rng)
    elif kind == 6:
        shape = _ring(rng)
    else:
        shape = _goblet(rng)
    return shape.rotated(rotation(rng) if chance(rng) else upright(rng))


def _curve(rng: np.random.Generator, height: float, low: float, high: float, knots: int, steps: int = 18) -> np.ndarray:
    """(steps, 2) radii and heights of a random silhouette from 0 to height."""
    z = np.linspace(0, height, knots)
    z[1:-1] += rng.uniform(-0.3, 0.3, knots - 2) * height / knots
    at = np.linspace(0, height, steps)
    return np.stack([PchipInterpolator(z, rng.uniform(low, high, knots))(at), at], axis=1)


def _vessel(rng: np.random.Generator) -> Shape:
    """A sheet along a silhouette with a floor: a vase, bowl, bottle, cup or plate; some with handles, facets, a foot or a lid."""
    kind = rng.integers(4)
    wall = rng.uniform(0.09, 0.16)
    if kind == 0:  # a bowl or plate
        height, reach = log_uniform(rng, 0.2, 0.9), rng.uniform(0.7, 1.1)
        z = np.linspace(0, 1, 14)
        line = np.stack([reach * (0.35 + 0.65 * z ** rng.uniform(0.3, 1)), height * z], axis=1)
    elif kind == 1:  # a bottle
        height, reach, neck = rng.uniform(1.2, 2.2), rng.uniform(0.35, 0.7), rng.uniform(0.15, 0.25)
        shoulder, smooth = rng.uniform(0.45, 0.7), np.linspace(0, 1, 10)
        fall = reach + (neck - reach) * (3 * smooth**2 - 2 * smooth**3)
        line = np.stack([fall, height * (shoulder + rng.uniform(0.1, 0.25) * smooth)], axis=1)
        line = np.concatenate([[[reach * rng.uniform(0.8, 1), 0]], line, [[neck * rng.uniform(1, 1.3), height]]])
    elif kind == 2:  # a cup or bucket
        height, low, high = rng.uniform(0.6, 1.4), rng.uniform(0.35, 0.6), rng.uniform(0.4, 0.7)
        line = np.array([[low, 0], [high, height]])
    else:  # a vase
        height = rng.uniform(1, 2.2)
        line = _curve(rng, height, 0.25, 0.75, int(rng.integers(3, 6)))
    closed = np.concatenate([[[0, line[0, 1]]], line])
    hollow = stroke(closed, wall)
    inside = polygon(np.concatenate([[[-1, 0]], line, [[-1, line[-1, 1]]]]))
    solid = chance(rng, 0.2)
    shape = revolved(rounded(inside, wall / 2) if solid else hollow)
    if chance(rng, 0.3 if kind != 2 else 0.8):
        place = rng.uniform(0.4, 0.6) * height
        at = float(np.interp(place, line[:, 1], line[:, 0]))
        size = min(rng.uniform(0.25, 0.4) * height, 0.6)
        handle = torus(size, max(rng.uniform(0.15, 0.25) * size, 0.05)).axes("xzy").moved([at + 0.2 * size, 0, place])
        handle = handle - revolved(inside)
        shape = shape | handle
        if chance(rng, 0.25):
            shape = shape | handle.rotated(np.diag([-1.0, -1, 1]))
    if chance(rng, 0.2):  # a foot
        shape = shape | cylinder(line[0, 0] * rng.uniform(0.8, 1.2), 0.12).moved([0, 0, -0.05])
    if chance(rng, 0.12):  # closed by a lid with a knob
        top, reach = line[-1, 1], line[-1, 0]
        shape = shape | cylinder(reach + wall / 2, wall).moved([0, 0, top]) | sphere(max(0.25 * reach, 0.08)).moved([0, 0, top + wall])
    return shape


def _spindle(rng: np.random.Generator) -> Shape:
    """A solid body along the axis: smooth, or of straight turned steps, whole or bored."""
    height = log_uniform(rng, 0.6, 2.6)
    if chance(rng):
        line = _curve(rng, height, 0.12, rng.uniform(0.4, 0.8), int(rng.integers(4, 8)), 24)
    else:
        steps = int(rng.integers(2, 7))
        z = np.concatenate([[0], np.cumsum(rng.uniform(0.3, 1, steps))])
        radii = rng.uniform(0.15, 0.7, (steps, 2))
        radii[rng.random(steps) < 0.6, 1] = -1  # no cone, but a cylinder
        radii[:, 1] = np.where(radii[:, 1] < 0, radii[:, 0], radii[:, 1])
        line = np.stack([radii.ravel(), np.repeat(z * height / z[-1], 2)[1:-1]], axis=1)
    profile = polygon(np.concatenate([[[-1, 0]], line, [[-1, height]]]))
    if chance(rng, 0.3):
        profile = profile | sphere(rng.uniform(0.2, 0.5), 2).moved([0, height])
    shape = revolved(profile)
    if chance(rng, 0.2) and line[:, 0].min() > 0.25:
        shape = shape - cylinder(line[:, 0].min() - 0.12, 3 * height)
    if chance(rng, 0.25):  # flutes
        count, reach = int(rng.integers(5, 13)), line[:, 0].max()
        shape = shape - around(cylinder(0.9 * reach * np.pi / count / 2, 3 * height).moved([reach * 1.05, 0, 0]), count)
    return shape


def _ring(rng: np.random.Generator) -> Shape:
    """An outline turned about an axis beside it."""
    section = outline(rng).scaled(rng.uniform(0.2, 0.45))
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    section = section.rotated(turn)
    return revolved(section.moved([rng.uniform(0.1, 0.8) - section.bounds[0, 0], 0]))


def _goblet(rng: np.random.Generator) -> Shape:
    """A bowl, a stem and a foot: a goblet, a lamp, a bell, a mushroom or a candlestick."""
    stem, bowl, wall = rng.uniform(0.3, 1.2), rng.uniform(0.3, 0.9), rng.uniform(0.09, 0.14)
    z = np.linspace(0, 1, 10)
    reach = rng.uniform(0.35, 0.7)
    line = np.stack([reach * np.sin(np.pi * rng.uniform(0.45, 0.75) * np.maximum(z, 0.02)) ** rng.uniform(0.5, 1), stem + bowl * z], axis=1)
    if chance(rng, 0.3):  # upside down
        line[:, 1] = 2 * stem + bowl - line[:, 1]
    foot = rng.uniform(0.3, 0.6)
    thick = rng.uniform(0.055, 0.12)
    base = polygon([[-1, 0], [foot, 0], [foot, 0.08], [thick, rng.uniform(0.12, 0.3)], [-1, 0.3]])
    middle = float(line[np.argmin(line[:, 0]), 1])
    parts = [stroke(line, wall), base, capsule([0, 0.05], [0, middle], thick)]
    if chance(rng):
        parts.append(sphere(thick * rng.uniform(1.5, 2.2), 2).moved([0, stem * rng.uniform(0.3, 0.8)]))
    return revolved(joined(parts, pick(rng, 0.0, 0.08)))
