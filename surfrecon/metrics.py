"""How far a mesh is from the truth: exact distances, and the published protocols by name.

Letters: N query points, F faces. Lengths are world units unless a protocol says otherwise. "There" is from the mesh to the truth (accuracy),
"back" from the truth to the mesh (completeness).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from surfrecon.geometry import Mesh, PointCloud, Similarity

THRESHOLDS = (0.001, 0.0025)  # of the truth's diagonal, for the F-score
NEAREST = 8  # face middles looked at first; more where the bound isn't met
CHUNK = 1 << 16
SPLIT = 4.0  # faces are cut until their radius is at most this many median radii


def closest(points: np.ndarray, mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Exact distance to a mesh and the nearest face.

    Faces larger than most are cut first, so that all middles stand near their faces; then the k nearest middles hold the nearest face once
    the distance found is below that of the k-th middle less the largest radius.

    Returns:
        (N,) distances, (N,) faces.
    """
    corners, owner = _cut(mesh.triangles() - mesh.bounds().mean(0))
    points = points - mesh.bounds().mean(0)
    middles = corners.mean(1)
    radius = float(np.linalg.norm(corners - middles[:, None], axis=2).max())
    tree = cKDTree(middles)
    distance, face = np.empty(len(points)), np.empty(len(points), np.int64)
    for first in range(0, len(points), CHUNK):
        rows, count = np.arange(first, min(first + CHUNK, len(points))), NEAREST
        while len(rows):
            count = min(count, len(middles))
            reach, near = tree.query(points[rows], count, workers=-1)
            reach, near = reach.reshape(len(rows), count), near.reshape(len(rows), count)
            step = max(1, 2**21 // count)
            for i in range(0, len(rows), step):
                part, choice = rows[i : i + step], near[i : i + step]
                exact = _distance(np.repeat(points[part], count, axis=0), corners[choice.ravel()]).reshape(len(part), count)
                best = exact.argmin(1)
                distance[part], face[part] = exact[np.arange(len(part)), best], owner[choice[np.arange(len(part)), best]]
            if count == len(middles):
                break
            rows = rows[distance[rows] > reach[:, -1] - radius]
            count *= 4
    return distance, face


def _cut(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Faces halved across their longest sides until none is much larger than most, and the face that each part is of."""
    owner = np.arange(len(corners))
    size = lambda c: np.linalg.norm(np.roll(c, -1, axis=1) - c, axis=2)
    limit = SPLIT * float(np.median(size(corners).max(1)))
    limit = max(limit, float(np.ptp(corners.reshape(-1, 3), axis=0).max()) / 256)
    while True:
        sides = size(corners)
        large = sides.max(1) > limit
        if not large.any():
            return corners, owner
        big, turn = corners[large], sides[large].argmax(1)
        a, b, c = (big[np.arange(len(big)), (turn + i) % 3] for i in range(3))
        middle = (a + b) / 2
        halves = np.concatenate([np.stack([a, middle, c], 1), np.stack([middle, b, c], 1)])
        corners, owner = np.concatenate([corners[~large], halves]), np.concatenate([owner[~large], owner[large], owner[large]])


def _distance(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(N,) distance of points (N, 3) to triangles (N, 3, 3): the nearest of three segments and, where it lies inside, the foot."""
    best = np.full(len(points), np.inf)
    edges = np.roll(corners, -1, axis=1) - corners
    dot = lambda u, v: np.einsum("ni,ni->n", u, v)
    for corner in range(3):
        edge, arm = edges[:, corner], points - corners[:, corner]
        along = np.clip(dot(arm, edge) / np.maximum(dot(edge, edge), np.finfo(float).tiny), 0, 1)
        away = arm - along[:, None] * edge
        best = np.minimum(best, dot(away, away))
    e1, e2, arm = edges[:, 0], -edges[:, 2], points - corners[:, 0]
    g11, g12, g22, r1, r2 = dot(e1, e1), dot(e1, e2), dot(e2, e2), dot(arm, e1), dot(arm, e2)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = (g22 * r1 - g12 * r2) / (g11 * g22 - g12**2), (g11 * r2 - g12 * r1) / (g11 * g22 - g12**2)
        inside = (u >= 0) & (v >= 0) & (u + v <= 1)
    foot = (arm - u[:, None] * e1 - v[:, None] * e2)[inside]
    best[inside] = np.minimum(best[inside], dot(foot, foot))
    return np.sqrt(best)


def sample_surface(mesh: Mesh, count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(count, 3) points spread evenly by area, and (count,) the face of each."""
    generator = np.random.default_rng(seed)
    area = np.linalg.norm(mesh.area_vectors(), axis=1)
    face = generator.choice(len(area), count, p=area / area.sum())
    u, v = generator.random((2, count))
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    a, b, c = np.moveaxis(mesh.triangles()[face], 1, 0)
    return a + u[:, None] * (b - a) + v[:, None] * (c - a), face


def floor(area: float, count: int) -> float:
    """What a distance between samples reads where the surfaces are the same: half the spacing of the samples."""
    return 0.5 * float(np.sqrt(area / count))


@dataclass(frozen=True)
class Comparison:
    """Distances between a mesh and the true one, in world units; normal consistency is the mean |cosine| at closest points."""

    distance: float
    hausdorff: float
    there_mean: float
    back_mean: float
    there_max: float
    back_max: float
    normal_consistency: float
    fscores: dict[str, float]
    volume_ratio: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(mesh: Mesh, truth: Mesh, *, samples: int = 100_000, seed: int = 0) -> Comparison:
    """Point-to-surface distances both ways; the vertices join the samples for the maxima."""
    a, fa = sample_surface(mesh, samples, seed=seed)
    b, fb = sample_surface(truth, samples, seed=seed)
    there, face_there = closest(a, truth)
    back, face_back = closest(b, mesh)
    unit = lambda m: m.area_vectors() / np.maximum(np.linalg.norm(m.area_vectors(), axis=1, keepdims=True), np.finfo(float).tiny)
    na, nb = unit(mesh), unit(truth)
    agreement = [np.abs(np.einsum("ni,ni->n", na[fa], nb[face_there])).mean(), np.abs(np.einsum("ni,ni->n", nb[fb], na[face_back])).mean()]
    diagonal = float(np.linalg.norm(np.ptp(truth.bounds(), axis=0)))
    there_max = max(float(there.max()), float(closest(mesh.vertices, truth)[0].max()))
    back_max = max(float(back.max()), float(closest(truth.vertices, mesh)[0].max()))
    return Comparison(
        distance=float(there.mean() + back.mean()) / 2,
        hausdorff=max(there_max, back_max),
        there_mean=float(there.mean()),
        back_mean=float(back.mean()),
        there_max=there_max,
        back_max=back_max,
        normal_consistency=float(np.mean(agreement)),
        fscores={str(t): _fscore(there, back, t * diagonal) for t in THRESHOLDS},
        volume_ratio=mesh.volume() / truth.volume() if truth.volume() else float("nan"),
    )


def _fscore(there: np.ndarray, back: np.ndarray, threshold: float) -> float:
    precision, recall = float((there < threshold).mean()), float((back < threshold).mean())
    return 2 * precision * recall / max(precision + recall, np.finfo(float).tiny)


def _sampled(item: Mesh | PointCloud, count: int, seed: int) -> np.ndarray:
    return item.points if isinstance(item, PointCloud) else sample_surface(item, count, seed=seed)[0]


def _both_ways(mesh: Mesh, truth: Mesh | PointCloud, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    a, b = _sampled(mesh, count, seed), _sampled(truth, count, seed + 1)
    return cKDTree(b).query(a, workers=-1)[0], cKDTree(a).query(b, workers=-1)[0]


def srb(mesh: Mesh, truth: Mesh | PointCloud, *, samples: int = 1_000_000, seed: int = 0) -> dict[str, float]:
    """d_C and d_H between samples, raw units. Source: compute_metrics_srb of Ben-Shabat et al., DiGS, 2022."""
    there, back = _both_ways(mesh, truth, samples, seed)
    return {
        "d_C": float(there.mean() + back.mean()) / 2,
        "d_H": float(max(there.max(), back.max())),
        "there": float(there.mean()),
        "back": float(back.mean()),
        "floor": floor(mesh.area(), samples),
    }


def _normalised(mesh: Mesh, truth: Mesh | PointCloud) -> tuple[Mesh, Mesh | PointCloud]:
    """Both in the frame where the longest side of the truth's box is 1."""
    low, high = truth.bounds()
    to_unit = Similarity(1 / float((high - low).max()), -(low + high) / 2 / float((high - low).max()))
    return mesh.transformed(to_unit), truth.transformed(to_unit)


def convonet(mesh: Mesh, truth: Mesh | PointCloud, *, samples: int = 100_000, seed: int = 0) -> dict[str, float]:
    """Chamfer-L1 (printed times 10) and F-scores. Source: Peng et al., Convolutional occupancy networks, 2020."""
    mesh, truth = _normalised(mesh, truth)
    there, back = _both_ways(mesh, truth, samples, seed)
    scores = {f"F@{t}": _fscore(there, back, t) for t in (0.01, 0.015, 0.02)}
    return {"CL1_x10": 5 * float(there.mean() + back.mean()), **scores, "floor_x10": 10 * floor(mesh.area(), samples)}


def points2surf(mesh: Mesh, truth: Mesh | PointCloud, *, samples: int = 10_000, seed: int = 0) -> dict[str, float]:
    """Chamfer times 100, Hausdorff, on 10,000 samples in the unit cube. Source: Erler et al., Points2Surf, 2020."""
    mesh, truth = _normalised(mesh, truth)
    there, back = _both_ways(mesh, truth, samples, seed)
    return {
        "chamfer_x100": 50 * float(there.mean() + back.mean()),
        "hausdorff": float(max(there.max(), back.max())),
        "floor_x100": 100 * floor(mesh.area(), samples),
    }


PROTOCOLS = {"srb": srb, "convonet": convonet, "points2surf": points2surf}
