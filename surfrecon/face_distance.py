"""Distances of points to triangles that are known, and to those of a mesh that are near.

Letters: N points, V vertices, F faces, P pairs of a point and a face. Lengths are world units.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from surfrecon.geometry import Mesh

NEAR = 3  # vertices whose faces are looked at: with two, one distance in 5,000 was up to a fiftieth too long, with three none (a scan)


def nearby(points: np.ndarray, mesh: Mesh, tree: cKDTree) -> np.ndarray:
    """(N,) distances of points to a mesh, exact where the nearest face has one of the three nearest vertices: on even meshes, near them.

    Never too short. metrics.closest() is exact everywhere, and several times slower.

    Args:
        points: (N, 3) world frame.
        mesh: whose vertices all belong to faces.
        tree: of its vertices.
    """
    count = min(NEAR, len(mesh.vertices))
    distance, near = (found.reshape(len(points), count) for found in tree.query(points, count, workers=-1))
    wanted = np.zeros(len(mesh.vertices), bool)
    wanted[near] = True
    faces = mesh.faces[wanted[mesh.faces].any(axis=1)]
    order = np.argsort(faces.ravel(), kind="stable")
    start = np.searchsorted(faces.ravel()[order], np.arange(len(mesh.vertices) + 1))
    best = distance[:, 0] ** 2
    for vertex in near.T:
        degree = start[vertex + 1] - start[vertex]
        for turn in range(degree.max(initial=0)):
            rows = np.flatnonzero(degree > turn)
            corners = mesh.vertices[faces[order[start[vertex[rows]] + turn] // 3]]
            best[rows] = np.minimum(best[rows], squared_face_distance(points[rows], corners))
    return np.sqrt(best)


def squared_face_distance(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(P,) squared distance of points (P, 3) to triangles (P, 3, 3): the least to its three sides and, where it is inside, to the foot.

    Each candidate is a point of the triangle by construction, so that slivers and triangles without area are as exact as others.
    """
    best = np.full(len(points), np.inf)
    sides = np.roll(corners, -1, axis=1) - corners
    for corner in range(3):
        side, arm = sides[:, corner], points - corners[:, corner]
        along = np.einsum("pi,pi->p", arm, side) / np.maximum(squares(side), np.finfo(float).tiny)
        best = np.minimum(best, squares(arm - np.clip(along, 0, 1)[:, None] * side))
    a, b, arm = sides[:, 0], -sides[:, 2], points - corners[:, 0]
    aa, ab, bb = squares(a), np.einsum("pi,pi->p", a, b), squares(b)
    ra, rb = np.einsum("pi,pi->p", arm, a), np.einsum("pi,pi->p", arm, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = (bb * ra - ab * rb) / (aa * bb - ab**2), (aa * rb - ab * ra) / (aa * bb - ab**2)
        inside = np.flatnonzero((u >= 0) & (v >= 0) & (u + v <= 1))
    foot = arm[inside] - u[inside, None] * a[inside] - v[inside, None] * b[inside]
    best[inside] = np.minimum(best[inside], squares(foot))
    return best


def squares(vectors: np.ndarray) -> np.ndarray:
    """Squared lengths of vectors along the last axis."""
    return np.einsum("...i,...i->...", vectors, vectors)
