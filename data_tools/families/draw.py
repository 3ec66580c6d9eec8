"""Random numbers, placements and reliefs that all families draw from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from surfrecon.data_tools.shapes import Shape, embossed

LOOKS = 256  # random points among which one near the surface is sought
SINK = 0.4  # how deep a joined part sits, of its own smallest half side


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """As many draws in [1, 2] as in [2, 4]."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def pick(rng: np.random.Generator, *options):
    """One of the options."""
    return options[rng.integers(len(options))]


def chance(rng: np.random.Generator, probability: float = 0.5) -> bool:
    return bool(rng.random() < probability)


def direction(rng: np.random.Generator) -> np.ndarray:
    """(3,) unit vector, all directions alike."""
    v = rng.standard_normal(3)
    return v / np.linalg.norm(v)


def rotation(rng: np.random.Generator) -> np.ndarray:
    """(3, 3) rotation, all alike, by a random quaternion."""
    q = rng.standard_normal(4)
    w, *v = q / np.linalg.norm(q)
    x, y, z = v
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def about(axis: int, angle: float) -> np.ndarray:
    """(3, 3) rotation about a coordinate axis."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    turn = np.eye(3)
    turn[i, i], turn[i, j], turn[j, i], turn[j, j] = c, -s, s, c
    return turn


def upright(rng: np.random.Generator, tilt: float = 0.08) -> np.ndarray:
    """(3, 3) rotation by any angle about z, then a small tilt (standard deviation in radians)."""
    return about(0, rng.normal(0, tilt)) @ about(1, rng.normal(0, tilt)) @ about(2, rng.uniform(0, 2 * np.pi))


def onto_axis(axis: np.ndarray) -> np.ndarray:
    """(3, 3) rotation that puts z along a unit vector."""
    other = np.eye(3)[np.argmin(np.abs(axis))]
    x = np.cross(other, axis)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(axis, x), axis], axis=1)


def on_surface(rng: np.random.Generator, shape: Shape, depth: float = 0.0) -> np.ndarray:
    """(3,) a random point near the given depth under the surface."""
    p = rng.uniform(*shape.bounds, (LOOKS, 3))
    return p[np.argmin(np.abs(shape.distance(p) + depth))]


def attached(rng: np.random.Generator, part: Shape, shape: Shape) -> Shape:
    """The part moved to a random place where it meets the shape."""
    return part.moved(on_surface(rng, shape, SINK * np.ptp(part.bounds, axis=0).min() / 2))


def loose(shape: Shape, margin: float) -> Shape:
    """The shape in a larger box: where its distance falls short of the true one, fillets and reliefs reach further than they are high."""
    return replace(shape, bounds=shape.bounds + np.array([[-margin], [margin]]))


def waves(rng: np.random.Generator, count: int, length: float, height: float) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """A sum of sines of space, bounded by the height, and the bound of its slope.

    Args:
        length: the mean wave length; single ones vary by a factor of two.
    """
    vectors = np.stack([direction(rng) for _ in range(count)]) * 2 * np.pi / (length * rng.uniform(0.7, 1.4, (count, 1)))
    phases, weights = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.3, 1, count)
    weights *= height / weights.sum()
    slope = float(weights @ np.linalg.norm(vectors, axis=1))

    def relief(p: np.ndarray) -> np.ndarray:
        return np.sin(p @ vectors.T.astype(p.dtype) + phases.astype(p.dtype)) @ weights.astype(p.dtype)

    return relief, slope


def wavy(rng: np.random.Generator, shape: Shape, count: int, length: float, height: float) -> Shape:
    """A shape with random waves on its surface."""
    relief, slope = waves(rng, count, length, height)
    return embossed(shape, relief, height, slope)
