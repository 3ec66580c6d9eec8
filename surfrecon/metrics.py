"""How far a mesh is from the truth: exact distances, and the published protocols by name.

Letters: N query points, F faces, P pairs of a query and a box or a face, B boxes. Lengths are world units unless a protocol says
otherwise. "To truth" is from the mesh to the truth (accuracy), "to mesh" from the truth to the mesh (completeness).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
from scipy.spatial import cKDTree

from surfrecon.errors import InputError
from surfrecon.face_distance import squared_face_distance, squares
from surfrecon.geometry import Mesh, PointCloud, Similarity
from surfrecon.pictures import Scene
from surfrecon.repair import MeshReport, inspect, pieces, selected

BRANCH = 8  # boxes within a box
TOP = 64  # boxes at most on the first level, which every query is tested against
GUESS = 0.2  # the first guess may be this much too far: the levels tighten it, and far queries of a k-d tree are slow otherwise
SLACK = 1 + 1e-9  # a box is kept up to the best known distance times this: rounding must not lose the nearest face
ASKEW = 1e-12  # axes further than this from orthonormal would give wrong gaps
CHUNK = 1 << 13  # queries at a time
MAX_PAIRS = 1 << 19  # pairs at a time, some 150 MB per worker; more, and the chunk is halved
WORKERS = 2  # chunks at once: numpy frees the interpreter's lock half of the time, more workers would add memory, not speed
THRESHOLDS = (0.001, 0.0025)  # of the truth's diagonal, for the F-score
INSIDE_RAYS = np.array([[0.5411, 0.2876, 0.7903], [-0.6182, 0.7559, 0.2155], [0.3617, -0.7208, -0.5913]])  # along no axis or symmetry
STEP_PAST = 2e-6  # of the scene's diagonal: how far behind a hit its ray goes on; float32 resolves a tenth of it
MAX_CROSSINGS = 500  # faces that one ray may cross


# Exact distance to a surface -----------------------------------------------------------------------------------------------------


def closest(points: np.ndarray, mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Exact distance of points to a mesh's surface: no sampling, hence no sampling floor.

    Args:
        points: (N, 3) world frame.
        mesh: one face or more; faces without area count as the segment or point that they are.
    Returns:
        (N,) distance in world units, (N,) a face at that distance.
    Raises:
        InputError: the mesh has no faces.
    """
    if not len(mesh.faces):
        raise InputError("the distance to a mesh needs faces, got a mesh without any")
    boxes = _Boxes(mesh)
    points = np.asarray(points, float) - boxes.centre
    chunks = [points[start : start + CHUNK] for start in range(0, len(points), CHUNK)]
    with ThreadPoolExecutor(WORKERS) as pool:
        found = list(pool.map(boxes.closest, chunks))
    squared, faces = (np.concatenate(part) for part in zip(*found)) if found else (np.zeros(0), np.zeros(0, np.int64))
    return np.sqrt(squared), faces


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.sqrt(squares(vectors))[..., None], np.finfo(float).tiny)


@dataclass(frozen=True)
class _Level:
    """Boxes that hold groups of faces, each turned along its own patch: a box that lies in the surface is thin, which is what keeps
    the boxes that a far query meets few.

    Attributes:
        axes: (B, 3, 3) as rows.
        middle, half: (B, 3) middle and half sides, in those axes.
        mark: (B, 3) a place on the surface, from the middle: no query is further from the surface than from there.
    """

    axes: np.ndarray
    middle: np.ndarray
    half: np.ndarray
    mark: np.ndarray

    @classmethod
    def around(cls, corners: np.ndarray, marks: np.ndarray, normals: np.ndarray) -> _Level:
        """Boxes of groups: corners (B, K, 3), places on the surface (B, M, 3), mean normals (B, 3) of any length."""
        columns = np.swapaxes(corners, 1, 2).copy()  # (B, 3, K): numpy reduces along the last axis several times faster
        arms = columns - columns.mean(2, keepdims=True)
        long = np.take_along_axis(arms, (arms**2).sum(1).argmax(1)[:, None, None], 2)[..., 0]
        flat = _unit(normals)
        long = _unit(long - np.einsum("bi,bi->b", long, flat)[:, None] * flat)
        axes = np.stack([flat, long, np.cross(flat, long)], axis=1)
        askew = np.abs(axes @ np.swapaxes(axes, 1, 2) - np.eye(3)).max((1, 2)) > ASKEW
        axes[askew] = np.eye(3)  # no area, or all of it in a line along the normal
        local = axes @ columns
        low, high = local.min(2), local.max(2)
        middle = (low + high) / 2
        marks = marks @ np.swapaxes(axes, 1, 2) - middle[:, None]
        return cls(axes, middle, (high - low) / 2, marks[np.arange(len(marks)), squares(marks).argmin(1)])


