"""A picture of a surface from photographs: fewer faces, laid out flat, each texel blended from the views that see its place.

The mesh carries the shape, the picture the rest: a texel is about a pixel of the photographs, so nothing they show is lost, whatever the
faces' size. Where nobody looked, the colours of the vertices go on, which spread from what was seen; towards such places the views' weights
fall to 0, so that the one runs into the other.

Letters: F faces, T texels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import distance_transform_edt

from surfrecon.appearance import appearance, colored_by
from surfrecon.atlas import Texels, filling, texels, unwrapped
from surfrecon.decimation import LEAST_FACES, decimated
from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, TexturedMesh
from surfrecon.run import Run
from surfrecon.views import Views
from surfrecon.visibility import Visibility

LEAST_SIDE, USUAL_SIDE, LARGEST_SIDE = 16, 2048, 8192  # texels; larger than usual only where asked for: half a minute and 8 MB a picture
SAMPLED = 20_000  # faces whose pixels are counted; more would not change the median
COARSER = 1.5  # pixels along the side of a texel, from which photographs are scaled down
BATCH = 1 << 18  # texels at a time
FAINT = 0.02  # weight of the vertices' colours, of that of a typical view straight on
OVERSAMPLED = 1.5  # texels along the side of a pixel, seen straight on: views' pixels lie between each other's (0.4 dB more than 1)


def textured(mesh: Mesh, views: Views, *, faces: int = 20_000, size: int | None = None, run: Run | None = None) -> TexturedMesh:
    """The surface with at most so many faces and a picture of it, baked from photographs.

    Args:
        mesh: in the views' frame; one that is closed and manifold stays so.
        views: the photographs, in their masks where there are any.
        faces: to keep; more are kept where fewer would tear or pinch the surface. Up to 20,000 are laid out in charts where xatlas is
            installed, more lie each by itself.
        size: of the picture's longer side in texels, more where each face lies by itself and they need more; None makes a texel a
            little smaller than a pixel on the surface, and the side USUAL_SIDE at most.
        run: progress.
    Returns:
        The mesh without colours at its vertices, with normals and the scalars `views` and `confidence` of colored().
    Raises:
        InputError: options out of range, a mesh without faces, or none of whose vertices any view sees.
    """
    if faces < LEAST_FACES:
        raise InputError(f"a textured mesh needs {LEAST_FACES} faces or more, got {faces}")
    if size is not None and not LEAST_SIDE <= size <= LARGEST_SIDE:
        raise InputError(f"the size of a texture must be {LEAST_SIDE} to {LARGEST_SIDE} texels, got {size}")
    run = run or Run()
    with run.stage("texture"):
        small = decimated(mesh, faces)
        visibility = Visibility(small, views, run)
        small = colored_by(visibility, run=run)
        density = _density(visibility)
        side = density * np.sqrt(small.area() / filling(small))  # with texels as large as pixels
        size = size or int(np.clip(np.ceil(OVERSAMPLED * side), LEAST_SIDE, USUAL_SIDE))
        if side > COARSER * size:  # pixels between texels would be passed over: they are averaged first
            visibility, density = Visibility(small, views.scaled(size / side), run), density * size / side
        uv, shape = unwrapped(small, size)
        image = _baked(visibility, small, uv, texels(uv, shape), shape, density, run)
    bare = replace(small, colors=None, normals=small.vertex_normals())
    return TexturedMesh(bare, np.clip(uv / shape[::-1], 0, 1), image)


def _density(visibility: Visibility) -> float:
    """Pixels along a unit of length on the surface: over the faces that are seen, the median of the best view's."""
    mesh = visibility.mesh
    some = slice(None, None, max(1, len(mesh.faces) // SAMPLED))
    normals = mesh.area_vectors()[some]
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(float).tiny)
    middles, best = mesh.triangles()[some].mean(axis=1), np.zeros(len(normals))
    for view in range(len(visibility.views)):
        sight = visibility.sight(view, middles, normals)
        best[sight.rows] = np.maximum(best[sight.rows], sight.density)
    return float(np.median(best[best > 0])) if best.any() else np.sqrt(len(mesh.faces) / mesh.area())


def _baked(
    visibility: Visibility, mesh: Mesh, uv: np.ndarray, cover: Texels, shape: tuple[int, int], density: float, run: Run
) -> np.ndarray:
    """(H, W, 3) uint8 picture of a mesh with colours, whose faces' corners lie at uv (F, 3, 2), in texels."""
    normals, faint = mesh.vertex_normals(), FAINT * density**2
    image, empty = np.zeros((*shape, 3), np.uint8), np.ones(shape, bool)
    for start in range(0, len(cover.face), BATCH):
        part = slice(start, start + BATCH)
        weights, corners = cover.weights[part], mesh.faces[cover.face[part]]
        within = np.clip(weights, 0, 1)  # on the face, for what must not run on beyond it
        within /= within.sum(axis=1, keepdims=True)
        places, upward, own = (
            np.einsum("tk,tki->ti", share, values[corners])
            for share, values in ((weights, mesh.vertices), (within, normals), (within, 255 * mesh.colors))
        )
        upward /= np.maximum(np.linalg.norm(upward, axis=1, keepdims=True), np.finfo(float).tiny)
        shown = appearance(visibility, places, upward)
        weight = shown.weight[:, None]
        mixed = (weight * shown.colors + faint * own) / (weight + faint)
        image[cover.row[part], cover.column[part]] = np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
        empty[cover.row[part], cover.column[part]] = False
        run.step("texture", min(part.stop, len(cover.face)), len(cover.face))
    if empty.any() and not empty.all():  # the nearest colour everywhere, for viewers that look at smaller copies of the picture
        rows, columns = distance_transform_edt(empty, return_distances=False, return_indices=True)
        image = image[rows, columns]
    return image
