"""Fewer points of a scan that has more than a grid can tell apart: the means of those that share a cell of a lattice.

A mean keeps what its points agree on and loses their noise. Where noise carries a surface through two or three layers of cells, the means
of the outer ones would stand off from it, few points though they are of; so cells much lighter than a neighbour join it. A point alone
and without neighbours stays alone, to be judged as an outlier like any other.

Letters: N points, M cells that hold some. Lengths are in the cloud's own units.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud, Similarity

ENOUGH = 1_000_000  # points that need no thinning, and most that it leaves
FINEST = 512  # cells along the unit box: no fit is finer unless more are asked for; the means are taken over such cells
LIGHT = 2.0  # times as many points as a cell has its neighbour, which it then joins
FLAT = 2.0  # cells that a surface crosses grow with this power of the lattice's fineness
SPARE = 0.9  # of the points allowed, what a wider lattice aims at: one widening is mostly enough
GATHERED = 2 / 64  # side of the cells whose points are brought together, unit frame
MANY = 150_000  # points from which this pays: fewer lie in the processor's caches anyhow
FARTHEST = 2**20  # cells from the origin along each axis: three such numbers share a key of 64 bits; what is farther is an outlier


def thinned(cloud: PointCloud, *, side: float = 2 / FINEST, enough: int = ENOUGH) -> PointCloud:
    """The cloud as means over cells of a lattice.

    Means are taken of positions, normals, colours, origins and floating scalars; other scalars (classes, ids) are those of one point of
    the cell. A cloud of up to `enough` points comes back as it is.

    Args:
        cloud: centred near the origin, as in the unit frame.
        side: of a cell; cells grow until no more than `enough` are left.
        enough: see above.
    """
    if len(cloud) <= enough:
        return cloud
    while True:
        order, first, cell = _cells(cloud.points, side)
        left = int(cell.max()) + 1
        if left <= enough:
            return _means(cloud, order, first, cell)
        side *= (left / (SPARE * enough)) ** (1 / FLAT)


def averaged(cloud: PointCloud, *, side: float) -> PointCloud:
    """The cloud as means over cells of a lattice, like thinned(), however many they are.

    Args:
        cloud: any place; the lattice is about the middle of its box.
        side: > 0 of a cell.
    Raises:
        InputError: so small a side that cells can't be numbered.
    """
    if not side > 0:
        raise InputError(f"the side of cells must be > 0 (world units), got {side}")
    low, high = cloud.bounds()
    least = float((high - low).max()) / FARTHEST
    if side <= least:
        raise InputError(f"cells of {side:g} are too small for a scan that is {least * FARTHEST:.6g} long: take more than {least:.3g}")
    there = Similarity(translation=side / 2 - (low + high) / 2)  # the middle of a cell there: what fits into one is one point
    local = cloud.transformed(there)
    return _means(local, *_cells(local.points, side)).transformed(there.inverse())


def _cells(points: np.ndarray, side: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (N,) in the order of the lattice's cells, places (M,) in that order where a cell begins, and the group (M,) of each cell."""
    keys = _keys(points, side)
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return order, first, _joined(keys[first], np.diff(first, append=len(keys)))


def _means(cloud: PointCloud, order: np.ndarray, first: np.ndarray, cell: np.ndarray) -> PointCloud:
    """One point for each group of cells; arguments as _cells() gives them."""
    left = int(cell.max()) + 1
    counts = np.bincount(cell, np.diff(first, append=len(order)), left)
    _, one = np.unique(cell, return_index=True)

    def mean(column: np.ndarray) -> np.ndarray:
        sums = np.add.reduceat(column[order], first, dtype=np.float64)
        return (np.bincount(cell, sums, left) / counts).astype(column.dtype)

    means = lambda rows: None if rows is None else np.stack([mean(column) for column in rows.T], axis=1)
    parts = {name: means(getattr(cloud, name)) for name in ("points", "normals", "colors", "origins")}
    if parts["normals"] is not None:
        length = np.linalg.norm(parts["normals"], axis=1, keepdims=True)
        parts["normals"] /= np.where(length > 0, length, 1)
    scalars = {name: mean(v) if v.dtype.kind == "f" else v[order[first[one]]] for name, v in cloud.scalars.items()}
    return replace(cloud, **parts, scalars=scalars)


def gathered(cloud: PointCloud, *, side: float = GATHERED) -> PointCloud:
    """The same points, those of a cell one after the other: what then looks up neighbours finds them near each other in memory.

    Measured on 200,000 points: two thirds of the time. Up to MANY points come back as they are.
    """
    return cloud if len(cloud) <= MANY else cloud[np.argsort(_keys(cloud.points, side), kind="stable")]


def _keys(points: np.ndarray, side: float) -> np.ndarray:
    """(N,) int64, one for each cell of the lattice; cells side by side along the axes differ by 1, 2 FARTHEST and 4 FARTHEST^2."""
    keys = np.zeros(len(points), np.int64)
    for column in points.T:
        cell = np.floor(column / side).clip(-FARTHEST, FARTHEST - 1).astype(np.int64)
        keys *= 2 * FARTHEST
        keys += cell + FARTHEST
    return keys


def _joined(keys: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(M,) the group of each cell, numbered from 0: a light cell is in that of its heaviest neighbour across a face, others in their own.

    Args:
        keys: (M,) of the cells, sorted. counts: (M,) points in them.
    """
    target, most = np.arange(len(keys)), LIGHT * counts
    for step in (1, 2 * FARTHEST, 4 * FARTHEST**2):
        for neighbour in (keys - step, keys + step):
            at = np.searchsorted(keys, neighbour).clip(max=len(keys) - 1)
            heavier = (keys[at] == neighbour) & (counts[at] > most)
            target[heavier], most[heavier] = at[heavier], counts[at[heavier]]
    while (target[target] != target).any():  # ever heavier cells: no circle
        target = target[target]
    return np.unique(target, return_inverse=True)[1]
