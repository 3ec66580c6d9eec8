"""Sharp edges and corners of a mesh whose field rounds them off: vertices go where the planes of the two or three sides meet.

A spline can't bend faster than its cells, so an edge of the object is a rounding about two cells wide, and the distances beside it are
right again. Marching cubes' faces in such a rounding take the plane of the nearest face outside, side by side; where the planes of two
neighbouring faces differ by an angle, their common edge lies on a crease, and its vertices move to the least squares solution of the
planes around them, of rank 2 on a crease and 3 at a corner: the quadric of Kobbelt, Botsch, Schwanecke and Seidel, "Feature sensitive
surface extraction from volume data", 2001, with the normals of Attene, Falcidieno, Rossignac and Spagnuolo, "Sharpen&Bend", 2005, who
extrapolate those around a chamfer. Nothing but places and, where slivers remain, edges between two faces change: what was closed and
manifold stays so.

Roundings of smooth objects look alike, so the scan decides: a stretch of crease must fit its points nearly as well as the rounding does.
A connected network of which most is confirmed so is kept whole. Faces are kept from folding, but not from meeting others further off.

Letters: V vertices, F faces, K rounded faces, C crease edges. A side is 3 * face + i, from corner i to the next. h: `step`. Unit frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from surfrecon.fields.field import Field
from surfrecon.geometry import Mesh
from surfrecon.run import Run
from surfrecon.slivers import flipped, following, opposite_sides, unfolded

# Lengths in h; all by measurement on fandisk (sharp), horse, armadillo and rocker arm (smooth), clean, noisy and scanned.
SPREAD_REACH = 1.8  # over which the spread of normals is taken: about a rounding's width
ROUNDED_SPREAD = np.radians(8.0)  # faces are rounded above this, and above
ROUNDED_OVER_FLAT = 3.8  # times the spread of the flat part, which is noise, and that is
FLAT_QUANTILE = 0.2  # of the faces: small objects are mostly rounded
PLANE_REACH = 3.5  # over which planes beside a rounding are averaged; more helps noise and hurts curved sides
BAND_REACH = 5.0  # from a rounding; faces further away have no part in its planes
NORMAL_COST, REACH_COST = 0.5, 0.005  # of a plane for a face: per 1 - cosine, per h^2 of distance, beside the squared height over h
EAR_TURNS = 6  # of smoothing a crease that runs around single faces
CREASE_ANGLE = np.radians(40.0)  # between two sides; flatter ones can't be told from noise
LEAST_GAP = 2.0  # between the faces that a crease's two planes come from: less is within a rounding, so the planes are none
SPREAD_SHARE = 0.45  # most spread per angle: above, the normals turn more than the sides differ, as in noise
CREASE_REACH = 8.0  # along which the scan is asked about a crease
MISFIT = 0.4  # most that the points' mean square may grow by, over the mean square that the rounding is off the planes
CLIPPED = 0.5  # residuals count as this at most
VOTE = 0.7  # share of a crease within CREASE_REACH that must pass
SHARE = 0.5  # of a connected network of creases: with more of it confirmed, all of it is kept, without gaps
LEAST_LENGTH = 10.0  # of a crease
MOVED_REACH = 2.5  # from a crease; roundings beyond stay as they are
CORNER = 0.03  # least eigenvalue of the mean of n n^T for a corner
RELAXATIONS, RELAXATION = 8, 0.5  # turns, and the share of the way to the neighbours' mean
FARTHEST = 2.0  # that a vertex may move: a corner of a cube lies that far from its rounding's vertices
TINY = 1e-300


@dataclass(frozen=True)
class _Roundings:
    """The faces, the planes beside roundings, and which of them each face takes.

    Attributes:
        faces: (F, 3). opposite: (F, 3) the other face's side at each side.
        centres, normals: (F, 3) of the faces, normals by the field. spread: (F,) root mean square turn of normals around each, radians.
        rounded: (F,) faces where normals turn fast.
        planes: (F,) the face whose plane each takes: itself unless rounded, -1 where none is near.
        sources, directions: (F, 3) a point and the normal of each face's own plane.
    """

    faces: np.ndarray
    opposite: np.ndarray
    centres: np.ndarray
    normals: np.ndarray
    spread: np.ndarray
    rounded: np.ndarray
    planes: np.ndarray
    sources: np.ndarray
    directions: np.ndarray

    @property
    def plane_normals(self) -> np.ndarray:
        """(F, 3) normals of the planes that the faces take; their own where there is none."""
        return np.where((self.planes >= 0)[:, None], self.directions[self.planes], self.normals)

    def heights(self, faces: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(N,) signed distances of (N, 3) points from the planes that (N,) faces take."""
        plane = self.planes[faces]
        return _dot(x - self.sources[plane], self.directions[plane])

    def creases(self) -> np.ndarray:
        """(F, 3) whether the planes on both sides of an edge differ by CREASE_ANGLE."""
        normals, other = self.plane_normals, self.opposite // 3
        planes = (self.planes >= 0)[:, None] & (self.planes[other] >= 0)
        return planes & (_dot(normals[:, None], normals[other]) < np.cos(CREASE_ANGLE))


