"""DTU's benchmark of multi-view stereo: a mesh against a structured-light scan, where the scanner saw something.

Letters: N points, F faces. Lengths are millimetres in DTU's frame. "To truth" (accuracy, d2s) is from the mesh to the scan, "to mesh"
(completeness, s2d) from the scan to the mesh, both means of nearest neighbours between points.

The protocol as its Python port has it (DTUeval-python, which agrees with the MATLAB original to 0.015 %), but for the thinning of the
mesh's points to one within 0.2 mm. There points are visited in shuffled order, and a k-d tree's lists of neighbours take tens of GiB on
large meshes. Here cells of a hash grid decide in rounds, in memory that grows with the points alone. Both leave points no two of which are
nearer than 0.2 mm, one of them within 0.2 mm of every point; ours depend on where the points lie, not on their order, and are other ones.

Sources: Jensen et al., Large scale multi-view stereopsis evaluation, 2014; Aanaes et al., Large-scale data for multiple-view stereopsis,
2016.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, checked_array
from surfrecon.repair import selected
from surfrecon.views import Views

SPACING = 0.2  # mm between points of the mesh
PATCH = 60.0  # mm that the mesh may reach below the observed box, and twice that above
FARTHEST = 20.0  # mm; points further from the other side don't count
DILATION = 24 / 1600  # of an image's width, by which masks grow before they cull: a disk of 24 pixels at DTU's own size
MOST_SAMPLES = 1 << 22  # lattice places at a time
MOST_CELLS = 2**62  # of the hash grid, that a name of 64 bits can tell apart


@dataclass(frozen=True, eq=False)
class Observed:
    """Where the scanner may have seen something.

    Attributes:
        mask: (X, Y, Z) bool.
        box: (2, 3) mm; place (i, j, k) of the mask is at box[0] + cell * (i, j, k).
        cell: mm between places.
    """

    mask: np.ndarray
    box: np.ndarray
    cell: float

    def holds(self, points: np.ndarray) -> np.ndarray:
        """(N,) whether the place nearest to each of (N, 3) points is set; False beyond the mask."""
        place = np.rint((points - self.box[0]) / self.cell).astype(np.int64)
        within = ((place >= 0) & (place < self.mask.shape)).all(axis=1)
        found = np.zeros(len(points), bool)
        found[within] = self.mask[tuple(place[within].T)]
        return found


@dataclass(frozen=True)
class DtuScore:
    """Attributes: mean distances in mm, from the mesh to the scan and back, and the mean of both ("Chamfer distance" in the tables)."""

    accuracy: float
    completeness: float

    @property
    def overall(self) -> float:
        return (self.accuracy + self.completeness) / 2


def dtu_score(mesh: Mesh, truth: np.ndarray, observed: Observed, plane: np.ndarray, *, spacing: float = SPACING) -> DtuScore:
    """A mesh's score by the protocol.

    Args:
        mesh: DTU's frame; see cull() for what methods are granted before.
        truth: (N, 3) points of the scan (stl*_total.ply).
        observed: of the scan (ObsMask*_10.mat).
        plane: (4,) of the scan (Plane*.mat): truth counts where plane . (x, y, z, 1) > 0, which is above the table.
        spacing: mm between the mesh's points.
    Raises:
        InputError: shapes, or sides that have nothing within FARTHEST of each other.
    """
    truth = checked_array("truth", truth, (None, 3), np.float64)
    plane = checked_array("plane", np.ravel(plane), (4,), np.float64)
    points = np.concatenate([mesh.vertices, lattice_points(mesh, spacing)])
    low, high = observed.box[0] - PATCH, observed.box[1] + 2 * PATCH
    points = points[((points >= low) & (points < high)).all(axis=1)]  # before they are thinned, which spares memory and moves no point
    points = points[apart(points, spacing)]
    counted = points[observed.holds(points)]
    above = truth[truth @ plane[:3] + plane[3] > 0]
    return DtuScore(_mean_distance("the mesh", counted, truth), _mean_distance("the scan", above, points))


def _mean_distance(whose: str, points: np.ndarray, others: np.ndarray) -> float:
    """Mean distance of points (N, 3) to the nearest of others (M, 3), over those nearer than FARTHEST."""
    distance = np.empty(0)
    if len(points) and len(others):
        distance = cKDTree(others).query(points, distance_upper_bound=FARTHEST, workers=-1)[0]
        distance = distance[distance < FARTHEST]
    if not len(distance):
        raise InputError(
            f"no point of {whose} that counts lies within {FARTHEST:g} mm of the other side: both must be in DTU's frame, in millimetres"
        )
    return float(distance.mean())


def lattice_points(mesh: Mesh, spacing: float) -> np.ndarray:
    """(N, 3) points on the faces, on a lattice along two sides of each, about `spacing` apart.

    A face of sides a and b that span the area |a x b| gets floor(|a| / s) by floor(|b| / s) places, s = spacing sqrt(|a| |b| / |a x b|), of
    which half lie in it. Smaller faces get none: their corners stand for them.
    """
    corners = mesh.triangles()
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    long_a, long_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    spanned = np.linalg.norm(np.cross(a, b), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = spacing * np.sqrt(long_a * long_b / spanned)
        counts = np.stack([long_a / step, long_b / step])
    counts = np.floor(np.where(spanned > 0, counts, 0)).astype(np.int64)
    faces = np.flatnonzero(counts.prod(axis=0))
    ends = np.cumsum(counts[:, faces].prod(axis=0))
    parts = [np.empty((0, 3))]
    for group in np.split(faces, np.searchsorted(ends, np.arange(MOST_SAMPLES, ends[-1], MOST_SAMPLES))) if len(faces) else ():
        along_a, along_b = counts[:, group]
        number = along_a * along_b
        face = np.repeat(group, number)
        place = np.arange(len(face)) - np.repeat(np.cumsum(number) - number, number)
        u = (place // np.repeat(along_b, number) + 0.5) / np.repeat(along_a, number)
        v = (place % np.repeat(along_b, number) + 0.5) / np.repeat(along_b, number)
        inside = u + v < 1
        face, u, v = face[inside], u[inside, None], v[inside, None]
        parts.append(corners[face, 0] + u * a[face] + v * b[face])
    return np.concatenate(parts)


def apart(points: np.ndarray, radius: float) -> np.ndarray:
    """Rows (K,) of points (N, 3), no two of them nearer than `radius`, one of them within `radius` of every point.

    Every point has a rank by chance. In each round the points that have the least rank in their cell, and less than those of the cells
    around that are within the radius, stay; all within the radius of these go.
    """
    if not len(points):
        return np.empty(0, np.int64)
    cell = np.floor((points - points.min(axis=0)) / radius).astype(np.int64) + 1
    shape = cell.max(axis=0) + 2
    if np.prod(shape.astype(float)) > MOST_CELLS:
        raise InputError(f"points that spread over {shape.max():,} times the spacing between them can't be thinned: widen it")
    names = np.ravel_multi_index(tuple(cell.T), shape)
    around = [int(np.dot(offset, (shape[1] * shape[2], shape[2], 1))) for offset in product((-1, 0, 1), repeat=3)]
    ranks = np.empty(len(points), np.int64)
    ranks[np.lexsort(points.T)] = np.random.default_rng(0).permutation(len(points))  # by place: the order given doesn't matter
    left, kept = np.lexsort((ranks, names)), []
    while len(left):
        first = left[np.flatnonzero(np.diff(names[left], prepend=-1))]
        beaten = np.zeros(len(first), bool)
        for offset in around:
            row, other = _matching(names, first, first, offset)
            near = _distance2(points, first[row], first[other]) < radius**2
            beaten[row] |= near & (ranks[first[other]] < ranks[first[row]])
        won = first[~beaten]
        kept.append(won)
        gone = np.zeros(len(left), bool)
        for offset in around:
            row, other = _matching(names, left, won, offset)
            gone[row] |= _distance2(points, left[row], won[other]) < radius**2
        left = left[~gone]
    return np.sort(np.concatenate(kept))


def _matching(names: np.ndarray, rows: np.ndarray, others: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray]:
    """Places (M,) in `rows`, and (M,) in `others`, whose cells lie `offset` apart; others are sorted by cell, one in each."""
    wanted, known = names[rows] + offset, names[others]
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    row = np.flatnonzero(known[place] == wanted)
    return row, place[row]


def _distance2(points: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    return ((points[rows] - points[others]) ** 2).sum(axis=1)


def cull(mesh: Mesh, views: Views, dilation: float | None = None) -> Mesh:
    """The faces of a mesh that no view contradicts: no corner of theirs falls into a frame and beside its dilated mask.

    Papers cull before they score: a closed mesh has a back and a foot that nobody scanned.

    Args:
        mesh: in the frame of the views.
        views: with masks.
        dilation: pixels by which masks grow; None takes DILATION of each image's width.
    Raises:
        InputError: views without masks.
    """
    if views.masks is None:
        raise InputError("a mesh is culled by masks, which these views don't carry")
    kept = np.ones(len(mesh.vertices), bool)
    for view, (mask, size) in enumerate(zip(views.masks, views.sizes)):
        pixels, _ = views.project(view, mesh.vertices)
        with np.errstate(invalid="ignore"):
            framed = ((pixels >= 0) & (pixels < size)).all(axis=1)
        column, row = pixels[framed].astype(int).T
        away = distance_transform_edt(~mask) if mask.any() else np.full(mask.shape, np.inf)
        kept[framed] &= away[row, column] <= (DILATION * size[0] if dilation is None else dilation)
    return selected(mesh, kept[mesh.faces].all(axis=1))


def read_observed(path: Path | str) -> Observed:
    """The observed volume of ObsMask*_10.mat.

    Raises:
        InputError: no such file, or none of that kind.
    """
    mask, box, cell = _variables(Path(path), ("ObsMask", "BB", "Res"))
    if mask.ndim != 3 or box.shape != (2, 3) or cell.size != 1 or not float(cell.reshape(-1)[0]) > 0:
        shapes = f"{mask.shape}, {box.shape}, {cell.shape}"
        raise InputError(f"{path}: ObsMask, BB and Res must be a volume, two corners and a step > 0, got {shapes}")
    return Observed(mask.astype(bool), box.astype(float), float(cell.reshape(-1)[0]))


def read_plane(path: Path | str) -> np.ndarray:
    """(4,) the table's plane of Plane*.mat.

    Raises:
        InputError: no such file, or none of that kind.
    """
    (plane,) = _variables(Path(path), ("P",))
    if plane.size != 4:
        raise InputError(f"{path}: P must be four numbers, got {plane.shape}")
    return plane.astype(float).reshape(4)


def _variables(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    from scipy.io import loadmat

    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        content = loadmat(path, variable_names=names)
    except Exception as error:  # scipy raises what it likes on a damaged file
        raise InputError(f"{path}: it can't be read as a MATLAB file ({error})") from error
    lacking = [name for name in names if not isinstance(content.get(name), np.ndarray) or content[name].dtype.kind not in "biuf"]
    if lacking:
        raise InputError(f"{path}: it lacks the numbers {', '.join(lacking)}")
    return [content[name] for name in names]
