"""How many digits a mesh needs: when float32 is enough, which origin to take off where it isn't, and keeping vertices apart.

Marching cubes puts vertices of neighbouring edges close together; a reader that merges equal vertices (every STL reader must) would weld
what was distinct and pinch the surface. So whatever a format rounds to, distinct vertices stay distinct.
"""

from __future__ import annotations

import numpy as np

from surfrecon.errors import InputError

TOLERANCE = 1e-6  # of the object's longest side: the most that storing a position may cost
PASSES = 64  # of pushing equal vertices apart; one or two are usual


def distinct(points: np.ndarray) -> tuple[int, np.ndarray]:
    """Number of different positions among (N, 3) points, compared exactly, and the number (N,) of each point's position."""
    order = np.lexsort(points.T)
    in_order = points[order]
    changes = (in_order[1:] != in_order[:-1]).any(axis=1)
    position = np.empty(len(points), np.int64)
    position[order] = np.concatenate([[0], np.cumsum(changes)])[: len(points)]
    return int(changes.sum()) + (len(points) > 0), position


def longest_side(points: np.ndarray) -> float:
    return float(np.ptp(points, axis=0).max()) if len(points) else 0.0


def float32_loses(values: np.ndarray, size: float) -> bool:
    """Whether storing values as float32 moves one by more than TOLERANCE * size."""
    with np.errstate(over="ignore"):
        return bool(len(values) and np.abs(values - values.astype(np.float32)).max() > TOLERANCE * size)


def needs_double(vertices: np.ndarray) -> bool:
    """Whether float32 would move a vertex by more than TOLERANCE of the longest side, or make two vertices one."""
    if float32_loses(vertices, longest_side(vertices)):
        return True
    count = distinct(vertices.astype(np.float32))[0]
    return count < len(vertices) and count < distinct(vertices)[0]


def localized(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An origin and float32 vertices relative to it: vertices = origin + local, distinct where they were distinct.

    The origin is zero where float32 holds the vertices as they are, else the centre of their box, rounded to few digits.

    Args:
        vertices: (V, 3) float64.
    Returns:
        (3,) float64 origin, (V, 3) float32 local.
    """
    if not needs_double(vertices):
        return np.zeros(3), vertices.astype(np.float32)
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    size = max(float((high - low).max()), np.finfo(float).tiny)
    origin = np.round(low + (high - low) / 2, int(np.clip(np.ceil(-np.log10(size)), -300, 15)))
    with np.errstate(over="ignore"):
        local = (vertices - origin).astype(np.float32)
    if not np.isfinite(local).all():
        raise InputError(f"float32 coordinates end at 3.4e38, the object is {size:.3g} long: write PLY instead")
    return origin, _apart(vertices, local)


def _apart(vertices: np.ndarray, rounded: np.ndarray) -> np.ndarray:
    """Rounded vertices, moved by single float32 steps where two different ones had become equal."""
    count, position = distinct(vertices)
    unique = np.empty((count, 3), np.float32)
    unique[position] = rounded
    for turn in range(PASSES):
        reached, place = distinct(unique)
        if reached == count:
            return unique[position]
        first = np.zeros(count, bool)
        first[np.unique(place, return_index=True)[1]] = True
        axis = turn % 3  # along one axis alone, rows of close vertices would push each other for ever
        unique[~first, axis] = np.nextafter(unique[~first, axis], np.float32(np.inf))
    raise InputError(f"{count - reached} vertices lie closer together than this format's float32 coordinates can hold: write PLY instead")
