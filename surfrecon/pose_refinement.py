"""Cameras that are off by tenths of a degree, set right by what the photographs show: keypoints, outlines, and patches of surface.

First keypoints and, where there are masks, outlines decide whether the cameras change at all: part of them is left out of the fit, and only
if that part is explained clearly better (bundle.py). Then patches of the surface, which that makes findable, say what is left
(photometric.py). Intrinsics are taken as they are, and the frame and scale stay those of the given cameras.

Letters: V views. The work is done in a frame of its own: the object's middle is the origin, 1 the median distance of the cameras from it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from surfrecon.bundle import Problem
from surfrecon.errors import InputError
from surfrecon.geometry import Similarity
from surfrecon.outlines import Outlines
from surfrecon.photometric import adjusted
from surfrecon.poses import Doubt, Poses, Prior
from surfrecon.run import Run
from surfrecon.stereo import neighbours
from surfrecon.tracks import Links
from surfrecon.views import Views

log = logging.getLogger("surfrecon")

FEWEST = 100  # observations and frontier points in all, below which nothing is changed
CLEARLY = 0.85  # times the residual of what is held out that must be reached; right cameras reach 0.94 (scan 24) to 1.2 by fitting noise
LEAST_GAIN = 0.1  # pixels by which it must fall as well: steps of masks are common to what is held out and what isn't (spot: 0.11 to 0.08)
SUSPECT, LEAST_SUSPECT = 3.0, 1.0  # times the median of all views, and pixels, from which a view's residual is bad


@dataclass(frozen=True, eq=False)
class Refinement:
    """What refined() came to.

    Attributes:
        views: with the better cameras, or the given ones.
        kept: why the given cameras were kept; empty where they were refined.
        degrees: (V,) turn of each camera.
        shift: (V,) way of each, as a share of its distance to the object.
        before, after: median residual under the given and under the fitted cameras, pixels, of data that the fit didn't see; NaN without.
        residuals: (V,) median residual of each view under the cameras in `views`, pixels; NaN where it shows nothing that tells.
        tracks, frontiers: keypoints followed over several views, and frontier points, that were used.
        patches: whether patches of surface had their say as well.
    """

    views: Views
    kept: str
    degrees: np.ndarray
    shift: np.ndarray
    before: float
    after: float
    residuals: np.ndarray
    tracks: int
    frontiers: int
    patches: bool = False

    @property
    def refined(self) -> bool:
        return not self.kept

    @property
    def suspects(self) -> list[str]:
        """Names of the views whose residual stays bad: their photograph, mask or camera is not like the others."""
        if np.isnan(self.residuals).all():
            return []
        limit = max(LEAST_SUSPECT, SUSPECT * float(np.nanmedian(self.residuals)))
        return [name for name, residual in zip(self.views.names, self.residuals) if residual > limit]

    def summary(self) -> dict[str, Any]:
        """What report.json says of it."""
        return {
            "says": str(self),
            "refined": self.refined,
            "pixels_before": self.before,
            "pixels_after": self.after,
            "degrees": float(self.degrees.mean()),
            "shift": float(self.shift.mean()),
            "tracks": self.tracks,
            "frontier_points": self.frontiers,
            "patches": self.patches,
            "suspects": self.suspects,
        }

    def __str__(self) -> str:
        if self.kept:
            return f"the given cameras are kept: {self.kept}"
        return (
            f"the cameras were turned by {self.degrees.mean():.2f} degrees and moved by {self.shift.mean():.2%} of their distance on "
            f"average: what photographs have in common now fits to {self.after:.2f} pixels, it was {self.before:.2f}"
        )


def refined(views: Views, *, doubt: Doubt | None = None, run: Run | None = None) -> Refinement:
    """The views with cameras that fit their photographs better, in the frame and scale of the given ones; else with the given ones.

    Args:
        views: whose cameras are about right; intrinsics are taken as they are.
        doubt: how far they may be off.
        run: progress, times.
    Raises:
        InputError: the cameras don't look at one place, so that nobody can tell what they show.
    """
    doubt, run = doubt or Doubt(), run or Run()
    with run.stage("poses"):
        result = _refined(views, doubt, run)
    log.info("%s", result)
    return result


def _refined(views: Views, doubt: Doubt, run: Run) -> Refinement:
    if len(views) < 2:
        return _as_given(views, "one view alone doesn't tell")
    box = _box(views)
    middle = box.mean(axis=0)
    scale = 1 / float(np.median(np.linalg.norm(views.centres - middle, axis=1)))
    local_from_world = Similarity(scale, -scale * middle)
    local = views.transformed(local_from_world)
    prior = Prior(Poses(local.cam_from_world[:, :, :3], local.centres), doubt)
    given = prior.given
    links = Links.between(views, neighbours(views, box), run)
    outlines = Outlines.of(views.masks or [np.zeros((1, 1), bool)] * len(views))
    problem = Problem(prior, views.intrinsics, links, outlines)

    seen = problem.tracks(given, None)
    if 2 * len(seen.views) + len(problem.frontier(given)) < FEWEST:
        return _as_given(views, "they have too little in common that could tell")
    fitted = problem.fitted(given, True, run)
    before, after = (problem.residuals(poses, fitted.tracks, True)[1] for poses in (given, fitted.poses))
    before, after = float(np.median(before)), float(np.median(after))
    poses, kept, by_patches = given, "", None
    if after < min(CLEARLY * before, before - LEAST_GAIN):
        poses = prior.in_frame(problem.fitted(fitted.poses, False, run).poses)
        by_patches = adjusted(replace(local, cam_from_world=poses.cam_from_world), local, doubt, run)
        if by_patches is not None:
            poses = prior.in_frame(Poses(by_patches.cam_from_world[:, :, :3], by_patches.centres))
    else:
        kept = f"what photographs have in common fits them to {before:.2f} pixels, and others wouldn't fit clearly better ({after:.2f})"
    tracks = problem.tracks(poses, fitted.spread)
    whose, size = problem.residuals(poses, tracks, False)
    residuals = np.array([np.median(size[whose == view]) if (whose == view).any() else np.nan for view in range(len(views))])
    moved = replace(local, cam_from_world=poses.cam_from_world).transformed(local_from_world.inverse())
    return Refinement(
        views=views if kept else replace(views, cam_from_world=moved.cam_from_world),
        kept=kept,
        degrees=np.degrees(np.linalg.norm(poses.turn_from(given), axis=1)),
        shift=np.linalg.norm(poses.centres - given.centres, axis=1) / prior.distance,
        before=before,
        after=after,
        residuals=residuals,
        tracks=len(tracks),
        frontiers=len(problem.frontier(poses)),
        patches=by_patches is not None,
    )


def _as_given(views: Views, why: str) -> Refinement:
    zero, unknown = np.zeros(len(views)), np.full(len(views), np.nan)
    return Refinement(views, why, zero, zero, np.nan, np.nan, unknown, 0, 0)


def _box(views: Views) -> np.ndarray:
    """(2, 3) of the object; where cameras are so far off that masks or depths share no place, of what they look at."""
    try:
        return views.bounds()
    except InputError:
        return replace(views, masks=None, depths=None).bounds()
