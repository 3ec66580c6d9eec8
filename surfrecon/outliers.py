"""Points of a cloud that are no part of a surface. Letters: N points. Lengths are in the cloud's own units."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial import cKDTree

from surfrecon.quadrics import batches

CROWD = 16  # neighbours that a point is compared with
LEAST_CROWD = 8  # fewer tell nothing
PASSES = 6  # outliers that had kept each other company fall one after the other
ALONE = 2.0  # times as far from its neighbours as they are from theirs
OFF = 5.0  # standard deviations over its neighbours' plane
LEAST_SCATTER = 0.3  # floor of that deviation, in spacings: bends and edges of clean points stay
LOOSE = 0.07  # share of the variance across the plane (1/3 in a cloud without any plane) ...
SCARCE = 3.0  # ... that counts where neighbours are this much further than usual


def outlying(points: np.ndarray) -> np.ndarray:
    """(N,) whether each point is no part of a surface: it stands off from its neighbours, from their plane, or fills space with them.

    Three tests with the k nearest neighbours, repeated for those whose neighbours turned out to be outliers: its own spacing against
    theirs (as in LOF), its height over their plane against their scatter about it, and, where points are scarce, whether the
    neighbours have a plane at all. No two of the points (N, 3) are equal: copies would fill each other's neighbourhoods.
    Source: the first is a simple form of Breunig et al., "LOF: identifying density-based local outliers", 2000.
    """
    count = min(CROWD, len(points) - 1)
    kept = np.ones(len(points), bool)
    if count < LEAST_CROWD:
        return ~kept
    spacing, neighbours, rows = np.empty(len(points)), np.empty((len(points), count), np.int64), np.arange(len(points))
    for _ in range(PASSES):
        alive = np.flatnonzero(kept)
        if len(alive) <= count:
            break
        distance, nearest = cKDTree(points[alive]).query(points[rows], count + 1, workers=-1)
        neighbours[rows] = alive[nearest[:, 1:]]
        spacing[rows] = distance[:, -1]
        around = np.median(spacing[neighbours[rows]], axis=1)
        height, scatter, flatness = _planes(points, rows, neighbours)
        alone = spacing[rows] > ALONE * around
        off = height > OFF * np.maximum(scatter, LEAST_SCATTER * math.sqrt(math.pi / count) * around)
        loose = (flatness > LOOSE) & (spacing[rows] > SCARCE * np.median(spacing[alive]))
        far = alone | off | loose
        kept[rows[far]] = False
        rows = np.flatnonzero(kept & ~kept[neighbours].all(axis=1))
        if not far.any() or not len(rows):
            break
    return ~kept


def _planes(points: np.ndarray, rows: np.ndarray, neighbours: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of points at rows: height over the plane of their neighbours, these ones' deviation from it, and its share of their variance."""
    height, scatter, flatness = np.empty((3, len(rows)))
    for part in batches(len(rows), neighbours.shape[1]):
        around = points[neighbours[rows[part]]]
        mean = around.mean(1)
        local = around - mean[:, None]
        variances, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", local, local) / local.shape[1])
        height[part] = np.abs(np.einsum("nd,nd->n", points[rows[part]] - mean, axes[:, :, 0]))
        scatter[part] = np.sqrt(np.maximum(variances[:, 0], 0))
        flatness[part] = variances[:, 0] / np.maximum(variances.sum(1), np.finfo(float).tiny)
    return height, scatter, flatness
