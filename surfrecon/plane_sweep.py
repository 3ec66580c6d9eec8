"""The depth map of one photograph by plane sweeps over its neighbours, coarse to fine.

A hypothesis is an inverse depth w = 1 / z for each pixel of the reference; it carries the sources' pictures over to the reference, where
windows are compared by normalised cross-correlation. The first sweep has planes parallel to the image; later ones, at finer scales, shift
the surface found so far, smoothed: their windows lean as it does, which planes parallel to the image would not.

Letters: H and W rows and columns of the reference, P hypotheses. Frames and pixel positions as in views.py.

Sources: Collins, A space-sweep approach to true multi-image matching, 1996; Gallup et al., Real-time plane-sweeping stereo with multiple
sweeping directions, 2007.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from surfrecon import ops
from surfrecon.bounding import Silhouettes
from surfrecon.image_quality import LUMA, noise
from surfrecon.inverse_depth import carry, smoothed
from surfrecon.views import Views

MOST_PLANES = 256
BLOCK = 1 << 24  # scores held at a time: 64 MiB
CONTRAST = 1.5 / 255  # standard deviation of grey in a window below which noise decides, where it can't be told that noise is less
NOISES = 1.7  # standard deviations of the noise that this is
QUANTUM = 1 / (255 * np.sqrt(12))  # standard deviation that whole levels of grey leave
NEAREST = 0.05  # of the farthest depth: nothing nearer is looked for
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
    box: np.ndarray,
    window: int,
    least_ncc: float,
    hull: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> DepthMap:
    """The depth map of one view by sweeps from coarse to fine.

    Args:
        levels: the views at full size, at half, at a quarter ...
        sources: (S,) rows of views.
        box: (2, 3) of the object: where depths are looked for.
        window: pixels along the compared windows, odd.
        least_ncc: mean correlation of the best two below which nothing is believed.
        hull: see hull_cells; None sweeps the whole box.
    """
    height, width = levels[0].images[view].shape[:2]
    if not len(sources) or (levels[0].masks is not None and not all(level.masks[view].any() for level in levels)):
        return DepthMap(torch.zeros(height, width, device=device), torch.zeros(height, width, device=device))
    coarse = _Sweep(levels[-1], view, sources, box, window, device)
    far, near = coarse.range()
    step = coarse.step((near + far) / 2)
    planes = torch.linspace(far, near, int(np.clip(np.ceil((near - far) / step) + 1, 3, MOST_PLANES)))
    w, score = coarse(torch.zeros(()), planes, spacing=1.0, hull=hull)
    for level, step_pixels, reach in _passes(len(levels)):
        fine = _Sweep(levels[level], view, sources, box, window, device)
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
    """(Z, Y, X) bool, the cells of the object's box that the silhouettes leave, those that they touch among them."""
    low, high = views.bounds()
    side = (high - low) / HULL_GRID
    axes = [np.arange(HULL_GRID)] * 3
    z, y, x = np.meshgrid(*axes, indexing="ij")
    places = low + side * (np.stack([x, y, z], axis=-1).reshape(-1, 3) + 0.5)
    kept = Silhouettes.of(views.masks, views.intrinsics, views.cam_from_world).keep(places, float(np.linalg.norm(side)) / 2, 0.0)
    cells = torch.zeros(HULL_GRID**3, dtype=torch.bool)
    cells[torch.as_tensor(kept)] = True
    return cells.reshape(HULL_GRID, HULL_GRID, HULL_GRID)


