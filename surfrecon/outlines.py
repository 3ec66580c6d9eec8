"""What outlines tell of cameras: the two planes through a pair of cameras that touch the object touch both of its silhouettes.

Where such a plane touches lies a frontier point, which both views show on their outline. The outermost planes need the convex hulls of the
silhouettes alone: views that share no texture, or stand far apart, tell all the same.

Letters: V views, H corners of a hull, M frontier points. Cameras by intrinsics, rotations (V, 3, 3) cam_from_world and centres (V, 3).
Source: Wong and Cipolla, Structure and Motion from Silhouettes, 2001; Hernandez, Schmitt and Cipolla, Silhouette Coherence for Camera
Calibration under Circular Motion, 2007.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, label
from scipy.spatial import ConvexHull, QhullError

SPECK = 0.01  # of a mask's area: smaller pieces of it are mistakes
SOFT = 2.0  # pixels, standard deviation that masks are smoothed by: steps of pixels average out, and hulls don't hang on the outermost
FEWEST_CORNERS = 6  # of a hull that is more than a few pixels
STEEPEST = np.radians(75.0)  # from the plane through the object's middle to one that touches it: beyond, the epipole is too near


@dataclass(frozen=True, eq=False)
class Frontier:
    """M frontier points as two views each show them.

    Attributes:
        views: (M, 2), the smaller number first.
        pixels: (M, 2, 2) where in the first and in the second view.
    """

    views: np.ndarray
    pixels: np.ndarray

    def __len__(self) -> int:
        return len(self.views)

    def __getitem__(self, kept: np.ndarray) -> Frontier:
        return Frontier(self.views[kept], self.pixels[kept])


@dataclass(frozen=True, eq=False)
class Outlines:
    """Attributes: hulls: V arrays (H, 2), the corners of each silhouette's convex hull, pixels; none where it isn't seen as a whole."""

    hulls: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, masks: Sequence[np.ndarray]) -> Outlines:
        return cls(tuple(_hull(mask) for mask in masks))

    def frontier(self, intrinsics: np.ndarray, rotations: np.ndarray, centres: np.ndarray, target: np.ndarray) -> Frontier:
        """The frontier points of every pair of views, two each, as cameras have them that look at about `target` (3,)."""
        count = len(self.hulls)
        low, high = np.full((count, count), -1), np.full((count, count), -1)
        for view, hull in enumerate(self.hulls):
            others = np.array([other for other in range(count) if other != view and len(self.hulls[other])], int)
            if not len(hull) or not len(others):
                continue
            rays = np.column_stack([hull, np.ones(len(hull))]) @ np.linalg.inv(intrinsics[view]).T @ rotations[view]
            along = centres[others] - centres[view]
            length = np.linalg.norm(along, axis=1, keepdims=True)
            along = along / np.where(length > 0, length, 1)
            ahead = target - centres[view] - along * (along @ (target - centres[view]))[:, None]
            ahead = ahead / np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), np.finfo(float).tiny)
            angle = np.arctan2(np.cross(along, ahead) @ rays.T, ahead @ rays.T)
            clear = (np.abs(angle).max(axis=1) < STEEPEST) & (length[:, 0] > 0)
            low[view, others] = np.where(clear, angle.argmin(axis=1), -1)
            high[view, others] = np.where(clear, angle.argmax(axis=1), -1)
        one, other = np.nonzero(np.triu((low >= 0) & (low.T >= 0), 1))
        # Seen from the other end of the baseline angles run the other way.
        corners = [(low[one, other], high[other, one]), (high[one, other], low[other, one])]
        pick = lambda views, rows: np.array([self.hulls[view][row] for view, row in zip(views, rows)]).reshape(-1, 2)
        pixels = [np.stack([pick(one, here), pick(other, there)], axis=1) for here, there in corners]
        return Frontier(np.tile(np.stack([one, other], axis=1), (2, 1)), np.concatenate(pixels))


def _hull(mask: np.ndarray) -> np.ndarray:
    """(H, 2) corners of the hull of a softened mask's line of 1/2; none where the mask reaches the frame's border."""
    none = np.empty((0, 2))
    pieces, count = label(mask)
    if count > 1:
        area = np.bincount(pieces.ravel())
        area[0] = 0
        mask = (area >= SPECK * area.sum())[pieces]
    if not count or mask[[0, -1]].any() or mask[:, [0, -1]].any():
        return none
    soft = mask.astype(np.float32)
    # One Gaussian would draw a rim of radius r in by SOFT^2 / 2r; a second of twice the variance, taken off, undoes that.
    soft = 2 * gaussian_filter(soft, SOFT) - gaussian_filter(soft, np.sqrt(2) * SOFT)
    edges = []
    for turned, order in ((soft, (1, 0)), (soft.T, (0, 1))):  # where lines of middles of pixels cross the outline, beside and down
        before, after = turned[:, :-1], turned[:, 1:]
        row, column = np.nonzero((before > 0.5) != (after > 0.5))
        share = (0.5 - before[row, column]) / (after - before)[row, column]
        edges.append(np.stack([row + 0.5, column + 0.5 + share], axis=1)[:, order])
    edges = np.concatenate(edges)
    try:
        corners = edges[ConvexHull(edges).vertices]
    except QhullError:
        return none
    return corners if len(corners) >= FEWEST_CORNERS else none
