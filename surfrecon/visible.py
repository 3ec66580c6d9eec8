"""What cameras see of a mesh: the face and the depth behind every pixel, by rays through pixels' middles.

Letters: V vertices, H and W rows and columns of one view. Pixels, axes and depth as in views.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from surfrecon.geometry import Mesh
from surfrecon.pictures import BAND, Scene, as_bytes
from surfrecon.views import Views


@dataclass(frozen=True, eq=False)
class Seen:
    """One view of a mesh.

    Attributes:
        depth: (H, W) float64, world units, 0 where the ray meets nothing.
        face: (H, W) int64, -1 where it meets nothing.
        weights: (H, W, 3) float32, of the face's corners.
    """

    depth: np.ndarray
    face: np.ndarray
    weights: np.ndarray

    @property
    def hit(self) -> np.ndarray:
        """(H, W) bool: the silhouette."""
        return self.face >= 0


def seen(scene: Scene, views: Views, view: int) -> Seen:
    """What one view sees of a scene's mesh."""
    width, height = views.sizes[view]
    depth, face = np.zeros(height * width), np.full(height * width, -1, np.int64)
    weights = np.zeros((height * width, 3), np.float32)
    columns, rows = _window(scene.mesh, views, view)
    pixel = (rows[:, None] * width + columns).ravel()
    for start in range(0, len(pixel), BAND):
        part = pixel[start : start + BAND]
        origins, directions = views.rays(view, np.stack([part % width, part // width], axis=1) + 0.5)
        distance, face[part], weights[part] = scene.hits(origins, directions)
        hit = np.isfinite(distance)
        depth[part[hit]] = distance[hit] * (directions[hit] @ views.directions[view])
    return Seen(depth.reshape(height, width), face.reshape(height, width), weights.reshape(height, width, 3))


def _window(mesh: Mesh, views: Views, view: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of the pixels in the box around the vertices' pictures; all where a vertex lies behind the camera."""
    size = views.sizes[view]
    place, depth = views.project(view, mesh.vertices)
    low, high = np.zeros(2, int), size
    if (depth > 0).all() and len(place):
        low = np.clip(np.floor(place.min(0)), 0, size).astype(int)
        high = np.clip(np.ceil(place.max(0)), 0, size).astype(int)
    return np.arange(low[0], high[0]), np.arange(low[1], high[1])


def painted(mesh: Mesh, views: Views, view: int, *, scene: Scene | None = None) -> np.ndarray:
    """(H, W, 3) uint8 picture of a mesh in the colours of its vertices as they are, without any light; black where there is no mesh.

    Args:
        mesh: with colours.
        scene: of the same mesh, where several pictures are made.
    """
    what = seen(scene or Scene(mesh), views, view)
    picture = np.zeros((*what.face.shape, 3))
    face = what.face[what.hit]
    picture[what.hit] = np.einsum("nk,nki->ni", what.weights[what.hit], mesh.colors[mesh.faces[face]])
    return as_bytes(picture)
