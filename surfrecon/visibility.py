"""Which views see which places of a mesh, and how well: a depth map of the mesh in every view, with less trust the nearer to its edges.

A place is seen by a view when it lies in the frame and in the mask, faces the camera by more than STEEPEST allows, and no deeper than the
depth map's next pixel tells, give or take a pixel's width on the slope. Depth is known to a pixel, so tolerances are widths of a pixel at
the place's depth: they follow the photographs, not the mesh, whose edges may be longer than the gap between two of its own sheets.

How well is the weight f^2 / z^2 * c^2 * e: pixels on a unit of area seen straight on, the slope c (0 at STEEPEST, 1 straight on) once
because the area shrinks and once because errors of shape shift what is seen aslant, and the distance e to the next edge in the picture:
of the mesh, of a part that hides another, of the mask or of the frame, where pixels mix. Weights fall to 0 there, so seams don't show.

Letters: V views, N places, F faces, H and W rows and columns of a depth map. World frame, pixels and depth as in views.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh
from surfrecon.pictures import Scene
from surfrecon.run import Run
from surfrecon.views import Views, nearest

STEEPEST = np.radians(80.0)  # between sight and normal: beyond, neighbouring pixels lie six widths apart and more, as across a gap
FEATHER = 4.0  # pixels from an edge over which weights rise from 0 to 1; the edge's own pixels, which mix two things, get 0
SLACK = 1.5  # pixels' widths, on what faces the camera: a place is up to 0.7 pixels from the ray that tells its depth
MOST_RAYS = 1 << 25  # of all depth maps together, about ten seconds and 200 MB; larger photographs get coarser maps
BAND = 1 << 18  # rays at a time


@dataclass(frozen=True, eq=False)
class Sight:
    """What one view sees of N places.

    Attributes:
        rows: (S,) which of them.
        pixels: (S, 2) where, float32 like what follows.
        cosine: (S,) of the angle between the surface's normal and the direction to the camera, > cos STEEPEST.
        density: (S,) pixels along a unit of length at that depth, seen straight on.
        weight: (S,) > 0, see above, in pixels per unit area.
    """

    rows: np.ndarray
    pixels: np.ndarray
    cosine: np.ndarray
    density: np.ndarray
    weight: np.ndarray


@dataclass(frozen=True, eq=False)
class _Map:
    """Depth (H, W), 0 where nothing is, and trust (H, W) in [0, 1] of a part of one view's frame.

    Attributes:
        corner: (2,) column and row of the part's first pixel in the whole map.
        ratio: (2,) map pixels per pixel of the photograph.
    """

    depth: np.ndarray
    trust: np.ndarray
    corner: np.ndarray
    ratio: np.ndarray


class Visibility:
    """A mesh as the views have it before them."""

    def __init__(self, mesh: Mesh, views: Views, run: Run | None = None):
        """
        Args:
            mesh: world frame; what hides what.
            views: of any sizes, with masks or without.
            run: hears how far it is.
        Raises:
            InputError: a mesh without faces.
        """
        if not len(mesh.faces):
            raise InputError("the mesh has no faces, so views see nothing of it")
        self.mesh, self.views, run = mesh, views, run or Run()
        scene, pixels = Scene(mesh), views.sizes.prod(axis=1).sum()
        factor = min(1.0, float(np.sqrt(MOST_RAYS / pixels)))
        self.maps = []
        for view in range(len(views)):
            self.maps.append(_map(scene, views, view, factor))
            run.step("visibility", view + 1, len(views))

    def sight(self, view: int, places: np.ndarray, normals: np.ndarray) -> Sight:
        """What a view sees of places (N, 3) on the mesh, whose unit normals are (N, 3)."""
        views, part = self.views, self.maps[view]
        # From the camera on float32 does: a 1e-7th of the distance is far less than a pixel's width.
        offset = (places - views.centres[view]).astype(np.float32)
        distance = np.sqrt(np.einsum("ni,ni->n", offset, offset))
        cosine = -np.einsum("ni,ni->n", offset, normals.astype(np.float32)) / np.maximum(distance, np.finfo(np.float32).tiny)
        rows = np.flatnonzero(cosine > np.cos(STEEPEST))
        camera = offset[rows] @ views.cam_from_world[view, :, :3].T.astype(np.float32)
        depth = np.ascontiguousarray(camera[:, 2])
        x, y = (camera @ views.intrinsics[view, :2].T.astype(np.float32)).T / np.where(depth > 0, depth, np.nan)
        height, width = part.depth.shape
        column, row = x * np.float32(part.ratio[0]) - part.corner[0], y * np.float32(part.ratio[1]) - part.corner[1]
        with np.errstate(invalid="ignore"):  # NaN, behind the camera, is nowhere
            inside = np.flatnonzero((column >= 0) & (column < width) & (row >= 0) & (row < height))
        rows, depth, column, row = rows[inside], depth[inside], column[inside], row[inside]
        there, cosine = part.depth[row.astype(np.int32), column.astype(np.int32)], np.minimum(cosine[rows], 1)
        density = _focal(views, view) / depth
        tolerance = (SLACK + np.sqrt(1 - cosine**2) / cosine) / (density * part.ratio.min())
        met = np.flatnonzero((there > 0) & (np.abs(depth - there) < tolerance))
        trust = bilinear(part.trust, np.stack([column[met], row[met]], axis=1))
        met, trust = met[trust > 0], trust[trust > 0]
        rows, cosine, density = rows[met], cosine[met], density[met]
        facing = (cosine - np.cos(STEEPEST)) / (1 - np.cos(STEEPEST))
        pixels = np.stack([x[inside[met]], y[inside[met]]], axis=1)
        return Sight(rows, pixels, cosine, density, density**2 * facing**2 * trust)


def seen(mesh: Mesh, views: Views, *, run: Run | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Which views see which vertices (V, vertices) and the middles of which faces (V, F), bool."""
    visibility = Visibility(mesh, views, run)
    normals = mesh.area_vectors()
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(float).tiny)
    found = []
    for places, upward in ((mesh.vertices, mesh.vertex_normals()), (mesh.triangles().mean(axis=1), normals)):
        shown = np.zeros((len(views), len(places)), bool)
        for view in range(len(views)):
            shown[view, visibility.sight(view, places, upward).rows] = True
        found.append(shown)
    return found[0], found[1]


