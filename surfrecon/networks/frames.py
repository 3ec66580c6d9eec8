"""Where the cells of a network lie around a cloud: of an object, scaled by its size; of a scene, by the spacing of its points."""

from __future__ import annotations

import numpy as np

from surfrecon.geometry import PointCloud
from surfrecon.shape_set import HALF

SCENE_CELL = 2.5  # side of a scene's cells, in spacings of its points
MARGIN = 4  # cells around the points of a scene: enough for its surface to close


def object_lattice(points: np.ndarray, cells: int) -> tuple[np.ndarray, float]:
    """(3,) corner and side of the cells of a cube around points (N, 3): HALF of their longest side each way from their box's middle."""
    low, high = points.min(axis=0), points.max(axis=0)
    step = 2 * HALF * float((high - low).max()) / cells
    return (low + high) / 2 - step * cells / 2, step


def scene_step(points: np.ndarray) -> float:
    """Side of the cells of a scene of points (N, 3)."""
    return SCENE_CELL * PointCloud(points.astype(float)).spacing()


def scene_lattice(points: np.ndarray, multiple: int) -> tuple[np.ndarray, float, tuple[int, int, int]]:
    """(3,) corner, side and (3,) numbers of the cells around a scene of points (N, 3), MARGIN cells wider than they reach on each side.

    Args:
        multiple: of which the numbers of cells are.
    """
    low, step = points.min(axis=0), scene_step(points)
    counts = np.ceil((np.ptp(points, axis=0) / step + 2 * MARGIN) / multiple).astype(int) * multiple
    return low - MARGIN * step, step, tuple(int(count) for count in counts)
