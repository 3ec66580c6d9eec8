"""The depth map of one photograph by plane sweeps over its neighbours, coarse to fine.

A hypothesis is an inverse depth w = 1 / z for each pixel of the reference; it carries the sources' pictures over to the reference, where
windows are compared by normalised cross-correlation. The first sweep has planes parallel to the image; later ones, at finer scales, shift
the surface found so far, smoothed: their windows lean as it does, which planes parallel to the image would not.

Letters: H and W rows and columns of the reference, P hypotheses. Frames and pixel positions as in views.py.

Sources: Collins, A space-sweep approach to true multi-image matching, 1996; Gallup et al., Real-time plane-sweeping stereo with multiple
sweeping directions, 2007.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from surfrecon.bounding import Silhouettes
from surfrecon.inverse_depth import box_sums, smoothed
from surfrecon.views import Views

MOST_PLANES = 256
BLOCK = 1 << 24  # scores held at a time: 64 MiB
NEAREST = 0.05  # of the farthest depth: nothing nearer is looked for
CONTRAST = 1.5 / 255  # standard deviation of grey in a window below which noise decides
FILLED = 0.4  # share of a window that both pictures must show
LEAST_DOUBT = 0.02  # of 1 - score: what a perfect score leaves, quantised greys and bilinear pictures being what they are
DOUBT = 5.0  # pixels of the sources by which a peak may be uncertain: flat ones stand where there is no texture to tell depth
UNIQUE = 0.02  # by this the best plane's score must exceed that of any other but its neighbours
BAND, LAST_BAND = (0.5, 4), (0.25, 4)  # pixels of the sources between hypotheses, and hypotheses on either side of the surface so far
COARSE_PASSES, LAST_PASSES = 3, 1  # each leans the windows better: errors on slopes halve
FEW = 3  # sources: with fewer, one on either side at best, a surface that leans is in the best one alone
HULL_GRID = 96  # cells along the hull's box


@dataclass(frozen=True, eq=False)
class DepthMap:
    """What one reference view tells: inverse depth (H, W) float32, 0 where unknown, and the score (H, W) it was found with."""

    inverse_depth: Tensor
    score: Tensor


def depth_map(
    levels: list[Views],
    view: int,
    sources: np.ndarray,
    *,
    window: int,
    least_ncc: float,
    hull: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> DepthMap:
    """The depth map of one view by sweeps from coarse to fine.

    Args:
        levels: the views at full size, at half, at a quarter ...
        sources: (S,) rows of views.
        window: pixels along the compared windows, odd.
        least_ncc: mean correlation of the best two below which nothing is believed.
        hull: see hull_cells; None sweeps the whole box.
    """
    height, width = levels[0].images[view].shape[:2]
    if not len(sources) or (levels[0].masks is not None and not all(level.masks[view].any() for level in levels)):
        return DepthMap(torch.zeros(height, width, device=device), torch.zeros(height, width, device=device))
    coarse = _Sweep(levels[-1], view, sources, window, device)
    far, near = coarse.range()
    step = coarse.step((near + far) / 2)
    planes = torch.linspace(far, near, int(np.clip(np.ceil((near - far) / step) + 1, 3, MOST_PLANES)))
    w, score = coarse(torch.zeros(()), planes, spacing=1.0, hull=hull)
    for level, step_pixels, reach in _passes(len(levels)):
        fine = _Sweep(levels[level], view, sources, window, device)
        guide = smoothed(w, score * (score > least_ncc / 2))
        guide = interpolate(guide[None, None], fine.shape, mode="bilinear", align_corners=False)[0, 0]
        step = step_pixels * fine.step(float(guide[guide > 0].median()) if (guide > 0).any() else (near + far) / 2)
        w, score = fine(guide, step * torch.arange(-reach, reach + 1), spacing=step_pixels)
    known = (score >= least_ncc) & (w >= far) & (w <= near)
    return DepthMap(torch.where(known, w, 0), torch.where(known, score, 0))


def _passes(levels: int) -> list[tuple[int, float, int]]:
    """(level, spacing of hypotheses in pixels of the sources, hypotheses on either side) of the sweeps after the first."""
    return [(levels - 1, *BAND)] * COARSE_PASSES + [(level, *BAND) for level in range(levels - 2, -1, -1)] + [(0, *LAST_BAND)] * LAST_PASSES


def hull_cells(views: Views) -> Tensor:
    """(Z, Y, X) float32, 1 in the cells of the object's box that the silhouettes leave, those that they touch among them."""
    low, high = views.bounds()
    side = (high - low) / HULL_GRID
    axes = [np.arange(HULL_GRID)] * 3
    z, y, x = np.meshgrid(*axes, indexing="ij")
    places = low + side * (np.stack([x, y, z], axis=-1).reshape(-1, 3) + 0.5)
    kept = Silhouettes.of(views.masks, views.intrinsics, views.cam_from_world).keep(places, float(np.linalg.norm(side)) / 2, 0.0)
    cells = torch.zeros(HULL_GRID**3)
    cells[torch.as_tensor(kept)] = 1
    return cells.reshape(HULL_GRID, HULL_GRID, HULL_GRID)