class _Boxes:
    """Boxes within boxes around the faces of a mesh; all levels are full.

    Attributes:
        order: (places,) face at each place of the lowest level; some faces come twice, to fill it.
        levels: few boxes first.
        branches: boxes of the next level per box, for all levels but the last.
    """

    def __init__(self, mesh: Mesh):
        self.centre = mesh.bounds().mean(0)
        self.corners = mesh.triangles() - self.centre
        marks = self.corners.mean(1)
        self.near = cKDTree(marks, balanced_tree=False, compact_nodes=False)
        groups = 1
        while groups * BRANCH < len(marks):
            groups *= 2
        self.order = _halved(marks, groups)
        corners, marks, normals = self.corners[self.order], marks[self.order, None], mesh.area_vectors()[self.order]
        self.levels, self.branches = [_Level.around(corners, marks, normals)], []
        branch = len(self.order) // groups
        while len(normals) > TOP:
            count = len(normals) // branch
            corners, marks = corners.reshape(count, -1, 3), marks.reshape(count, -1, 3)
            normals = normals.reshape(count, branch, 3).sum(1)
            self.levels.insert(0, _Level.around(corners, marks, normals))
            self.branches.insert(0, branch)
            branch = BRANCH

    def closest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N,) squared distance and (N,) face for points in the centred frame."""
        faces = self.near.query(points, eps=GUESS)[1]
        best = squared_face_distance(points, self.corners[faces])
        top = self.levels[0]
        local = (points @ top.axes.reshape(-1, 3).T - top.middle.ravel()).reshape(len(points), -1, 3)
        reach = np.minimum(best, squares(local - top.mark).min(1)) * SLACK
        query, box = np.nonzero(squares(np.maximum(np.abs(local) - top.half, 0)) <= reach[:, None])
        for level, branch in zip(self.levels[1:], self.branches):
            if len(query) * branch > MAX_PAIRS and len(points) > 1:
                halves = [self.closest(half) for half in np.array_split(points, 2)]
                return np.concatenate([half[0] for half in halves]), np.concatenate([half[1] for half in halves])
            query = np.repeat(query, branch)  # stays sorted throughout
            box = (box[:, None] * branch + np.arange(branch)).ravel()
            axes, middle, half, mark = (np.take(part, box, axis=0) for part in (level.axes, level.middle, level.half, level.mark))
            local = np.einsum("pij,pj->pi", axes, np.take(points, query, axis=0)) - middle
            start = np.flatnonzero(np.diff(query, prepend=-1))
            nearer = np.minimum.reduceat(squares(local - mark), start) * SLACK
            reach[query[start]] = np.minimum(reach[query[start]], nearer)
            kept = np.flatnonzero(squares(np.maximum(np.abs(local) - half, 0)) <= np.take(reach, query))
            query, box = query[kept], box[kept]
        exact = squared_face_distance(points[query], self.corners[self.order[box]])
        order = np.lexsort((exact, query))
        first = order[np.flatnonzero(np.diff(query[order], prepend=-1))]
        first = first[exact[first] < best[query[first]]]
        best[query[first]], faces[query[first]] = exact[first], self.order[box[first]]
        return best, faces


def _halved(places: np.ndarray, groups: int) -> np.ndarray:
    """Rows of places (F, 3) in an order whose run of length / 2^k is always one half of the run around it, cut across its longest side.

    The length is the least multiple of `groups` (a power of two) that holds all rows; the first ones come twice to fill it.
    """
    size = -(-len(places) // groups)
    order = np.resize(np.arange(len(places)), groups * size)
    columns, width = places[order].T.copy(), groups * size
    while width > size:
        runs = columns.reshape(3, -1, width)
        key = np.choose(np.ptp(runs, axis=2).argmax(0)[:, None], runs)
        width //= 2
        pick = (np.argpartition(key, width - 1, axis=1) + 2 * width * np.arange(len(key))[:, None]).ravel()
        order, columns = order[pick], np.take(columns, pick, axis=1)
    return order


# Samples, sides and pieces -------------------------------------------------------------------------------------------------------


def sample_surface(mesh: Mesh, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(count, 3) points spread evenly over a mesh's area by chance, (count, 3) unit normals of their faces, (count,) those faces.

    Raises:
        InputError: the mesh has no area.
    """
    vectors = mesh.area_vectors()
    total = np.cumsum(np.sqrt(squares(vectors)))
    if not (len(total) and total[-1] > 0):
        raise InputError(f"samples need a surface, got {len(total)} faces without area")
    random = np.random.default_rng(seed)
    faces = np.searchsorted(total, random.random(count) * total[-1], side="right")
    u, v = random.random((2, count))
    over = u + v > 1
    u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
    corners = mesh.vertices[mesh.faces[faces]]
    points = corners[:, 0] + u[:, None] * (corners[:, 1] - corners[:, 0]) + v[:, None] * (corners[:, 2] - corners[:, 0])
    return points, _unit(vectors[faces]), faces


