"""How far a mesh is from the truth: exact distances, and the published protocols by name.

Letters: N query points, F faces, P pairs of a query and a box or face. Lengths are world units unless a protocol says otherwise. "There"
is from the mesh to the truth (accuracy), "back" from the truth to the mesh (completeness).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
from scipy.spatial import cKDTree

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, PointCloud, Similarity
from surfrecon.pictures import Scene
from surfrecon.repair import inspect, pieces

BRANCH = 8  # children of a box
TOP = 64  # boxes at most on the first level, which is tested whole
CHUNK = 1 << 14  # queries at a time: bounds memory to some hundred MB
WORKERS = 2  # chunks at a time: numpy frees the interpreter lock, more threads only add memory
SLACK = 1 + 1e-9  # a box is kept while its distance is below the best known one times this: rounding must not lose the nearest face
THRESHOLDS = (0.001, 0.0025)  # of the truth's diagonal, for the F-score
INSIDE_RAYS = np.array([[0.5411, 0.2876, 0.7903], [-0.6182, 0.7559, 0.2155], [0.3617, -0.7208, -0.5913]])  # no axis, no plane of a model
STEP_PAST = 1e-6  # of the diagonal: how far behind a hit the ray goes on
MAX_CROSSINGS = 200  # faces that a ray may meet before its point is given up


def _squares(v: np.ndarray) -> np.ndarray:
    return np.einsum("pi,pi->p", v, v)


def _face_distance2(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(P,) squared distance of points (P, 3) to triangles (P, 3, 3): the nearest of three segments and, if it lies inside, the foot.

    Every candidate is a point of the triangle by construction, so that slivers and triangles without area are as exact as others.
    """
    best = np.full(len(points), np.inf)
    edges = np.roll(corners, -1, axis=1) - corners
    for corner in range(3):
        edge, arm = edges[:, corner], points - corners[:, corner]
        along = np.einsum("pi,pi->p", arm, edge) / np.maximum(_squares(edge), np.finfo(float).tiny)
        best = np.minimum(best, _squares(arm - np.clip(along, 0, 1)[:, None] * edge))
    e1, e2, arm = edges[:, 0], -edges[:, 2], points - corners[:, 0]
    g11, g12, g22 = _squares(e1), np.einsum("pi,pi->p", e1, e2), _squares(e2)
    r1, r2 = np.einsum("pi,pi->p", arm, e1), np.einsum("pi,pi->p", arm, e2)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = (g22 * r1 - g12 * r2) / (g11 * g22 - g12**2), (g11 * r2 - g12 * r1) / (g11 * g22 - g12**2)
    inside = np.flatnonzero((u >= 0) & (v >= 0) & (u + v <= 1))
    foot = arm[inside] - u[inside, None] * e1[inside] - v[inside, None] * e2[inside]
    best[inside] = np.minimum(best[inside], _squares(foot))
    return best


