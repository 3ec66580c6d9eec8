"""Scans, meshes and the similarity between frames: frozen dataclasses of numpy arrays, checked on creation.

Letters: N points, V vertices, F faces. World frame: float64, the input's own units and axes. Unit frame: the box [-1, 1]^3.
Faces are counter-clockwise from outside; normals point outward. Colours are sRGB in [0, 1], as files hold them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from surfrecon.errors import InputError

UNIT_HALF_SIDE = 0.85  # half of the object's longest side in the unit frame: leaves room for caps over holes
CORE_QUANTILE = 0.05  # the box between these quantiles of each axis is taken to be object, not outlier
CORE_GROWTH = 1.0  # points within this many core sides of the core box still count as object
SPACING_NEIGHBOURS = 8
ROTATION_TOLERANCE = 1e-6  # of R^T R: matrices from float32 pass
SPACING_SAMPLE = 20_000  # points whose neighbours are looked up; more would not change the median
UNITS = {"mm": 1e-3, "cm": 1e-2, "m": 1.0, "ft": 0.3048, "us-ft": 1200 / 3937}  # metres
LEAST_POINTS = 4  # that bound a body
THINNEST = 1e-6  # of the points' widest spread: the second widest below it is rounding, and they lie on a line
EXTENTS = (1e-30, 1e30)  # of a scan's sides, and at most of its coordinates: what float32 still holds with squares to spare
HASH_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)  # odd, with bits all over: neighbours on a lattice part


def checked_array(name: str, value, shape: tuple[int | None, ...], dtype) -> np.ndarray:
    """A read-only contiguous array of the wanted shape (None: any number) and dtype, or an InputError that says what was given."""
    try:
        given = np.asarray(value)
        with np.errstate(invalid="ignore"):  # NaN becomes some integer, which the comparison below finds
            array = np.ascontiguousarray(given, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must be numbers, got {type(value).__name__}: {error}") from None
    if array.ndim != len(shape) or any(w is not None and w != s for w, s in zip(shape, array.shape)):
        text = ", ".join("any" if w is None else str(w) for w in shape)
        raise InputError(f"{name} must have shape ({text}), got {array.shape}")
    if array.dtype.kind == "i" and (given != array).any():
        raise InputError(f"{name} must be whole numbers, got {given[given != array][0]}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).reshape(len(array), -1).any(axis=1).sum())
        raise InputError(f"{name} must be finite, got NaN or infinity in {bad} of {len(array)} rows")
    array = array.view()
    array.flags.writeable = False
    return array


def _attributes(item, rows: int) -> None:
    """Check the attributes that PointCloud and Mesh share."""
    if item.unit is not None and item.unit not in UNITS:
        raise InputError(f"the unit must be one of {', '.join(UNITS)}, got {item.unit!r}")
    for name, columns in (("normals", 3), ("colors", 3)):
        value = getattr(item, name)
        if value is not None:
            dtype = np.float64 if name == "normals" else np.float32
            object.__setattr__(item, name, checked_array(name, value, (rows, columns), dtype))
    scalars = {}
    for name, value in item.scalars.items():
        array = np.ascontiguousarray(value)
        if array.shape != (rows,) or array.dtype.kind not in "iufb":
            raise InputError(f"scalar field {name!r} must be {rows} numbers, got shape {array.shape} of {array.dtype}")
        scalars[name] = array.view()
        scalars[name].flags.writeable = False
    object.__setattr__(item, "scalars", scalars)


class Bounded(Protocol):
    """A scan of any kind, as far as Similarity.fit is concerned."""

    def object_bounds(self) -> np.ndarray:
        """(2, 3) lowest and highest corner of the object, whatever else was seen."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """The map x -> scale * rotation @ x + translation between two frames, in float64.

    Attributes:
        scale: > 0, target units per source unit.
        translation: (3,) in target units.
        rotation: (3, 3) proper rotation.
    Raises:
        InputError: wrong shapes, NaN or infinity, scale <= 0, a rotation that isn't one.
    """

    scale: float = 1.0
    translation: np.ndarray = field(default_factory=lambda: np.zeros(3))
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))

    def __post_init__(self):
        if not (np.isfinite(self.scale) and self.scale > 0):
            raise InputError(f"the scale of a similarity must be > 0, got {self.scale}")
        object.__setattr__(self, "scale", float(self.scale))
        object.__setattr__(self, "translation", checked_array("translation", self.translation, (3,), float))
        rotation = checked_array("rotation", self.rotation, (3, 3), float)
        if np.abs(rotation.T @ rotation - np.eye(3)).max() > ROTATION_TOLERANCE or np.linalg.det(rotation) < 0:
            raise InputError(f"rotation must be orthogonal of determinant 1 (a mirror turns meshes inside out), got {rotation.tolist()}")
        object.__setattr__(self, "rotation", rotation)

    @classmethod
    def fit(cls, scan: Bounded) -> Similarity:
        """unit_from_world for a scan of any kind: the longest side of its object becomes 2 * UNIT_HALF_SIDE, centred in the unit box."""
        low, high = scan.object_bounds()
        side = float((high - low).max())
        magnitude = float(np.abs(np.stack([low, high])).max())
        if side <= 64 * np.finfo(float).eps * magnitude:
            raise InputError(f"all points of the scan lie at one place, {low.tolist()}: a surface needs points that differ")
        scale = 2 * UNIT_HALF_SIDE / side
        return cls(scale, -scale * (low + high) / 2)

    def points(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) positions in the target frame."""
        # Scaled after centring: (x - c) is exact for nearby floats, so large offsets cost no digits.
        centre = -self.rotation.T @ self.translation / self.scale
        return self.scale * ((np.asarray(points, float) - centre) @ self.rotation.T)

    def directions(self, vectors: np.ndarray) -> np.ndarray:
        """(N, 3) directions in the target frame; lengths are kept."""
        return np.asarray(vectors, float) @ self.rotation.T

    def after(self, first: Similarity) -> Similarity:
        """The map that does another first, then this."""
        return Similarity(self.scale * first.scale, self.points(first.translation[None])[0], self.rotation @ first.rotation)

    def inverse(self) -> Similarity:
        rotation = self.rotation.T
        return Similarity(1 / self.scale, -(rotation @ self.translation) / self.scale, rotation)

    def matrix(self) -> np.ndarray:
        """(4, 4) homogeneous matrix."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.scale * self.rotation
        matrix[:3, 3] = self.translation
        return matrix


def area_spacing(distance: np.ndarray) -> np.ndarray:
    """(N,) spacing at points whose K nearest neighbours are so far away: sqrt(pi d_k^2 / k), the area per point of an even sampling.

    Args:
        distance: (N, K) rising; k is SPACING_NEIGHBOURS, or K if there are fewer.
    """
    k = min(SPACING_NEIGHBOURS, distance.shape[1])
    return distance[:, k - 1] * np.sqrt(np.pi / k)


@dataclass(frozen=True, eq=False)
class PointCloud:
    """A scan: positions and whatever else the sensor gave.

    Attributes:
        points: (N, 3) float64.
        normals: (N, 3) unit or zero ("unknown"), or None.
        colors: (N, 3) float32 sRGB in [0, 1], or None.
        scalars: name -> (N,) numbers, in the dtype of the file.
        origins: (N, 3) position of the sensor that saw each point, or None.
        crs: the coordinate reference system's text, passed through unread.
        unit: of the coordinates, one of UNITS, passed through; None where nothing tells it.
    Raises:
        InputError: wrong shapes, NaN or infinity.
    """

    points: np.ndarray
    normals: np.ndarray | None = None
    colors: np.ndarray | None = None
    scalars: Mapping[str, np.ndarray] = field(default_factory=dict)
    origins: np.ndarray | None = None
    crs: str | None = None
    unit: str | None = None

    def __post_init__(self):
        object.__setattr__(self, "points", checked_array("points", self.points, (None, 3), np.float64))
        _attributes(self, len(self.points))
        if self.origins is not None:
            origins = checked_array("origins", self.origins, (len(self.points), 3), np.float64)
            object.__setattr__(self, "origins", origins)

    def __len__(self) -> int:
        return len(self.points)

    def bounds(self) -> np.ndarray:
        """(2, 3) lowest and highest corner."""
        return np.stack([self.points.min(0), self.points.max(0)])

    def object_bounds(self) -> np.ndarray:
        """(2, 3) corners of the box of the object: outliers at 100 times its size don't count."""
        return object_bounds(self.points)

    @property
    def content(self) -> tuple[np.ndarray | None, ...]:
        """The arrays that decide the surface."""
        return self.points, self.normals, self.origins

    def spacing(self) -> float:
        """Typical distance between neighbouring points: the side of the square that one point stands for, in the points' units.

        Median over points of area_spacing().
        """
        return self._spacing

    @cached_property
    def _spacing(self) -> float:
        from scipy.spatial import cKDTree

        k = min(SPACING_NEIGHBOURS, len(self) - 1)
        if k < 1:
            raise InputError(f"spacing needs at least 2 points, got {len(self)}")
        step = max(1, len(self) // SPACING_SAMPLE)
        # Few of the points are looked up: what counts is that the tree is quickly built.
        tree = cKDTree(self.points, balanced_tree=False, compact_nodes=False)
        return float(np.median(area_spacing(tree.query(self.points[::step], k + 1, workers=-1)[0][:, 1:])))

    def transformed(self, target_from_source: Similarity) -> PointCloud:
        return replace(
            self,
            points=target_from_source.points(self.points),
            normals=None if self.normals is None else target_from_source.directions(self.normals),
            origins=None if self.origins is None else target_from_source.points(self.origins),
        )

    def distinct(self) -> PointCloud:
        """The cloud without the second and later copies of a position, in the same order."""
        keys = _hashes(self.points)
        ordered = np.sort(keys)
        if not (ordered[1:] == ordered[:-1]).any():
            return self
        _, first, place = np.unique(keys, return_index=True, return_inverse=True)
        if (self.points[first][place.reshape(-1)] != self.points).any():  # two places with one hash: compare the places themselves
            first = np.unique(self.points, axis=0, return_index=True)[1]
        return self if len(first) == len(self) else self[np.sort(first)]

    def __getitem__(self, rows) -> PointCloud:
        """The points that a slice, a mask or an index array selects, with everything they carry."""
        pick = lambda value: None if value is None else value[rows]
        return replace(
            self,
            points=self.points[rows],
            normals=pick(self.normals),
            colors=pick(self.colors),
            origins=pick(self.origins),
            scalars={name: value[rows] for name, value in self.scalars.items()},
        )


def _hashes(points: np.ndarray) -> np.ndarray:
    """(N,) uint64, equal for equal rows of (N, 3) and hardly ever for others."""
    keys = np.zeros(len(points), np.uint64)
    for column, factor in zip(points.T, HASH_FACTORS):
        bits = (column + 0.0).view(np.uint64)  # -0 becomes 0
        bits ^= bits >> np.uint64(29)
        bits *= np.uint64(factor)
        keys ^= bits ^ (bits >> np.uint64(32))
        keys *= np.uint64(HASH_FACTORS[0])
    return keys


def merge(clouds: Sequence[PointCloud]) -> PointCloud:
    """The points of several scans of one frame, in order, with the attributes that all of them have.

    Raises:
        InputError: no scan, or scans that name different coordinate reference systems or units.
    """
    if not clouds:
        raise InputError("there is no scan to merge")
    systems, units = ({getattr(cloud, name) for cloud in clouds} - {None} for name in ("crs", "unit"))
    if len(systems) > 1:
        names = " and ".join(repr(system[:60]) for system in sorted(systems)[:2])
        raise InputError(f"scans in {len(systems)} different coordinate reference systems ({names}) cannot be merged: bring them into one")
    if len(units) > 1:
        raise InputError(f"scans in different units ({', '.join(sorted(units))}) cannot be merged: bring them into one")
    join = lambda parts: None if any(part is None for part in parts) else np.concatenate(parts)
    shared = [name for name in clouds[0].scalars if all(name in cloud.scalars for cloud in clouds)]
    return PointCloud(
        join([cloud.points for cloud in clouds]),
        normals=join([cloud.normals for cloud in clouds]),
        colors=join([cloud.colors for cloud in clouds]),
        scalars={name: join([cloud.scalars[name] for cloud in clouds]) for name in shared},
        origins=join([cloud.origins for cloud in clouds]),
        crs=next(iter(systems), None),
        unit=next(iter(units), None),
    )


def check_extent(cloud: PointCloud) -> None:
    """Refuse points that no surface can be told from.

    Raises:
        InputError: they are at fewer than four places, or on a line, or are too far out or close together for numbers.
    """
    if not len(cloud):
        raise InputError("the scan holds no points")
    far, side = float(np.abs(cloud.points).max()), float(np.ptp(cloud.points, axis=0).max())
    if far > EXTENTS[1]:
        raise InputError(f"its coordinates reach {far:.3g}: more than {EXTENTS[1]:g} can't be computed with, take another unit")
    if side < max(EXTENTS[0], 64 * np.finfo(float).eps * far):
        raise InputError(f"all its points lie at one place, {cloud.points[0].tolist()}: a surface needs points that differ")
    if len(cloud) < SPACING_SAMPLE and (count := len(cloud.distinct())) < LEAST_POINTS:
        raise InputError(f"its points lie at {count} places: a surface needs {LEAST_POINTS} or more")
    offsets = (cloud.points - cloud.points.mean(axis=0)) / side
    spreads = np.sqrt(np.maximum(np.linalg.eigvalsh(offsets.T @ offsets), 0))
    if spreads[1] < THINNEST * spreads[2]:
        raise InputError("all its points lie on one line: a surface needs points beside it")


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh and what its vertices carry.

    Attributes:
        vertices: (V, 3) float64.
        faces: (F, 3) int64 rows of vertices, counter-clockwise from outside.
        normals: (V, 3) unit, outward, or None.
        colors: (V, 3) float32 sRGB in [0, 1], or None.
        scalars: name -> (V,) numbers, `confidence` in [0, 1] among them after a reconstruction.
        crs, unit: passed through from the scan.
    Raises:
        InputError: wrong shapes, NaN or infinity, a face that names a vertex that isn't there.
    """

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray | None = None
    colors: np.ndarray | None = None
    scalars: Mapping[str, np.ndarray] = field(default_factory=dict)
    crs: str | None = None
    unit: str | None = None

    def __post_init__(self):
        object.__setattr__(self, "vertices", checked_array("vertices", self.vertices, (None, 3), np.float64))
        object.__setattr__(self, "faces", checked_array("faces", self.faces, (None, 3), np.int64))
        if len(self.faces) and not (0 <= self.faces.min() and self.faces.max() < len(self.vertices)):
            bad = int(self.faces.max() if self.faces.min() >= 0 else self.faces.min())
            raise InputError(f"a face names vertex {bad}, but there are {len(self.vertices)} vertices")
        _attributes(self, len(self.vertices))

    def bounds(self) -> np.ndarray:
        """(2, 3) lowest and highest corner."""
        return np.stack([self.vertices.min(0), self.vertices.max(0)])

    def triangles(self) -> np.ndarray:
        """(F, 3, 3) corner positions."""
        return self.vertices[self.faces]

    def area_vectors(self) -> np.ndarray:
        """(F, 3) normal of each face times its area."""
        a, b, c = np.moveaxis(self.triangles(), 1, 0)
        return np.cross(b - a, c - a) / 2

    def area(self) -> float:
        return float(np.linalg.norm(self.area_vectors(), axis=1).sum())

    def volume(self) -> float:
        """Signed volume: positive for a closed mesh whose faces are counter-clockwise from outside."""
        if not len(self.faces):
            return 0.0
        a, b, c = np.moveaxis(self.triangles() - self.vertices.mean(0), 1, 0)
        return float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6)

    def vertex_normals(self) -> np.ndarray:
        """(V, 3) unit normals: the mean of the faces around each vertex, weighted by area; zero where there is none."""
        normals = np.zeros((len(self.vertices), 3))
        vectors = self.area_vectors()
        for axis in range(3):
            normals[:, axis] = np.bincount(self.faces.ravel(), np.repeat(vectors[:, axis], 3), len(self.vertices))
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(float).tiny)

    def transformed(self, target_from_source: Similarity) -> Mesh:
        return replace(
            self,
            vertices=target_from_source.points(self.vertices),
            normals=None if self.normals is None else target_from_source.directions(self.normals),
        )


@dataclass(frozen=True, eq=False)
class TexturedMesh:
    """A triangle mesh and a picture of its surface, which takes the place of colours at vertices.

    Attributes:
        mesh: its faces share vertices as ever: where the picture is cut, the surface isn't.
        uv: (F, 3, 2) float64 in [0, 1] where each face's corners lie in the picture: (0, 0) is its upper left corner, (1, 1) its lower
            right one; column and row times width and height, as positions of pixels are everywhere here.
        image: (H, W, 3) uint8 sRGB.
    Raises:
        InputError: wrong shapes, NaN or infinity, a place outside of the picture.
    """

    mesh: Mesh
    uv: np.ndarray
    image: np.ndarray

    def __post_init__(self):
        uv = checked_array("uv", self.uv, (len(self.mesh.faces), 3, 2), np.float64)
        if len(uv) and not (uv.min() >= 0 and uv.max() <= 1):
            raise InputError(f"uv must be in [0, 1], got values from {uv.min():.6g} to {uv.max():.6g}")
        image = np.asarray(self.image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise InputError(f"the image of a texture must be (H, W, 3) of uint8, got {image.shape} of {image.dtype}")
        object.__setattr__(self, "uv", uv)
        object.__setattr__(self, "image", checked_array("image", image, image.shape, np.uint8))

    def pixels(self, face: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(N, 2) positions in the picture of places on faces (N,) that are their corners' means by weights (N, 3)."""
        return np.einsum("nk,nki->ni", weights, self.uv[face]) * self.image.shape[1::-1]


def object_bounds(points: np.ndarray) -> np.ndarray:
    """(2, 3) box of the points that belong to the object: those within one core side of the core box (see CORE_QUANTILE)."""
    if len(points) == 0:
        raise InputError("the scan holds no points")
    low, high = np.quantile(points, [CORE_QUANTILE, 1 - CORE_QUANTILE], axis=0)
    margin = CORE_GROWTH * (high - low).max()
    kept = points[((points >= low - margin) & (points <= high + margin)).all(axis=1)]
    return np.stack([kept.min(0), kept.max(0)])


def directions_around(count: int) -> np.ndarray:
    """(count, 3) unit vectors, evenly spread: the Fibonacci sphere."""
    i = np.arange(count) + 0.5
    z, turn = 1 - 2 * i / count, np.pi * (1 + np.sqrt(5)) * i
    r = np.sqrt(1 - z**2)
    return np.stack([r * np.cos(turn), r * np.sin(turn), z], axis=1)