def sampling_floor(area: float, count: int) -> float:
    """0.5 sqrt(area / count): the mean distance between two sets of samples of one and the same surface, which no mesh can go below."""
    return 0.5 * float(np.sqrt(area / count))


def contains(points: np.ndarray, mesh: Mesh) -> np.ndarray:
    """(N,) whether each point lies inside a closed mesh, in whichever way its faces turn.

    A ray from inside crosses the surface an odd number of times; the majority of three rays decides, since one may graze an edge.
    """
    scene = Scene(mesh)
    points = np.asarray(points, float)
    low, high = mesh.bounds()
    step = STEP_PAST * float(np.linalg.norm(high - low))
    votes = np.zeros(len(points), int)
    near = np.flatnonzero(((points >= low) & (points <= high)).all(1))
    for direction in INSIDE_RAYS:
        alive, origins, crossings = near, points[near], np.zeros(len(points), int)
        for _ in range(MAX_CROSSINGS):
            distance = scene.hits(origins, np.broadcast_to(direction, origins.shape))[0]
            hit = np.isfinite(distance)
            if not hit.any():
                break
            alive = alive[hit]
            crossings[alive] += 1
            origins = origins[hit] + (distance[hit] + step)[:, None] * _unit(direction)
        votes += crossings % 2
    return votes >= 2


def largest_component(mesh: Mesh) -> Mesh:
    """The connected piece with the most area, with its vertices alone."""
    if not len(mesh.faces):
        return mesh
    piece = pieces(mesh)[1][mesh.faces[:, 0]]
    return selected(mesh, piece == np.bincount(piece, np.sqrt(squares(mesh.area_vectors()))).argmax())


# Our own comparison --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Distances:
    """Distances from one side to the other, world units."""

    mean: float
    median: float
    max: float

    @classmethod
    def of(cls, samples: np.ndarray, extremes: np.ndarray | None = None) -> Distances:
        """Of sampled distances; `extremes` (of vertices) count for the maximum alone."""
        highest = samples.max() if extremes is None else max(samples.max(), extremes.max(initial=0.0))
        return cls(float(samples.mean()), float(np.median(samples)), float(highest))


@dataclass(frozen=True)
class Comparison:
    """A mesh measured against the truth; lengths in world units.

    Attributes:
        to_truth, to_mesh: distances from the mesh to the truth and back.
        distance: mean of both means ("Chamfer distance", not squared).
        hausdorff: the larger of both maxima.
        f_score: threshold in world units -> harmonic mean of the shares of either side that are nearer than that.
        diagonal: of the truth's box.
        sampling_floor: what a perfect mesh would score as `distance`; 0 where both sides are surfaces.
        normals: mean |n . n'| at closest points, both ways; None against points without normals.
        signed_normals: the same without the absolute value: falls where the mesh is inside out.
        iou: volume in both over volume in either; None unless both are closed.
        volume_ratio: volume of the mesh over the truth's; None unless both are closed.
        mesh, truth: topology of both; truth None for points.
    """

    to_truth: Distances
    to_mesh: Distances
    distance: float
    hausdorff: float
    f_score: Mapping[float, float]
    diagonal: float
    sampling_floor: float
    normals: float | None
    signed_normals: float | None
    iou: float | None
    volume_ratio: float | None
    mesh: MeshReport
    truth: MeshReport | None

    def as_dict(self) -> dict:
        """Plain numbers, ready for JSON."""
        f_score = {f"{threshold:.6g}": value for threshold, value in self.f_score.items()}
        reports = {"mesh": self.mesh.as_dict(), "truth": None if self.truth is None else self.truth.as_dict()}
        return asdict(self) | {"f_score": f_score} | reports