def sharpen(mesh: Mesh, field: Field, points: np.ndarray, *, step: float, run: Run | None = None) -> Mesh:
    """The mesh with its vertices on sharp edges and corners where the field rounds these; elsewhere it's the same.

    Args:
        mesh: closed, manifold, consistently wound, unit frame: what marching cubes gives.
        field: whose zero set it is, smooth but for its own cells.
        points: (N, 3) of the scan, unit frame.
        step: h, side of a cell of the mesh or of the field, whichever is larger, unit frame.
        run: device; it's told how many vertices came to lie on creases.
    Returns:
        The same vertices, moved by FARTHEST h at most, and as many faces, none folded over; without normals, colours and scalars.
    """
    run = run or Run()
    vertices = mesh.vertices
    ask = lambda x: _value_and_gradient(field, x, run)
    rounding = _roundings(mesh, _unit(ask(vertices)[1]), step)
    tail, head = _creases(rounding, vertices, points, ask, step)
    run.facts["vertices_on_creases"] = 0
    if not len(tail):
        return mesh
    movable = np.zeros(len(vertices), bool)
    movable[rounding.faces[rounding.rounded & (rounding.planes >= 0)]] = True
    distance = cKDTree(vertices[tail]).query(vertices[movable], distance_upper_bound=MOVED_REACH * step)[0]
    movable[movable] = np.isfinite(distance)
    moved = _placed(rounding, vertices, np.flatnonzero(movable), tail, head)
    movable &= np.linalg.norm(moved - vertices, axis=1) <= FARTHEST * step
    moved[~movable] = vertices[~movable]
    faces, normals = flipped(moved, rounding.faces, rounding.plane_normals, movable)
    moved = unfolded(vertices, moved, faces, normals)
    on_crease = np.unique(np.concatenate([tail, head]))
    run.facts["vertices_on_creases"] = int((moved[on_crease] != vertices[on_crease]).any(1).sum())
    return Mesh(moved, faces)


def _value_and_gradient(field: Field, x: np.ndarray, run: Run) -> tuple[np.ndarray, np.ndarray]:
    """(N,) values and (N, 3) gradients, float64, at (N, 3) points."""
    with torch.no_grad():
        results = field.value_and_gradient(torch.from_numpy(x.astype(np.float32)).to(run.torch_device()))
    value, gradient = (result.cpu().numpy().astype(float) for result in results)
    return value, gradient


# Planes ----------------------------------------------------------------------------------------------------------------------------


def _roundings(mesh: Mesh, gradients: np.ndarray, h: float) -> _Roundings:
    """Roundings of a mesh by the unit gradients (V, 3) at its vertices, each face of them with a plane from outside."""
    faces = mesh.faces
    opposite = opposite_sides(faces)
    around = opposite // 3
    areas = np.linalg.norm(mesh.area_vectors(), axis=1)
    typical = areas.mean()
    turns = lambda reach: max(1, round((reach * h) ** 2 / typical))  # diffusion's reach grows with the root of its steps
    normals, centres = _unit(gradients[faces].sum(1)), mesh.triangles().mean(1)
    mean, mixing = normals, _mixing(np.arange(len(faces)), around, areas)
    for _ in range(turns(SPREAD_REACH)):
        mean = mixing @ mean
    spread = np.sqrt(2 * np.maximum(1 - np.linalg.norm(mean, axis=1), 0))
    rounded = spread > max(ROUNDED_SPREAD, ROUNDED_OVER_FLAT * np.quantile(spread, FLAT_QUANTILE))
    band = rounded
    for _ in range(round(BAND_REACH * h / np.sqrt(typical))):
        band = band | band[around].any(1)
    rows = np.flatnonzero(band & ~rounded)
    sources, directions = _averaged(centres, normals, rows, _mixing(rows, around, np.where(rounded, 0, areas)), turns(PLANE_REACH))
    rounding = _Roundings(faces, opposite, centres, normals, spread, rounded, np.arange(len(faces)), sources, directions)
    return _rounded_creases(replace(rounding, planes=_nearest_planes(rounding, h)), h)


def _mixing(rows: np.ndarray, around: np.ndarray, weights: np.ndarray) -> csr_matrix:
    """(R, F) map to means over each of (R,) faces and the three around it, by weights (F,)."""
    columns = np.concatenate([rows[:, None], around[rows]], axis=1)
    shares = weights[columns]
    shares = shares / np.maximum(shares.sum(1, keepdims=True), TINY)
    return csr_matrix((shares.ravel(), columns.ravel(), 4 * np.arange(len(rows) + 1)), shape=(len(rows), len(weights)))


