"""Plane outlines, and the solids that they make: extruded, turned about an axis, twisted, tapered and bowed.

Conventions as in shapes.py. A profile is a Shape of points (N, 2) with bounds (2, 2), x and y, or radius and height where it is turned.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from surfrecon.data_tools.shapes import Shape, capsule, joined, orthant

CHUNK = 1 << 13  # points at a time: their temporaries stay in the cache


def polygon(vertices: np.ndarray) -> Shape:
    """A simple polygon of (V, 2) vertices in either sense: distance to its edges, inside by the parity of crossings."""
    start = np.asarray(vertices, float)
    edges = [tuple(map(float, (*a, *b))) for a, b in zip(start, np.roll(start, -1, axis=0)) if (a != b).any()]

    def signed(p: np.ndarray) -> np.ndarray:
        x, y = p.T.copy()
        best, inside = np.full(len(p), np.inf, p.dtype), np.zeros(len(p), bool)
        for ax, ay, bx, by in edges:
            ex, ey = bx - ax, by - ay
            wx, wy = x - ax, y - ay
            share = np.clip((wx * ex + wy * ey) * (1 / (ex * ex + ey * ey)), 0, 1)
            np.minimum(best, (wx - share * ex) ** 2 + (wy - share * ey) ** 2, out=best)
            if ey:
                left = wx * ey < wy * ex if ey > 0 else wx * ey > wy * ex
                inside ^= ((ay <= y) != (by <= y)) & left
        return np.where(inside, -1, 1).astype(p.dtype) * np.sqrt(best)

    def distance(p: np.ndarray) -> np.ndarray:
        return np.concatenate([signed(p[i : i + CHUNK]) for i in range(0, max(len(p), 1), CHUNK)])

    return Shape(distance, np.stack([start.min(axis=0), start.max(axis=0)]))


def stroke(points: np.ndarray, width: float, closed: bool = False) -> Shape:
    """A line of even width with round ends through (V, 2) points."""
    points = np.asarray(points, float)
    ends = np.roll(points, -1, axis=0) if closed else points[1:]
    return joined([capsule(a, b, width / 2) for a, b in zip(points, ends)])


def rounded(profile: Shape, radius: float) -> Shape:
    """A profile, or a solid, grown by a radius, its outer edges rounded."""
    radius = float(radius)
    return Shape(lambda p: profile.distance(p) - radius, profile.bounds + np.array([[-radius], [radius]]))


def around(profile: Shape, count: int) -> Shape:
    """Copies of a profile, or of a solid about z, in `count` equal sectors, the first along x. The shape must be its own mirror image in
    y; what of it leaves its sector is cut off.

    Folding the plane onto a half sector keeps lengths, so that the distance stays 1-Lipschitz.
    """
    sector = 2 * np.pi / count

    def distance(p: np.ndarray) -> np.ndarray:
        r, angle = np.hypot(p[:, 0], p[:, 1]), np.arctan2(p[:, 1], p[:, 0])
        angle = angle - sector * np.round(angle / sector)
        return profile.distance(np.column_stack([r * np.cos(angle), r * np.abs(np.sin(angle)), p[:, 2:]]))

    reach = float(np.hypot(*np.abs(profile.bounds[:, :2]).max(axis=0)))
    bounds = profile.bounds.copy()
    bounds[:, :2] = [[-reach], [reach]]
    return Shape(distance, bounds)


def extruded(profile: Shape, height: float, rounding: float = 0.0) -> Shape:
    """The prism over a profile, centred along z. Rounded edges need a profile that may shrink by the rounding."""
    half, rounding = float(height) / 2, float(rounding)

    def distance(p: np.ndarray) -> np.ndarray:
        return orthant(profile.distance(p[:, :2]) + rounding, np.abs(p[:, 2]) - (half - rounding)) - rounding

    return Shape(distance, np.column_stack([profile.bounds, [-half, half]]))


def revolved(profile: Shape) -> Shape:
    """The body that a profile of radius >= 0 and height makes about z. What the profile has at negative radii counts for nothing, and
    keeps the axis inside where it touches it.
    """

    def distance(p: np.ndarray) -> np.ndarray:
        return profile.distance(np.stack([np.hypot(p[:, 0], p[:, 1]), p[:, 2]], axis=1))

    (_, low), (reach, high) = profile.bounds
    return Shape(distance, np.array([[-reach, -reach, low], [reach, reach, high]]))


def warped(shape: Shape, onto: Callable[[np.ndarray], np.ndarray], stretch: float, bounds: np.ndarray) -> Shape:
    """The solid whose points `onto` maps into a shape, within a box.

    Points outside of the box are mapped from their nearest point in it, where the bound of the map's slope holds.

    Args:
        onto: (N, 3) -> (N, 3) shape_from_warped.
        stretch: most that `onto` lengthens any step within the box.
        bounds: (2, 3) the box.
    """
    stretch, middle, half = float(stretch), bounds.mean(axis=0), np.ptp(bounds, axis=0) / 2

    def distance(p: np.ndarray) -> np.ndarray:
        low, high = bounds.astype(p.dtype)
        apart = np.abs(p - middle.astype(p.dtype)) - half.astype(p.dtype)
        return np.maximum(shape.distance(onto(np.clip(p, low, high))) / stretch, orthant(*apart.T))

    return Shape(distance, bounds)


def twisted(shape: Shape, rate: float) -> Shape:
    """A shape turned about z by `rate` radians per unit of height."""
    reach = float(np.hypot(*np.abs(shape.bounds[:, :2]).max(axis=0)))
    bounds = np.array([[-reach, -reach, shape.bounds[0, 2]], [reach, reach, shape.bounds[1, 2]]])
    rate = float(rate)

    def onto(p: np.ndarray) -> np.ndarray:
        (x, y, z), c, s = p.T, np.cos(rate * p[:, 2]), np.sin(rate * p[:, 2])
        return np.stack([c * x + s * y, c * y - s * x, z], axis=1)

    return warped(shape, onto, _shear(abs(rate) * reach * np.sqrt(2)), bounds)


def tapered(shape: Shape, low: float, high: float) -> Shape:
    """A shape whose cross-sections are scaled, evenly from `low` at its bottom to `high` at its top, both > 0."""
    bottom, top = (float(z) for z in shape.bounds[:, 2])
    rate = float(high - low) / (top - bottom)
    low, high = float(low), float(high)
    bounds = shape.bounds.copy()
    bounds[:, :2] *= max(low, high)
    reach = float(np.hypot(*np.abs(bounds[:, :2]).max(axis=0)))
    least = min(low, high)

    def onto(p: np.ndarray) -> np.ndarray:
        scale = low + rate * (p[:, 2:] - bottom)
        return np.concatenate([p[:, :2] / scale, p[:, 2:]], axis=1)

    # The norm of the map's derivative, a diagonal of 1 / scale, 1 / scale and 1 beside a column of x rate / scale^2.
    stretch = np.hypot(max(1 / least, 1), reach * abs(rate) / least**2)
    return warped(shape, onto, stretch, bounds)


def bowed(shape: Shape, amount: float, waves: float) -> Shape:
    """A shape whose axis z sways along x like `amount` times the cosine of so many waves over its height."""
    height = float(np.ptp(shape.bounds[:, 2]))
    pitch, amount = 2 * np.pi * float(waves) / height, float(amount)
    bounds = shape.bounds.copy()
    bounds[:, 0] += [-abs(amount), abs(amount)]

    def onto(p: np.ndarray) -> np.ndarray:
        q = p.copy()
        q[:, 0] -= amount * np.cos(pitch * q[:, 2])
        return q

    return warped(shape, onto, _shear(abs(amount * pitch)), bounds)


def _shear(slope: float) -> float:
    """The norm of a shear."""
    return slope / 2 + np.sqrt(1 + slope**2 / 4)
