"""What a run's page shows of the mesh: a light copy for the browser, pictures from six sides, and how far the scan's points are from it.

Letters: N points, V vertices, F faces. World frame.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from surfrecon.face_distance import nearby
from surfrecon.geometry import Mesh, PointCloud, Similarity
from surfrecon.pictures import SIDES, VIRIDIS, Scene, colormap, cut_outs, side_cameras
from surfrecon.reconstruction import CONFIDENT_SPACINGS, TRIM_SPACINGS
from surfrecon.repair import trim

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

    from surfrecon.views import Views


MOST_FACES = 60_000  # of the light copy: about 1 MB in the page
CLUSTERED = 250_000  # faces: larger meshes are clustered to about as many first, since edges are collapsed at 2 microseconds a face
FACES_PER_CELL = 3  # that clusters of side h leave of each h^2 of surface
MOST_POINTS = 30_000  # whose distances are looked up: more would not change the histogram
MOST_MEANS = 8  # vertices that one of the light copy stands for, at most
SIZE = 256, 192  # pixels of a picture
AGREEING = 0.3  # length of the cameras' mean direction upward from which they agree
QUALITY = 88  # of WebP
SEEN = float(np.exp(-((TRIM_SPACINGS / CONFIDENT_SPACINGS) ** 2)))  # confidence below which reconstruct() trims a sheet
SCALE = 65535  # positions are whole numbers up to it: 1/65535 of the box


def some_points(scan: PointCloud, seed: int) -> np.ndarray:
    """(N, 3) all points of a scan, or MOST_POINTS of them, picked at random."""
    if len(scan) <= MOST_POINTS:
        return scan.points
    return scan.points[np.random.default_rng(seed).choice(len(scan), MOST_POINTS, replace=False, shuffle=False)]


def tree_of(mesh: Mesh) -> cKDTree:
    """The mesh's vertices, to be asked for the nearest."""
    from scipy.spatial import cKDTree

    return cKDTree(mesh.vertices, balanced_tree=False, compact_nodes=False)  # asked too little for a balanced one to pay


def light(mesh: Mesh, tree: cKDTree) -> Mesh:
    """A mesh of few faces that looks like one of many, with its colours and confidence where it has them.

    Args:
        tree: of the mesh's vertices.
    """
    vertices, faces = _collapsed(mesh)
    count = int(np.clip(round(len(mesh.vertices) / max(len(vertices), 1)), 1, MOST_MEANS))
    near = tree.query(vertices, count, workers=-1)[1].reshape(len(vertices), count)
    scalars = {name: values[near].mean(axis=1) for name, values in mesh.scalars.items() if name == "confidence"}
    return Mesh(vertices, faces, colors=None if mesh.colors is None else mesh.colors[near].mean(axis=1), scalars=scalars)


def upright(mesh: Mesh, views: Views) -> Mesh:
    """The mesh turned so that z is up as those who took photographs held their cameras; as it is where they held them all ways."""
    up = -views.cam_from_world[:, 1, :3].mean(axis=0)
    if np.linalg.norm(up) < AGREEING:
        return mesh
    up /= np.linalg.norm(up)
    ahead = np.eye(3)[np.abs(up).argmin()]
    right = np.cross(ahead, up) / np.linalg.norm(np.cross(ahead, up))
    return mesh.transformed(Similarity(rotation=np.stack([right, np.cross(up, right), up])))


def scanned_part(mesh: Mesh) -> Mesh:
    """The faces that lie near points of the scan, as reconstruct() trims a sheet; all where none does."""
    return trim(mesh, mesh.scalars["confidence"] >= SEEN) or mesh


def view_data(mesh: Mesh) -> dict[str, Any]:
    """A mesh for view.js: little-endian arrays in base64, positions in the box of the mesh."""
    low, high = mesh.bounds()
    extent = high - low
    places = np.rint((mesh.vertices - low) / np.where(extent > 0, extent, 1) * SCALE)
    wide = len(mesh.vertices) > SCALE
    confidence = mesh.scalars.get("confidence")
    return {
        "extent": extent.tolist(),
        "positions": _base64(places.astype("<u2")),
        "wide": wide,
        "faces": _base64(mesh.faces.astype("<u4" if wide else "<u2")),
        "colors": None if mesh.colors is None else _base64(_bytes(mesh.colors)),
        "confidence": None if confidence is None else _base64(_bytes(confidence)),
        "seen": round(255 * SEEN),
        "colormap": VIRIDIS.tolist(),
    }


def pictures(mesh: Mesh) -> list[tuple[str, list[str]]]:
    """Each side's name and its pictures as data: URLs: as it looks and, where that is known, by confidence."""
    scene = Scene(mesh)
    paints = [mesh.colors, *[colormap(values) for name, values in mesh.scalars.items() if name == "confidence"]]
    drawn = [cut_outs(mesh, camera, scene=scene, paints=paints) for camera in side_cameras(SIZE)]
    return [(side, [picture_url(image) for image in images]) for side, images in zip(SIDES, drawn)]


def picture_url(image: np.ndarray) -> str:
    """A picture (H, W, 3 or 4) uint8 as a data: URL."""
    from PIL import Image, features

    kind = "WebP" if features.check("webp") else "PNG"
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind, quality=QUALITY, method=2)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(content.getvalue()).decode()}"


def residuals(scan: PointCloud, mesh: Mesh, tree: cKDTree, seed: int) -> np.ndarray:
    """(N,) distances from some of a scan's points to the mesh, in world units."""
    return nearby(some_points(scan, seed), mesh, tree)


def _collapsed(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """(V, 3) vertices and (F, 3) faces, at most about MOST_FACES, of the mesh with short edges collapsed."""
    import fast_simplification

    if len(mesh.faces) <= MOST_FACES:
        return mesh.vertices, mesh.faces
    middle = mesh.vertices.mean(axis=0)
    vertices, faces = mesh.vertices - middle, mesh.faces
    if len(faces) > CLUSTERED:
        step = -(-len(faces) // CLUSTERED)
        area = step * Mesh(vertices, faces[::step]).area()  # of some faces: of all of them it would take 200 bytes a face
        vertices, faces = _clustered(vertices, faces, np.sqrt(FACES_PER_CELL * area / CLUSTERED))
    radius = np.abs(vertices).max()
    vertices, faces = fast_simplification.simplify(
        (vertices / radius).astype(np.float32), np.ascontiguousarray(faces, np.int32), target_count=MOST_FACES
    )
    return vertices * radius + middle, faces


def _clustered(vertices: np.ndarray, faces: np.ndarray, side: float) -> tuple[np.ndarray, np.ndarray]:
    """The mesh with all vertices in one cell of a lattice as one, at their mean."""
    cells = np.floor((vertices - vertices.min(axis=0)) / side).astype(np.int64)
    _, cell, count = np.unique(np.ravel_multi_index(cells.T, cells.max(axis=0) + 1), return_inverse=True, return_counts=True)
    means = np.stack([np.bincount(cell, column) for column in vertices.T], axis=1) / count[:, None]
    faces = cell[faces]
    kept = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    return means, faces[kept]


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