class _Sweep:
    """A reference and its sources at one scale; called with hypotheses it gives the best inverse depth and its score."""

    def __init__(self, views: Views, view: int, sources: np.ndarray, window: int, device: torch.device):
        self.views, self.view, self.window = views, view, window
        grey, mask = _grey(views, view, device)
        self.shape = grey.shape
        rows, columns = (torch.nonzero(mask.amax(dim=axis))[:, 0].tolist() for axis in (1, 0))
        self.crop = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)  # the mask's box: nothing else is compared
        self.grey, self.mask, self.pixels = grey[self.crop], mask[self.crop], _pixels(*grey.shape, device)[self.crop]
        self.sources = []
        for source in sources:
            grey, mask = _grey(views, source, device)
            turn, shift = _carry(views, view, source)
            self.sources.append((torch.stack([grey * mask, mask]), turn.to(device), shift.to(device)))

    def range(self) -> tuple[float, float]:
        """Inverse of the farthest and the nearest depth of the object's box."""
        low, high = self.views.bounds()
        corners = np.stack(np.meshgrid(*zip(low, high), indexing="ij"), axis=-1).reshape(-1, 3)
        _, depth = self.views.project(self.view, corners)
        far = max(float(depth.max()), 1e-3)
        return 1 / far, 1 / max(float(depth.min()), NEAREST * far)

    def step(self, w: float) -> float:
        """The change of inverse depth that moves the middle of the reference's mask by a pixel in the sources, on average."""
        middle = self.pixels[self.grey.shape[0] // 2, self.grey.shape[1] // 2].cpu()
        speeds = []
        for _, turn, shift in self.sources:
            p = turn.cpu() @ middle + w * shift.cpu()
            speeds.append(float(torch.linalg.norm(shift.cpu()[:2] - p[:2] / p[2] * shift.cpu()[2]) / p[2].abs()))
        return 1 / max(float(np.mean(speeds)), 1e-6)

    def __call__(self, guide: Tensor, offsets: Tensor, *, spacing: float, hull: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The best of the hypotheses guide + offsets, between them by a parabola, and its score, 0 where there is none.

        Args:
            guide: (H, W) or () inverse depth.
            offsets: (P,) evenly spaced.
            spacing: of the offsets, in pixels of the sources.
            hull: cells of the object's box, see hull_cells; with it, hypotheses outside are left out.
        """
        height, width = self.grey.shape
        guide = guide.to(self.grey.device).expand(self.shape)[self.crop]
        rows = max(self.window, BLOCK // (len(offsets) * width))
        whole = torch.zeros(2, *self.shape, device=guide.device)
        parts = [self._block(guide, offsets, top, min(height, top + rows), spacing, hull) for top in range(0, height, rows)]
        whole[:, self.crop[0], self.crop[1]] = torch.cat(parts, dim=1)
        return whole[0], whole[1]

    def _block(self, guide: Tensor, offsets: Tensor, top: int, bottom: int, spacing: float, hull: Tensor | None) -> Tensor:
        half = self.window // 2
        first, last = max(0, top - half), min(self.grey.shape[0], bottom + half)
        own = slice(top - first, top - first + bottom - top)
        a, m, x, guide = (item[first:last] for item in (self.grey, self.mask, self.pixels, guide))
        turned = [torch.einsum("ij,hwj->ihw", turn, x) for _, turn, _ in self.sources]
        scores = torch.empty(len(offsets), bottom - top, a.shape[1], device=a.device)
        for p, offset in enumerate(offsets.tolist()):
            w = guide + offset
            best = second = torch.full_like(scores[p], -1)
            for (picture, _, shift), place in zip(self.sources, turned):
                ncc = self._ncc(a, m, picture, place + w * shift[:, None, None])[own]
                second = torch.maximum(second, torch.minimum(best, ncc))
                best = torch.maximum(best, ncc)
            scores[p] = best if len(self.sources) < FEW else (best + second) / 2
            if hull is not None:
                scores[p] = torch.where(self._in_hull(hull, x[own], w[own]), scores[p], -1)
        return torch.stack(_peak(scores, guide[own], offsets, m[own], spacing))

    def _in_hull(self, hull: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """(H, W) whether the places at inverse depth w of the pixels x lie in cells of the hull."""
        low, high = self.views.bounds()
        pose = self.views.cam_from_world[self.view]
        ray = torch.as_tensor(2 / (high - low)[:, None] * (pose[:, :3].T @ np.linalg.inv(self.views.intrinsics[self.view])))
        start = torch.as_tensor(2 * (self.views.centres[self.view] - low) / (high - low) - 1)
        place = x @ ray.to(x).T / w.clamp(min=1e-6)[..., None] + start.to(x)
        return grid_sample(hull[None, None], place[None, None], mode="nearest", align_corners=False)[0, 0, 0] > 0

    def _ncc(self, a: Tensor, mask: Tensor, picture: Tensor, place: Tensor) -> Tensor:
        """(H, W) correlation of windows, over the pixels that both pictures show; -1 where these are too few."""
        height, width = picture.shape[1:]
        z = place[2].clamp(min=1e-6)
        grid = torch.stack([place[0] / z * (2 / width) - 1, place[1] / z * (2 / height) - 1], dim=-1)
        b, shown = grid_sample(picture[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=False)[0]
        m = mask * (shown > 0.999) * (place[2] > 1e-6)
        a, b = a * m, b * m
        n, sa, sb, saa, sbb, sab = box_sums(torch.stack([m, a, b, a * a, b * b, a * b]), self.window)
        per = 1 / n.clamp(min=1)
        va, vb = (saa - sa * sa * per) * per, (sbb - sb * sb * per) * per
        ncc = (sab - sa * sb * per) * per / torch.sqrt(va.clamp(min=0) * vb.clamp(min=0) + CONTRAST**4)
        return torch.where((n >= FILLED * self.window**2) & (m > 0), ncc.clamp(-1, 1), -1)


def _peak(scores: Tensor, guide: Tensor, offsets: Tensor, mask: Tensor, spacing: float) -> tuple[Tensor, Tensor]:
    """Inverse depth and score (H, W) of the best of (P, H, W) scores.

    A peak at either end of the hypotheses is none, nor is a flat one: where score = best - bend d^2 / 2 falls by what is wanting to a
    perfect one, 1 - best, within d pixels, d is the doubt. Nor one that others come near, where hypotheses are a pixel apart: repeated
    texture.
    """
    count = len(scores)
    best, index = scores.max(dim=0)
    inner = index.clamp(1, count - 2)
    before, after = (scores.gather(0, (inner + side)[None])[0] for side in (-1, 1))
    bend = (2 * best - before - after).clamp(min=1e-6)
    place = inner + (0.5 * (after - before) / bend).clamp(-0.5, 0.5)
    good = (index == inner) & (mask > 0) & (best > 0)
    good &= torch.minimum(before, after) > -0.99
    good &= spacing * torch.sqrt(2 * (1 - best + LEAST_DOUBT) / bend) < DOUBT
    if spacing >= 1:
        far = (torch.arange(count, device=scores.device)[:, None, None] - index).abs() > 2
        good &= torch.where(far, scores, -1).amax(dim=0) < best - UNIQUE
    w = guide + float(offsets[0]) + place * float(offsets[1] - offsets[0])
    good &= w > 0
    return torch.where(good, w, 0), torch.where(good, best, 0)


def _carry(views: Views, reference: int, source: int) -> tuple[Tensor, Tensor]:
    """(3, 3) and (3,) that take (x, y, 1) and inverse depth of the reference to the source's homogeneous pixel position."""
    there, here = views.cam_from_world[source], views.cam_from_world[reference]
    turn = there[:, :3] @ here[:, :3].T
    shift = there[:, 3] - turn @ here[:, 3]
    k = views.intrinsics[source]
    as_float = lambda value: torch.as_tensor(value, dtype=torch.float32)
    return as_float(k @ turn @ np.linalg.inv(views.intrinsics[reference])), as_float(k @ shift)


def _grey(views: Views, view: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(H, W) grey in [-0.5, 0.5] and mask, both float32."""
    image = torch.as_tensor(views.images[view].astype(np.float32), device=device)
    grey = (image @ torch.tensor([0.299, 0.587, 0.114], device=device)) / 255 - 0.5  # Rec. 601 luma
    mask = torch.ones_like(grey) if views.masks is None else torch.as_tensor(views.masks[view].astype(np.float32), device=device)
    return grey, mask


def _pixels(height: int, width: int, device: torch.device) -> Tensor:
    """(H, W, 3) homogeneous middles of pixels."""
    y, x = torch.meshgrid(torch.arange(height, device=device) + 0.5, torch.arange(width, device=device) + 0.5, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], dim=-1)