def compare(
    mesh: Mesh, truth: Mesh | PointCloud, *, samples: int = 100_000, seed: int = 0, thresholds: tuple[float, ...] | None = None
) -> Comparison:
    """How far a mesh is from the truth, by exact distances at samples of both; see Comparison.

    Vertices of both sides join their samples for the maxima. Against points, the way there is to the nearest point, with its sampling
    floor; the way back is exact.

    Args:
        mesh, truth: in one frame.
        samples: per side, and points for the IoU.
        thresholds: of the F-score, world units; None takes 0.1 % and 0.25 % of the truth's diagonal.
    Raises:
        InputError: either side is empty.
    """
    points, normals, _ = sample_surface(mesh, samples, seed)
    low, high = truth.bounds()
    diagonal = float(np.linalg.norm(high - low))
    ours, iou, ratio, floor = inspect(mesh), None, None, 0.0
    if isinstance(truth, PointCloud):
        away, there, report = truth.points, truth.normals, None
        distance, nearest = cKDTree(away).query(np.concatenate([points, mesh.vertices]), workers=-1)
        there_at = None if there is None else there[nearest[:samples]]
        floor = sampling_floor(mesh.area(), len(away)) / 2  # one of the two ways only
    else:
        away, there, _ = sample_surface(truth, samples, seed + 1)
        report = inspect(truth)
        distance, faces = closest(np.concatenate([points, mesh.vertices]), truth)
        there_at = _unit(truth.area_vectors())[faces[:samples]]
        if ours.closed and report.closed:
            iou, ratio = volume_iou(mesh, truth, samples=samples, seed=seed), ours.volume / report.volume
    count = len(away)
    extremes = np.zeros((0, 3)) if report is None else truth.vertices
    back, faces = closest(np.concatenate([away, extremes]), mesh)
    to_truth = Distances.of(distance[:samples], distance[samples:])
    to_mesh = Distances.of(back[:count], back[count:])
    cosines = None
    if there is not None:
        here_at = _unit(mesh.area_vectors())[faces[:count]]
        cosines = np.einsum("ni,ni->n", normals, there_at), np.einsum("ni,ni->n", there, here_at)
    thresholds = thresholds if thresholds is not None else tuple(share * diagonal for share in THRESHOLDS)
    return Comparison(
        to_truth=to_truth,
        to_mesh=to_mesh,
        distance=(to_truth.mean + to_mesh.mean) / 2,
        hausdorff=max(to_truth.max, to_mesh.max),
        f_score={threshold: f_score(distance[:samples], back[:count], threshold) for threshold in thresholds},
        diagonal=diagonal,
        sampling_floor=floor,
        normals=None if cosines is None else float(sum(np.abs(c).mean() for c in cosines) / 2),
        signed_normals=None if cosines is None else float(sum(c.mean() for c in cosines) / 2),
        iou=iou,
        volume_ratio=ratio,
        mesh=ours,
        truth=report,
    )