def bilinear(image: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(N,) or (N, C) float32 values of an image (H, W) or (H, W, C) at (N, 2) pixel positions; beyond its middles the border's go on."""
    height, width = image.shape[:2]
    x, y = np.clip(at[:, 0] - 0.5, 0, width - 1), np.clip(at[:, 1] - 0.5, 0, height - 1)
    left, top = np.minimum(x.astype(np.int32), max(width - 2, 0)), np.minimum(y.astype(np.int32), max(height - 2, 0))
    fx, fy = (x - left).astype(np.float32), (y - top).astype(np.float32)
    flat, first = image.reshape(height * width, *image.shape[2:]), top * width + left
    right, below = min(1, width - 1), min(1, height - 1) * width
    if image.ndim == 3:
        fx, fy = fx[:, None], fy[:, None]
    upper, lower = ((1 - fx) * flat[first + at] + fx * flat[first + at + right] for at in (0, below))
    return (1 - fy) * upper + fy * lower


def _focal(views: Views, view: int) -> float:
    return float(np.sqrt(views.intrinsics[view, 0, 0] * views.intrinsics[view, 1, 1]))


def _map(scene: Scene, views: Views, view: int, factor: float) -> _Map:
    size = np.maximum(1, np.round(views.sizes[view] * factor)).astype(int)
    ratio = size / views.sizes[view]
    pixels, depth = views.project(view, scene.mesh.vertices)
    low, high = np.zeros(2, int), size
    if (depth > 0).all():  # else what lies behind the camera tells no box
        low, high = (np.clip(box * ratio, 0, size).astype(int) for box in (pixels.min(0), pixels.max(0) + 1))
    low = np.clip(low - 1, 0, size - 1)  # with a rim of background, so that the outline is an edge
    width, height = np.clip(high + 1, low + 1, size) - low
    found = np.zeros(height * width, np.float32)
    for start in range(0, len(found), BAND):
        number = np.arange(start, min(start + BAND, len(found)))
        middles = np.stack([number % width, number // width], axis=1) + 0.5 + low
        origins, directions = views.rays(view, middles / ratio)
        distance, face, _ = scene.hits(origins, directions)
        hit = face >= 0
        found[number[hit]] = distance[hit] * (directions[hit] @ views.directions[view])
    found = found.reshape(height, width)
    good = found > 0
    if views.masks is not None:
        part = tuple(slice(lo, lo + side) for lo, side in zip(low[::-1], (height, width)))
        mask = views.masks[view] if factor == 1 else nearest(views.masks[view], size)
        good &= binary_erosion(mask, border_value=1)[part]
    good &= ~_edges(found, np.tan(STEEPEST) / (_focal(views, view) * ratio.min()))
    framed = np.pad(good, 1)  # the frame's border, or the background about the box
    away = distance_transform_edt(framed)[1:-1, 1:-1]
    return _Map(found, np.minimum(away / FEATHER, 1).astype(np.float32) * good, low, ratio)


def _edges(depth: np.ndarray, step: float) -> np.ndarray:
    """(H, W) pixels beside a jump: to or from nothing, or by more than `step` times the depth."""
    edge = np.zeros(depth.shape, bool)
    for axis in (0, 1):
        first, second = (slice(None, -1),), (slice(1, None),)
        if axis:
            first, second = (slice(None), *first), (slice(None), *second)
        a, b = depth[first], depth[second]
        jump = np.abs(a - b) > step * np.minimum(a, b)
        edge[first] |= jump
        edge[second] |= jump
    return edge
