"""Whether photographs agree on a surface: what one view shows there is carried over to the next, and patches are correlated.

A mesh that is right, under cameras that are right, carries a neighbour's picture over so that it looks like the reference's. Each pixel is
carried by its own surface point, not a patch by its plane: the warp is the true one, also where the surface bends within a patch.

Letters: V views, P pairs of a reference and a neighbour, M pixels of the reference that see the mesh. Frames and pixels as in views.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates, uniform_filter

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh
from surfrecon.pictures import Scene
from surfrecon.stereo import neighbours
from surfrecon.views import Views
from surfrecon.visible import Seen, seen

LUMA = np.array([0.299, 0.587, 0.114]) / 255  # Rec. 601
LONGEST_SIDE = 800  # pixels: larger views are scaled down, noise and half pixels of doubt with them
PARTNERS = 4  # neighbours of each view
LEAST_CONTRAST = 2 / 255  # standard deviation of grey in a patch, below which quantisation and noise decide
QUANTISED = 0.29 / 255  # standard deviation that rounding to whole greys makes
FILLED = 0.6  # share of a patch that both views must see
LEAST_COSINE = 0.25  # between normal and ray, in either view: beyond 75 degrees a pixel covers four pixels' lengths
OCCLUDED = 0.005  # of the mesh's diagonal: a surface this far before a point hides it
WHOLE = 0.999  # a bilinear mix of flags that are all set


@dataclass(frozen=True, eq=False)
class Consistency:
    """How well views agree on a mesh by normalised cross-correlation (NCC) of patches; 1 is perfect.

    Attributes:
        ncc: mean over all patches with texture; NaN where there is none.
        per_view: (V,) upper median over the pairs that a view is in, as reference or as neighbour; NaN where it is in none. A bad camera
            must not spoil what is told of the good ones around it, even where they have but two neighbours.
        pairs: (P, 2) rows of views, reference and neighbour.
        pair_ncc: (P,) mean over a pair's patches.
        pair_patches: (P,) their number.
        textureless: share of the patches seen in both views that was left out for want of contrast.
        names: of the V views.
    """

    ncc: float
    per_view: np.ndarray
    pairs: np.ndarray
    pair_ncc: np.ndarray
    pair_patches: np.ndarray
    textureless: float
    names: tuple[str, ...]

    @property
    def patches(self) -> int:
        return int(self.pair_patches.sum())


def photo_consistency(
    mesh: Mesh,
    views: Views,
    *,
    patch: int = 11,
    partners: list[np.ndarray] | None = None,
    longest_side: int = LONGEST_SIDE,
    least_contrast: float = LEAST_CONTRAST,
) -> Consistency:
    """How well each view agrees with its neighbours about the mesh.

    Where there are masks, only what both call object is compared: whether the mesh fits its outlines is another question, which
    silhouette_iou() answers.

    Args:
        mesh: world frame.
        views: two or more.
        patch: pixels along a patch, odd; every pixel is the middle of one.
        partners: for each view the rows of its neighbours; None takes nearest_neighbours().
        longest_side: pixels.
        least_contrast: standard deviation of grey, in [0, 1], that the reference's patch must have.
    Raises:
        InputError: an even patch, a mesh without faces.
    """
    if patch < 3 or patch % 2 == 0:
        raise InputError(f"a patch must be an odd number of pixels, 3 or more, got {patch}")
    if not len(mesh.faces):
        raise InputError("photographs can't be held against a mesh without faces")
    partners = nearest_neighbours(views) if partners is None else partners
    if views.sizes.max() > longest_side:
        views = views.scaled(longest_side / views.sizes.max())
    comparer = _Comparer(mesh, views, patch, least_contrast)
    pairs, sums, counts, plain = [], [], [], 0
    for reference, row in enumerate(partners):
        for neighbour in row:
            ncc, textureless = comparer.compare(reference, int(neighbour))
            plain += textureless
            pairs.append((reference, int(neighbour)))
            sums.append(float(ncc.sum()))
            counts.append(len(ncc))
    pairs, counts = np.array(pairs, np.int64).reshape(-1, 2), np.array(counts, np.int64)
    total = int(counts.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        pair_ncc = np.array(sums, float) / counts
    return Consistency(
        ncc=float(np.sum(sums)) / total if total else float("nan"),
        per_view=_upper_medians(len(views), pairs, pair_ncc),
        pairs=pairs,
        pair_ncc=pair_ncc,
        pair_patches=counts,
        textureless=plain / max(1, plain + total),
        names=views.names,
    )


def nearest_neighbours(views: Views) -> list[np.ndarray]:
    """For each view the PARTNERS whose cameras are nearest, of those that can be matched with it."""
    result = []
    for view, row in enumerate(neighbours(views)):
        away = np.linalg.norm(views.centres[row] - views.centres[view], axis=1)
        result.append(row[np.argsort(away, kind="stable")[:PARTNERS]])
    return result


def _upper_medians(count: int, pairs: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(V,) upper median of the values (P,) of the pairs that each view is in; NaN where none is known."""
    found = np.full(count, np.nan)
    for view in range(count):
        own = values[(pairs == view).any(axis=1) & np.isfinite(values)]
        if len(own):
            found[view] = np.sort(own)[len(own) // 2]
    return found


class _Comparer:
    """A mesh, what each view sees of it, and its pictures in grey."""

    def __init__(self, mesh: Mesh, views: Views, patch: int, least_contrast: float):
        self.views, self.patch, self.least_contrast = views, patch, least_contrast
        scene = Scene(mesh)
        vectors = mesh.area_vectors()
        self.normals = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(float).tiny)
        self.reach = OCCLUDED * float(np.linalg.norm(np.ptp(mesh.bounds(), axis=0)))
        self.seen: list[Seen] = [seen(scene, views, view) for view in range(len(views))]
        self.grey = [image @ LUMA for image in views.images]

    def compare(self, reference: int, neighbour: int) -> tuple[np.ndarray, int]:
        """NCC (K,) of the patches with texture around pixels that both views see, and how many more lack it."""
        here = self.seen[reference]
        usable = here.hit if self.views.masks is None else here.hit & self.views.masks[reference]
        row, column = np.nonzero(usable)
        if not len(row):
            return np.empty(0), 0
        origins, directions = self.views.rays(reference, np.stack([column, row], axis=1) + 0.5)
        lengths = here.depth[row, column] / (directions @ self.views.directions[reference])
        normals = self.normals[here.face[row, column]]
        facing = np.einsum("ni,ni->n", normals, directions) < -LEAST_COSINE
        grey, visible = self._carried(neighbour, origins + lengths[:, None] * directions, normals)
        kept = facing & visible
        if not kept.any():
            return np.empty(0), 0
        row, column = row[kept], column[kept]
        top, left = row.min(), column.min()
        shape = (row.max() - top + 1, column.max() - left + 1)
        a, b, shared = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        inside = row - top, column - left
        a[inside], b[inside], shared[inside] = self.grey[reference][row, column], grey[kept], 1
        n, mean_a, mean_b, aa, bb, ab = (self._window_means(item) for item in (shared, a, b, a * a, b * b, a * b))
        whole = (shared > 0) & (n >= FILLED - 1e-9)
        n, mean_a, mean_b, aa, bb, ab = (item[whole] for item in (n, mean_a, mean_b, aa, bb, ab))
        var_a, var_b = (square / n - (mean / n) ** 2 for square, mean in ((aa, mean_a), (bb, mean_b)))
        textured = var_a >= self.least_contrast**2
        both = ab / n - mean_a * mean_b / n**2
        ncc = both[textured] / np.sqrt(var_a[textured] * np.maximum(var_b[textured], QUANTISED**2))
        return np.clip(ncc, -1, 1), int((~textured).sum())

    def _window_means(self, values: np.ndarray) -> np.ndarray:
        return uniform_filter(values, self.patch, mode="constant")

    def _carried(self, neighbour: int, points: np.ndarray, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(M,) grey at the neighbour's pictures of points (M, 3), linear between pixels, and (M,) whether it sees them."""
        views, there = self.views, self.seen[neighbour]
        place, depth = views.project(neighbour, points)
        place = np.nan_to_num(place, nan=-1e6)
        at = np.stack([place[:, 1], place[:, 0]]) - 0.5
        usable = there.hit if views.masks is None else there.hit & views.masks[neighbour]
        visible = _linear(usable.astype(float), at) > WHOLE
        # Inverse depth is linear in pixels on a plane: its interpolation is exact there.
        nearest = 1 / np.maximum(_linear(1 / np.where(there.hit, there.depth, np.inf), at), np.finfo(float).tiny)
        visible &= np.abs(nearest - depth) < self.reach
        toward = views.centres[neighbour] - points
        cosine = np.einsum("ni,ni->n", normals, toward) / np.maximum(np.linalg.norm(toward, axis=1), np.finfo(float).tiny)
        return _linear(self.grey[neighbour], at), visible & (cosine > LEAST_COSINE)


def _linear(image: np.ndarray, at: np.ndarray) -> np.ndarray:
    """(M,) values of an image (H, W) at (2, M) rows and columns, 0 outside of it."""
    return map_coordinates(image, at, order=1, mode="constant", cval=0.0)
