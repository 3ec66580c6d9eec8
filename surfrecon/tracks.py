"""What several views show of the same points: keypoints matched between neighbouring views and chained to tracks.

Letters: V views, K keypoints of one view, L links between two keypoints, N points, O observations. Cameras that are somewhat off still tell
roughly where a keypoint can lie in another view; which of the links are believed depends on how far they may be off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from surfrecon.keypoints import Keypoints, keypoints, matches
from surfrecon.pose_check import Pair, Reading, epipolar_residuals
from surfrecon.run import Run
from surfrecon.views import Views

MOST, CONTRAST = 3000, 0.003  # of keypoints: more and fainter ones than a check of cameras needs
RIM = 4  # pixels inside of masks that no keypoint is taken from: what is there changes with the background
LONGEST_SIDE = 1280  # pixels of the images in which keypoints are sought


@dataclass(frozen=True, eq=False)
class Tracks:
    """N points as views show them.

    Attributes:
        points: (O,) number of the point that each observation is of, 0 to N - 1, rising.
        views: (O,) and the view that made it, each view once for a point.
        pixels: (O, 2) where.
    """

    points: np.ndarray
    views: np.ndarray
    pixels: np.ndarray

    def __len__(self) -> int:
        """N"""
        return int(self.points[-1]) + 1 if len(self.points) else 0

    def __getitem__(self, kept: np.ndarray) -> Tracks:
        """The observations (O,) that a mask keeps, of points that two views or more still show."""
        shown = np.bincount(self.points[kept], minlength=len(self))
        kept = kept & (shown[self.points] > 1)
        return Tracks(np.unique(self.points[kept], return_inverse=True)[1], self.views[kept], self.pixels[kept])


@dataclass(frozen=True, eq=False)
class Links:
    """Keypoints, and their matches between pairs of views, right and wrong ones.

    Attributes:
        features: of each view.
        pairs: two views, and (L, 2) rows of their keypoints.
    """

    features: tuple[Keypoints, ...]
    pairs: tuple[tuple[tuple[int, int], np.ndarray], ...]

    @classmethod
    def between(cls, views: Views, partners: Sequence[np.ndarray], run: Run) -> Links:
        """The matches of each view with its partners (numbers of views)."""
        features = []
        for view in range(len(views)):
            run.step("poses", view, len(views))
            features.append(_features(views, view))
        pairs = sorted({(min(view, int(other)), max(view, int(other))) for view, row in enumerate(partners) for other in row})
        return cls(tuple(features), tuple((pair, matches(features[pair[0]], features[pair[1]])) for pair in pairs))

    def tracks(self, intrinsics: np.ndarray, cam_from_world: np.ndarray, tolerance: np.ndarray) -> Tracks:
        """The points that links chain together which miss their epipolar lines by at most the smaller `tolerance` (V,) of their views.

        Chains that come to two keypoints of one view are left out: at least one of their links is wrong.
        """
        cameras = Reading("", intrinsics, cam_from_world)
        pixels = [item.pixels for item in self.features]
        counts = np.array([len(places) for places in pixels])
        first = np.concatenate([[0], np.cumsum(counts)])
        ends = [np.empty((0, 2), int)]
        for (one, other), rows in self.pairs:
            pair = Pair((one, other), (pixels[one][rows[:, 0]], pixels[other][rows[:, 1]]))
            good = epipolar_residuals(pair, cameras) < min(tolerance[one], tolerance[other]) if len(rows) else np.zeros(0, bool)
            ends.append(rows[good] + [first[one], first[other]])
        start, end = np.concatenate(ends).T
        if not len(start):
            return Tracks(np.empty(0, int), np.empty(0, int), np.empty((0, 2)))
        _, chain = connected_components(coo_matrix((np.ones(len(start)), (start, end)), shape=(first[-1], first[-1])), directed=False)
        view = np.repeat(np.arange(len(counts)), counts)
        shown = coo_matrix((np.ones(len(chain), int), (chain, view))).tocsr()
        clear = (np.asarray(shown.max(axis=1).todense()).ravel() == 1) & (np.asarray(shown.sum(axis=1)).ravel() > 1)
        rows = np.flatnonzero(clear[chain])
        rows = rows[np.argsort(chain[rows], kind="stable")]
        return Tracks(np.unique(chain[rows], return_inverse=True)[1], view[rows], np.concatenate(pixels)[rows])


def _features(views: Views, view: int) -> Keypoints:
    part = views[[view]].scaled(min(1.0, LONGEST_SIDE / views.sizes[view].max()))
    found = keypoints(part.images[0].astype(np.float32).mean(axis=2), most=MOST, contrast=CONTRAST)
    column, row = found.pixels.T.astype(int)
    inside = np.ones(len(column), bool)
    if part.masks is not None:
        inside = binary_erosion(part.masks[0], iterations=RIM, border_value=1)[row, column]
    return Keypoints(found.pixels[inside] * views.sizes[view] / part.sizes[0], found.descriptors[inside])