stat = []
class _Boxes:
    """Boxes within boxes around the faces of a mesh, each turned along its own patch, as arrays; all levels are full.

    A box that lies in the patch's plane is thin (half its side squared times the curvature), so that far queries too meet few of them.

    Attributes:
        order: (leaves,) face of each place on the lowest level; some faces are repeated to fill it.
        levels: per level, few boxes first: axes (B, 3, 3) as rows, middle (B, 3) and half sides (B, 3) in those axes.
        branches: children per box of all levels but the last.
    """

    def __init__(self, mesh: Mesh):
        self.centre = mesh.bounds().mean(0)
        self.corners = mesh.triangles() - self.centre
        middles = self.corners.mean(1)
        self.near = cKDTree(middles, balanced_tree=False, compact_nodes=False)
        groups = 1
        while groups * BRANCH < len(middles):
            groups *= 2
        self.order = _halved(middles, groups)
        corners, normals = self.corners[self.order], mesh.area_vectors()[self.order]
        self.levels, self.branches = [_boxes(corners, normals, corners.mean(1)[:,None])], []
        self.radius = 4*float(np.median(np.linalg.norm(self.levels[0][2],axis=1)))
        while len(normals) > TOP:
            branch = BRANCH if self.branches else len(normals) // groups
            corners = corners.reshape(len(normals) // branch, -1, 3)
            normals = normals.reshape(-1, branch, 3).sum(1)
            reps = reps.reshape(len(normals), -1, 3) if len(self.branches) else corners.reshape(len(normals),-1,3,3).mean(2)
            self.levels.append(_boxes(corners, normals, reps))
            self.branches.append(branch)
        self.levels.reverse()
        self.branches.reverse()

    def closest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N,) squared distances and (N,) faces for points in the centred frame."""
        import time
        clock=time.process_time
        t=clock()
        first = self.near.query(points, eps=EPS)[1]
        best = _face_distance2(points, self.corners[first])
        tm['ub']=tm.get('ub',0)+clock()-t; t=clock()
        reach=best*SLACK
        axes, middle, half, rep = self.levels[0]
        local = points @ axes.reshape(-1, 3).T - middle.ravel()
        gap = (np.maximum(np.abs(local) - half.ravel(), 0) ** 2).reshape(len(points), -1, 3).sum(2)
        if TIGHT:
            reach = np.minimum(reach, ((local-rep.ravel()) ** 2).reshape(len(points), -1, 3).sum(2).min(1) * SLACK)
        query, box = np.nonzero(gap <= reach[:, None])
        for (axes, middle, half, rep), branch in zip(self.levels[1:], self.branches):
            query = np.repeat(query, branch)
            box = (box[:, None] * branch + np.arange(branch)).ravel()
            local = np.einsum("pij,pj->pi", axes[box], points[query]) - middle[box]
            gap=_squares(np.maximum(np.abs(local) - half[box], 0)) 
            if TIGHT:
                start = np.flatnonzero(np.diff(query, prepend=-1))
                reach = np.minimum(reach, np.minimum.reduceat(_squares(local-rep[box]), start) * SLACK)
            kept = np.flatnonzero(gap<= reach[query])
            query, box = query[kept], box[kept]
            stat.append(len(query)/len(points))
        tm['main']=tm.get('main',0)+clock()-t; t=clock()
        face = self.order[box]
        exact = _face_distance2(points[query], self.corners[face])
        start = np.flatnonzero(np.diff(query, prepend=-1))  # rows of one query follow each other
        nearest = np.minimum.reduceat(exact, start)
        hit = np.flatnonzero(exact == np.repeat(nearest, np.diff(start, append=len(query))))
        best[query[start]], first[query[hit]] = nearest, face[hit]
        tm['exact']=tm.get('exact',0)+clock()-t; t=clock()
        return best, first
EPS=0
TIGHT=True
tm={}
def _halved(middles: np.ndarray, groups: int) -> np.ndarray:
    """Faces in an order whose every run of (length / 2^k) is one half of the run around it, split across its longest side.

    The length is the least multiple of `groups` (a power of two) that holds all faces; the first faces fill it up.
    """
    size = -(-len(middles) // groups)
    order = np.resize(np.arange(len(middles)), groups * size)
    places, width = middles[order].T.copy(), groups * size
    while width > size:
        runs = places.reshape(3, -1, width)
        key = np.choose(np.ptp(runs, axis=2).argmax(0)[:, None], runs)
        width //= 2
        pick = (np.argpartition(key, width - 1, axis=1) + 2 * width * np.arange(len(key))[:, None]).ravel()
        order, places = order[pick], np.take(places, pick, axis=1)
    return order


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), np.finfo(float).tiny)


def _boxes(points: np.ndarray, normals: np.ndarray,reps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Axes, middles and half sides of boxes around groups of points (B, K, 3), flat along normals (B, 3) and long towards the farthest point."""
    arms = points - points.mean(1, keepdims=True)
    far = np.einsum("bki,bki->bk", arms, arms).argmax(1)
    long = arms[np.arange(len(arms)), far]
    flat = _unit(normals)
    long = _unit(long - np.einsum("bi,bi->b", long, flat)[:, None] * flat)
    axes = np.stack([flat, long, np.cross(flat, long)], axis=1)
    bad = np.abs(np.einsum("bij,bkj->bik", axes, axes) - np.eye(3)).max((1, 2)) > 1e-9
    axes[bad] = np.eye(3)  # no area, or all in one line along the normal
    local = np.einsum("bij,bkj->bki", axes, points)
    low, high = local.min(1), local.max(1)
    rep=np.einsum("bij,bkj->bki", axes, reps)-(low+high)[:,None]/2
    rep=rep[np.arange(len(rep)),(rep**2).sum(2).argmin(1)]
    return axes, (low + high) / 2, (high - low) / 2, rep