def _averaged(centres: np.ndarray, normals: np.ndarray, rows: np.ndarray, mixing: csr_matrix, turns: int) -> tuple[np.ndarray, np.ndarray]:
    """(F, 3) points and (F, 3) normals of planes, averaged in (R,) rows by `mixing`; elsewhere as they were.

    A neighbour's height along the mean of both normals is exact on a circle, so curved sides don't sink.
    """
    sources, directions = centres.copy(), normals.copy()
    for _ in range(turns):
        directions[rows] = _unit(mixing @ directions)
    own, mean = directions[rows], mixing @ directions
    for _ in range(turns):
        at = sources[rows]
        rise = _dot(own, mixing @ sources - at) + mixing @ _dot(directions, sources) - _dot(mean, at)
        sources[rows] += 0.5 * own * rise[:, None]
    return sources, directions


def _plane_costs(rounding: _Roundings, faces: np.ndarray, planes: np.ndarray, h: float) -> np.ndarray:
    """(K, 3) how badly each of (K, 3) planes fits each of (K,) faces: height, turn, distance; infinite where a plane is -1."""
    away = (rounding.centres[faces][:, None] - rounding.sources[planes]) / h
    directions = rounding.directions[planes]
    turn = 1 - _dot(rounding.normals[faces][:, None], directions)
    cost = _dot(away, directions) ** 2 + NORMAL_COST * turn + REACH_COST * _dot(away, away)
    return np.where(planes >= 0, cost, np.inf)


def _nearest_planes(rounding: _Roundings, h: float) -> np.ndarray:
    """(F,) the plane of each face: rounded ones take over their neighbours' until none finds a better one."""
    planes = np.where(rounding.rounded, -1, np.arange(len(rounding.faces)))
    rows = np.flatnonzero(rounding.rounded)
    others, best = rounding.opposite[rows] // 3, np.full(len(rows), np.inf)
    while True:
        offered = planes[others]
        costs = _plane_costs(rounding, rows, offered, h)
        pick = costs.argmin(1)[:, None]
        cost = np.take_along_axis(costs, pick, 1)[:, 0]
        better = cost < best
        if not better.any():
            return planes
        planes[rows[better]] = np.take_along_axis(offered, pick, 1)[better, 0]
        best[better] = cost[better]


def _rounded_creases(rounding: _Roundings, h: float) -> _Roundings:
    """The same with shorter creases: a rounded face with a crease at two of its sides goes over to a neighbour's plane."""
    for _ in range(EAR_TURNS):
        creases = rounding.creases()
        ears = rounding.rounded & (creases.sum(1) >= 2)
        rows = np.flatnonzero(ears)
        others = rounding.opposite[rows] // 3
        first = ~(ears[others] & (others > rows[:, None])).any(1)  # of two neighbours one at a time
        rows, others = rows[first], others[first]
        if not len(rows):
            break
        offered = np.where(creases[rows], rounding.planes[others], -1)
        pick = _plane_costs(rounding, rows, offered, h).argmin(1)
        planes = rounding.planes.copy()
        planes[rows] = offered[np.arange(len(rows)), pick]
        rounding = replace(rounding, planes=planes)
    return rounding


# Which creases are the object's ----------------------------------------------------------------------------------------------------


def _creases(rounding: _Roundings, vertices: np.ndarray, points: np.ndarray, ask: Callable, h: float) -> tuple[np.ndarray, np.ndarray]:
    """(C,) tails and (C,) heads of the crease edges that the scan confirms.

    The test compares mean squares within CREASE_REACH: what the points' heights over the planes add to those over the field's surface,
    and the heights of the rounding itself over the planes.
    """
    side = np.flatnonzero(rounding.creases().ravel())
    side = side[side < rounding.opposite.ravel()[side]]
    tail, head = rounding.faces.ravel()[side], rounding.faces.ravel()[following(side)]
    rows = np.flatnonzero(rounding.rounded & (rounding.planes >= 0))
    if not len(side):
        return tail, head
    distance, near = cKDTree(rounding.centres[rows]).query(points, distance_upper_bound=h)
    seen = np.isfinite(distance)
    value, gradient = ask(points[seen])
    clipped = lambda height: np.minimum(np.abs(height), CLIPPED * h) ** 2
    rise = clipped(rounding.heights(rows[near[seen]], points[seen]))
    rise -= clipped(value / np.maximum(np.linalg.norm(gradient, axis=1), TINY))
    lost = clipped(rounding.heights(rows, rounding.centres[rows]))
    middles = (vertices[tail] + vertices[head]) / 2
    mean = lambda x, values, at: _means_around(x, values, at, CREASE_REACH * h)
    first, second = side // 3, rounding.opposite.ravel()[side] // 3
    planes = rounding.planes[first], rounding.planes[second]
    angle = np.arccos(np.clip(_dot(rounding.directions[planes[0]], rounding.directions[planes[1]]), -1, 1))
    passed = mean(points[seen], rise, middles) <= MISFIT * mean(rounding.centres[rows], lost, middles)
    passed &= np.linalg.norm(rounding.sources[planes[0]] - rounding.sources[planes[1]], axis=1) > LEAST_GAP * h
    passed &= np.maximum(rounding.spread[first], rounding.spread[second]) < SPREAD_SHARE * angle
    kept = mean(middles, passed.astype(float), middles) > VOTE
    length = np.linalg.norm(vertices[tail] - vertices[head], axis=1)
    chain = _chains(tail, head, len(vertices))
    kept |= (np.bincount(chain, kept * length) > SHARE * np.bincount(chain, length))[chain]
    tail, head, length = tail[kept], head[kept], length[kept]
    chain = _chains(tail, head, len(vertices))
    long = np.bincount(chain, length)[chain] > LEAST_LENGTH * h
    return tail[long], head[long]