def f_score(to_truth: np.ndarray, to_mesh: np.ndarray, threshold: float) -> float:
    """Harmonic mean of the shares of distances (N,) either way that are below the threshold; 0 where both shares are."""
    precision, recall = float((to_truth < threshold).mean()), float((to_mesh < threshold).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def volume_iou(mesh: Mesh, truth: Mesh, *, samples: int = 100_000, seed: int = 0) -> float:
    """Volume in both closed meshes over volume in either, from points spread evenly in the box around both."""
    bounds = np.stack([mesh.bounds(), truth.bounds()])
    low, high = bounds[:, 0].min(0), bounds[:, 1].max(0)
    points = low + (high - low) * np.random.default_rng(seed).random((samples, 3))
    ours, theirs = contains(points, mesh), contains(points, truth)
    either = int((ours | theirs).sum())
    return float((ours & theirs).sum() / either) if either else 0.0


# Published protocols -------------------------------------------------------------------------------------------------------------


def _spread(item: Mesh | PointCloud, count: int, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Points and normals: samples of a mesh, all points of a cloud."""
    return (item.points, item.normals) if isinstance(item, PointCloud) else sample_surface(item, count, seed)[:2]


def _nearest_both_ways(points: np.ndarray, away: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """(N,) distance and (N,) row of the nearest of the other set, for `points` and for `away`."""
    trees = cKDTree(points), cKDTree(away)
    found = []
    for source, target in (trees, trees[::-1]):
        distance, row = np.empty(source.n), np.empty(source.n, np.int64)
        # Asked in the order of its own tree, neighbours follow each other: a million random queries take 2.5 times as long.
        distance[source.indices], row[source.indices] = target.query(source.data[source.indices], workers=-1)
        found.append((distance, row))
    return found[0], found[1]


def _unit_side(truth: Mesh | PointCloud) -> Similarity:
    """unit_from_world that makes the longest side of the truth's box 1, centred."""
    low, high = truth.bounds()
    scale = 1 / float((high - low).max())
    return Similarity(scale, -scale * (low + high) / 2)


def srb(mesh: Mesh, truth: Mesh | PointCloud, *, scan: PointCloud | None = None, seed: int = 0, samples: int = 1_000_000) -> dict:
    """Surface Reconstruction Benchmark as DiGS, StEik and HotSpot report it: raw units, nearest neighbour both ways, not squared.

    d_c is the mean of both means, d_h the larger maximum; with the scan also its own distances to the mesh (d_C->, d_H-> in the tables).
    Source: DiGS (Ben-Shabat et al., CVPR 2022), compute_metrics_srb.py; Williams et al., Deep Geometric Prior, 2019.
    """
    points, away = _spread(mesh, samples, seed)[0], _spread(truth, samples, seed + 1)[0]
    to_truth, to_mesh = (Distances.of(distance) for distance, _ in _nearest_both_ways(points, away))
    result = {
        "d_c": (to_truth.mean + to_mesh.mean) / 2,
        "d_h": max(to_truth.max, to_mesh.max),
        "to_truth": asdict(to_truth),
        "to_mesh": asdict(to_mesh),
        "sampling_floor": sampling_floor(mesh.area(), min(len(points), len(away))),
    }
    if scan is not None:
        result["scan_to_mesh"] = asdict(Distances.of(cKDTree(points).query(scan.points, workers=-1)[0]))
    return result


def convonet(mesh: Mesh, truth: Mesh | PointCloud, *, seed: int = 0, samples: int = 100_000) -> dict:
    """Convolutional Occupancy Networks: longest side of the truth's box = 1, nearest neighbours among 100,000 samples of each side.

    chamfer_l1_x10 is half the sum of both means, times ten as the tables print it; chamfer_l2 half the sum of both mean squares;
    normals the mean |n . n'| of nearest pairs; iou at 100,000 points (the paper stores its own points: those of its data set; ours are
    uniform in the box around both), None unless both are closed meshes.
    Source: Peng et al., ECCV 2020, supplementary 1.4 and src/eval.py.
    """
    frame = _unit_side(truth)
    mesh, truth = mesh.transformed(frame), truth.transformed(frame)
    (points, normals), (away, there) = _spread(mesh, samples, seed), _spread(truth, samples, seed + 1)
    (to_truth, i), (to_mesh, j) = _nearest_both_ways(points, away)
    solid = isinstance(truth, Mesh) and inspect(mesh).closed and inspect(truth).closed
    agree = None
    if there is not None:
        agree = sum(float(np.abs(np.einsum("ni,ni->n", a, b)).mean()) for a, b in ((normals, there[i]), (there, normals[j]))) / 2
    return {
        "chamfer_l1_x10": 10 * float(to_truth.mean() + to_mesh.mean()) / 2,
        "chamfer_l2": float((to_truth**2).mean() + (to_mesh**2).mean()) / 2,
        "normals": agree,
        "f_score": {str(t): f_score(to_truth, to_mesh, t) for t in (0.01, 0.015, 0.02)},
        "iou": volume_iou(mesh, truth, samples=samples, seed=seed) if solid else None,
        "sampling_floor_x10": 10 * sampling_floor(mesh.area(), min(len(points), len(away))),
    }


def points2surf(mesh: Mesh, truth: Mesh | PointCloud, *, seed: int = 0, samples: int = 10_000) -> dict:
    """Points2Surf on ABC, FAMOUS and Thingi10k: longest side of the truth's box = 1, nearest neighbours among 10,000 samples of each side.

    Its code's "Chamfer distance" is chamfer_sum, the sum of all 20,000 distances both ways; chamfer_x100 is 100 times their mean, as
    PPSurf computes and the tables print. Its samples are spaced evenly (trimesh's sample_surface_even); ours are independent, which
    raises the floor a little.
    Source: Erler et al., ECCV 2020, source/base/evaluation.py; Erler et al., PPSurf, 2024.
    """
    frame = _unit_side(truth)
    mesh, truth = mesh.transformed(frame), truth.transformed(frame)
    points, away = _spread(mesh, samples, seed)[0], _spread(truth, samples, seed + 1)[0]
    distances = np.concatenate([distance for distance, _ in _nearest_both_ways(points, away)])
    return {
        "chamfer_x100": 100 * float(distances.mean()),
        "chamfer_sum": float(distances.sum()),
        "hausdorff": float(distances.max()),
        "sampling_floor_x100": 100 * sampling_floor(mesh.area(), min(len(points), len(away))),
    }


PROTOCOLS: Mapping[str, Callable[..., dict]] = {"srb": srb, "convonet": convonet, "points2surf": points2surf}
