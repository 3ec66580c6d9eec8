"""How an object has moved as a whole from one frame of a sequence to the next, told from points of its surface.

Letters: N points, K of them that count.
Source: Chen and Medioni, Object modelling by registration of multiple range images, 1992 (distances to planes); Chetverikov, Svirko,
Stepanov and Krsek, The trimmed iterative closest point algorithm, 2002 (leaving out the worst).
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud, Similarity

SAMPLES = 5000  # points that are followed; more would not change the result
KEPT = 0.8  # share of them, the nearest, that count: the rest may have bent away, or have no partner
TURNS = 60
SETTLED = 1e-6  # radians, and spreads of the points, below which a turn ends the search
DAMPING = 1e-6  # of directions in which the surface can slide along itself


def rigid_motion(before: np.ndarray, now: PointCloud, *, seed: int = 0) -> Similarity:
    """The rigid motion, of scale 1, that takes a surface before to where it is now.

    Args:
        before: (N, 3) points on the surface then.
        now: points on it now, with normals.
        seed: of the choice among more than SAMPLES points.
    Raises:
        InputError: no points, or none with normals.
    """
    if not len(before) or not len(now) or now.normals is None:
        raise InputError(f"a motion is told from points with normals, got {len(before)} and {len(now)}")
    rng = np.random.default_rng(seed)
    points = before[rng.choice(len(before), min(SAMPLES, len(before)), replace=False)]
    centre = points.mean(axis=0)
    spread = float(np.linalg.norm(points - centre, axis=1).mean())
    tree, motion = cKDTree(now.points), Similarity(1.0, now.points.mean(axis=0) - centre)
    for _ in range(TURNS):
        moved = motion.points(points)
        away, nearest = tree.query(moved, workers=-1)
        kept = np.argsort(away)[: int(np.ceil(KEPT * len(moved)))]
        middle = moved[kept].mean(axis=0)
        step = _step((moved[kept] - middle) / spread, (now.points[nearest[kept]] - middle) / spread, now.normals[nearest[kept]])
        rotation = Rotation.from_rotvec(step[:3]).as_matrix()
        turned = rotation @ motion.rotation
        motion = Similarity(1.0, rotation @ (motion.translation - middle) + middle + spread * step[3:], turned)
        if np.abs(step).max() < SETTLED:
            break
    return motion


def _step(points: np.ndarray, targets: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(6,) turn and shift that bring points (K, 3) nearest to the planes through targets (K, 3), to first order."""
    rows = np.concatenate([np.cross(points, normals), normals], axis=1)
    wanting = np.einsum("ki,ki->k", targets - points, normals)
    square = rows.T @ rows
    return np.linalg.solve(square + DAMPING * np.trace(square) * np.eye(6), rows.T @ wanting)