def _chains(tail: np.ndarray, head: np.ndarray, count: int) -> np.ndarray:
    """(C,) number of the connected piece that each edge between `count` vertices belongs to."""
    return connected_components(coo_matrix((np.ones(len(tail)), (tail, head)), shape=(count, count)), directed=False)[1][tail]


def _means_around(x: np.ndarray, values: np.ndarray, at: np.ndarray, reach: float) -> np.ndarray:
    """(M,) means of the values (N,) at points (N, 3) within reach of (M, 3) places; 0 where there is none."""
    if not len(x):
        return np.zeros(len(at))
    return np.array([values[near].mean() if near else 0.0 for near in cKDTree(x).query_ball_point(at, reach)])


# Moves -----------------------------------------------------------------------------------------------------------------------------


def _placed(rounding: _Roundings, vertices: np.ndarray, rows: np.ndarray, tail: np.ndarray, head: np.ndarray) -> np.ndarray:
    """(V, 3) vertices of which those of `rows` lie on the planes of their faces, evenly apart along creases and beside them."""
    count, faces = len(vertices), rounding.faces
    row = np.full(count, -1)
    row[rows] = np.arange(len(rows))
    corner = np.flatnonzero((row[faces.ravel()] >= 0) & (rounding.planes.repeat(3) >= 0))
    plane, at = rounding.planes[corner // 3], row[faces.ravel()[corner]]
    normals = rounding.directions[plane]
    height = _dot(normals, rounding.sources[plane])
    weight = 1 / np.bincount(at, minlength=len(rows))
    sums = coo_matrix((weight[at], (at, np.arange(len(at)))), shape=(len(rows), len(at))).tocsr()
    quadric = (sums @ (normals[:, :, None] * normals[:, None, :]).reshape(-1, 9)).reshape(-1, 3, 3)
    right = sums @ (normals * height[:, None])
    values, axes = np.linalg.eigh(quadric)
    meeting = np.bincount(np.concatenate([tail, head]), minlength=count)  # crease edges at each vertex
    on_crease = meeting[rows] > 0
    rank = np.where(on_crease, np.where((meeting[rows] > 2) & (values[:, 0] > CORNER), 3, 2), 1)
    inverse = np.where(np.arange(3) >= 3 - rank[:, None], 1 / np.maximum(values, TINY), 0)
    solve = np.einsum("vij,vj,vkj->vik", axes, inverse, axes)

    def projected(x: np.ndarray) -> np.ndarray:
        return x + np.einsum("vij,vj->vi", solve, right - np.einsum("vij,vj->vi", quadric, x))

    along = np.concatenate([tail, head]), np.concatenate([head, tail])
    across = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    loose = (row[across[0]] >= 0) & (meeting[across[0]] == 0)
    pairs = [np.concatenate([a, b[loose]]) for a, b in zip(along, across)]
    links = coo_matrix((np.ones(len(pairs[0])), (pairs[0], pairs[1])), shape=(count, count)).tocsr()[rows]
    number = np.asarray(links.sum(1)).reshape(-1, 1)
    slides = (number > 0) & (~on_crease | (meeting[rows] == 2))[:, None]
    moved = vertices.copy()
    moved[rows] = projected(moved[rows])
    for _ in range(RELAXATIONS):
        means = links @ moved / np.maximum(number, 1)
        moved[rows] = projected(moved[rows] + RELAXATION * np.where(slides, means - moved[rows], 0))
    return moved


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("...d,...d->...", a, b)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), TINY)