class _Sweep:
    """A reference and its sources at one scale; called with hypotheses it gives the best inverse depth and its score."""

    def __init__(self, views: Views, view: int, sources: np.ndarray, box: np.ndarray, window: int, device: torch.device):
        self.views, self.view, self.box, self.window = views, view, box, window
        grey, mask = _grey(views, view, device)
        self.shape = grey.shape
        rows, columns = (torch.nonzero(mask.amax(dim=axis))[:, 0].tolist() for axis in (1, 0))
        self.crop = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)  # the mask's box: nothing else is compared
        self.grey, self.mask = grey[self.crop].contiguous(), mask[self.crop].contiguous()
        self.contrast = min(CONTRAST, NOISES * max(QUANTUM, noise(self.grey.cpu().numpy())))
        self.whole_from_crop = np.array([[1.0, 0, columns[0]], [0, 1, rows[0]], [0, 0, 1]])
        self.sources = []
        for source in sources:
            turn, shift = carry(views, view, source)
            numbers = (torch.as_tensor(value, dtype=torch.float32, device=device) for value in (turn @ self.whole_from_crop, shift))
            self.sources.append(ops.Source(*_grey(views, source, device), *numbers))

    def range(self) -> tuple[float, float]:
        """Inverse of the farthest and the nearest depth of the object's box."""
        corners = np.stack(np.meshgrid(*self.box.T, indexing="ij"), axis=-1).reshape(-1, 3)
        _, depth = self.views.project(self.view, corners)
        far = max(float(depth.max()), 1e-3)
        return 1 / far, 1 / max(float(depth.min()), NEAREST * far)

    def step(self, w: float) -> float:
        """The change of inverse depth that moves the middle of the reference's mask by a pixel in the sources, on average."""
        middle = np.array([self.grey.shape[1] // 2 + 0.5, self.grey.shape[0] // 2 + 0.5, 1])
        speeds = []
        for source in self.sources:
            turn, shift = source.turn.double().cpu().numpy(), source.shift.double().cpu().numpy()
            p = turn @ middle + w * shift
            speeds.append(np.linalg.norm(shift[:2] - p[:2] / p[2] * shift[2]) / abs(p[2]))
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
        offsets, room = offsets.to(self.grey), None if hull is None else self._room(hull)
        half, rows = self.window // 2, max(self.window, BLOCK // (len(offsets) * width))
        parts = []
        for top in range(0, height, rows):
            bottom = min(height, top + rows)
            first, last = max(0, top - half), min(height, bottom + half)
            scores = self._scores(guide, offsets, slice(first, last), room)[:, top - first : bottom - first]
            parts.append(torch.stack(_peak(scores, guide[top:bottom], offsets, self.mask[top:bottom], spacing)))
        whole = torch.zeros(2, *self.shape, device=guide.device)
        whole[:, self.crop[0], self.crop[1]] = torch.cat(parts, dim=1)
        return whole[0], whole[1]

    def _scores(self, guide: Tensor, offsets: Tensor, rows: slice, room: ops.Room | None) -> Tensor:
        """(P, rows, width) scores of some rows; windows end at the first and the last."""
        lower = torch.eye(3)
        lower[1, 2] = rows.start
        lower = lower.to(self.grey)
        sources = [replace(source, turn=source.turn @ lower) for source in self.sources]
        room = None if room is None else replace(room, ray=room.ray @ lower)
        parts = self.grey[rows], self.mask[rows], sources, guide[rows], offsets
        return ops.sweep_scores(*parts, window=self.window, two=len(sources) >= FEW, contrast=self.contrast, room=room)

    def _room(self, hull: Tensor) -> ops.Room:
        """The hull as this view sees it."""
        low, high = self.box
        pose = self.views.cam_from_world[self.view]
        to_cells = HULL_GRID / (high - low)
        ray = to_cells[:, None] * (pose[:, :3].T @ np.linalg.inv(self.views.intrinsics[self.view]) @ self.whole_from_crop)
        start = to_cells * (self.views.centres[self.view] - low)
        return ops.Room(hull, *(torch.as_tensor(value, dtype=torch.float32, device=hull.device) for value in (ray, start)))


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
        near = (index + torch.arange(-2, 3, device=scores.device)[:, None, None]).clamp(0, count - 1)
        good &= scores.scatter(0, near, -1.0).amax(dim=0) < best - UNIQUE
    w = guide + float(offsets[0]) + place * float(offsets[1] - offsets[0])
    good &= w > 0
    return torch.where(good, w, 0), torch.where(good, best, 0)


def _grey(views: Views, view: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(H, W) grey in [-0.5, 0.5] and mask, both float32."""
    image = torch.as_tensor(views.images[view].astype(np.float32), device=device)
    grey = (image @ torch.tensor(LUMA, dtype=image.dtype, device=device)) / 255 - 0.5
    mask = torch.ones_like(grey) if views.masks is None else torch.as_tensor(views.masks[view].astype(np.float32), device=device)
    return grey, mask
