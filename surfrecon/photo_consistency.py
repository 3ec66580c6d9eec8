"""Whether photographs agree on a surface: what one view shows there is carried over to the next, and patches are correlated.

A mesh that is right, under cameras that are right, carries a neighbour's picture over so that it looks like the reference's. Each pixel is
carried by its own surface point, not a patch by its plane: the warp is the true one, also where the surface bends within a patch.

Letters: V views, P pairs of a reference and a neighbour, M pixels of the reference that see the mesh. Frames and pixels as in views.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.geometry import Mesh
from surfrecon.image_quality import LUMA, noise
from surfrecon.inverse_depth import carried
from surfrecon.pictures import Scene
from surfrecon.stereo import neighbours
from surfrecon.views import Views
from surfrecon.visible import seen

LONGEST_SIDE = 800  # pixels: larger views are scaled down, noise and half pixels of doubt with them
PARTNERS = 4  # neighbours of each view
LEAST_CONTRAST, MOST_CONTRAST = 2 / 255, 4 / 255  # standard deviation of grey in a patch, below which quantisation and noise decide ...
NOISES = 2.0  # ... standard deviations of the noise, between these two: fine texture looks like noise
CALM = 0.2  # share of a picture, the calmest, that tells its noise
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
    least_contrast: float | None = None,
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
        least_contrast: standard deviation of grey, in [0, 1], that the reference's patch must have; None follows each picture's noise.
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
    """A mesh, what each view sees of it, and its pictures in grey; on the CPU, float32."""

    def __init__(self, mesh: Mesh, views: Views, patch: int, least_contrast: float | None):
        self.views, self.patch, self.least_contrast = views, patch, least_contrast
        scene = Scene(mesh)
        vectors = mesh.area_vectors()
        normals = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(float).tiny)
        self.reach = OCCLUDED * float(np.linalg.norm(np.ptp(mesh.bounds(), axis=0)))
        self.seen = [self._look(scene, normals, view) for view in range(len(views))]

    def _look(self, scene: Scene, normals: np.ndarray, view: int) -> _Look:
        views, here = self.views, seen(scene, self.views, view)
        usable = here.hit if views.masks is None else here.hit & views.masks[view]
        row, column = np.nonzero(usable)
        pixels = np.stack([column, row], axis=1) + 0.5
        normal = normals[here.face[row, column]]
        facing = np.einsum("ni,ni->n", normal, views.rays(view, pixels)[1]) < -LEAST_COSINE
        grey = views.images[view] @ (LUMA / 255)
        contrast = self.least_contrast
        if contrast is None:
            contrast = float(np.clip(NOISES * noise(grey, usable, calm=CALM), LEAST_CONTRAST, MOST_CONTRAST))
        inverse = np.zeros(here.depth.shape)
        inverse[here.hit] = 1 / here.depth[here.hit]
        single = lambda values: torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32)
        shown = torch.stack([single(grey - 0.5), single(usable), single(inverse)])
        return _Look(shown, contrast, single(pixels[facing].T), single(inverse[row, column][facing]), single(normal[facing].T))

    def compare(self, reference: int, neighbour: int) -> tuple[np.ndarray, int]:
        """NCC (K,) of the patches with texture around pixels that both views see, and how many more lack it."""
        here, there = self.seen[reference], self.seen[neighbour]
        grey, visible = self._carried(reference, neighbour, here, there)
        if not visible.any():
            return np.empty(0), 0
        column, row = here.pixels[:, visible].long()
        top, left = row.min(), column.min()
        own = here.shown[0, row, column]
        maps = torch.zeros(6, int(row.max() - top) + 1, int(column.max() - left) + 1)
        parts = (torch.ones_like(own), own, grey[visible], own * own, grey[visible] ** 2, own * grey[visible])
        for item, part in zip(maps, parts):
            item[row - top, column - left] = part
        n, mean_a, mean_b, aa, bb, ab = (ops.box_sums(maps, self.patch) / self.patch**2)[:, row - top, column - left].double()
        whole = n >= FILLED - 1e-6
        n, mean_a, mean_b, aa, bb, ab = (item[whole] for item in (n, mean_a, mean_b, aa, bb, ab))
        var_a, var_b = (square / n - (mean / n) ** 2 for square, mean in ((aa, mean_a), (bb, mean_b)))
        textured = var_a >= here.contrast**2
        both = (ab / n - mean_a * mean_b / n**2)[textured]
        ncc = both / torch.sqrt(var_a[textured] * var_b[textured].clamp(min=QUANTISED**2))
        return ncc.clamp(-1, 1).numpy(), int((~textured).sum())

    def _carried(self, reference: int, neighbour: int, here: _Look, there: _Look) -> tuple[Tensor, Tensor]:
        """(M,) grey at the neighbour's pictures of what the reference sees, linear between pixels, and (M,) whether it sees that."""
        place, depth = carried(self.views, reference, neighbour, here.pixels, here.inverse_depth)
        height, width = there.shown.shape[1:]
        grid = place.nan_to_num(nan=-1e6).T * torch.tensor([2 / width, 2 / height]) - 1
        found = grid_sample(there.shown[None], grid[None, None], mode="bilinear", padding_mode="zeros", align_corners=False)[0, :, 0]
        grey, usable, inverse = found
        # Inverse depth is linear in pixels on a plane: its interpolation is exact there.
        visible = (usable > WHOLE) & ((1 / inverse.clamp(min=torch.finfo(torch.float32).tiny) - depth).abs() < self.reach)
        lens = torch.as_tensor(np.linalg.inv(self.views.intrinsics[neighbour]), dtype=torch.float32)
        toward = lens[:, :2] @ place.nan_to_num() + lens[:, 2:]
        normal = torch.tensor(self.views.cam_from_world[neighbour, :, :3], dtype=torch.float32) @ here.normals
        return grey, visible & (-(normal * toward).sum(dim=0) > LEAST_COSINE * toward.norm(dim=0))


@dataclass(frozen=True, eq=False)
class _Look:
    """What one view sees of the mesh.

    Attributes:
        shown: (3, H, W) grey, whether a pixel shows the mesh within the mask, and inverse depth of the mesh, 0 beside it.
        contrast: that a patch must have.
        pixels: (2, M) middles of those that see it straight enough. inverse_depth: (M,), normals: (3, M) of the mesh there, world frame.
    """

    shown: Tensor
    contrast: float
    pixels: Tensor
    inverse_depth: Tensor
    normals: Tensor
