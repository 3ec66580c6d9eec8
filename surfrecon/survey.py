"""What every fit to a scan wants to know first: which points are none, how well the others show their surface, and its outer side there.

Lengths are in the unit frame where not said otherwise. s: spacing of the points.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from surfrecon.geometry import PointCloud
from surfrecon.local_surfaces import LocalSurfaces, local_surfaces
from surfrecon.orientation import Orientation, orient
from surfrecon.outliers import outlying
from surfrecon.quality import Quality, quality
from surfrecon.run import Run
from surfrecon.thinning import ENOUGH, FINEST, gathered, thinned

# Under a budget: share of what is left that looking at the points may take, seconds of a fit per point, least number of points.
LOOK_SHARE, SECONDS_PER_POINT, LEAST_POINTS = 0.25, 7e-5, 3000


@dataclass(frozen=True)
class Survey:
    """A scan as a fit takes it.

    Attributes:
        given: the scan that was asked about.
        scan: its points without outliers, at most ENOUGH, neighbours together.
        quality: of its points.
        surfaces: around each of them.
        orientation: of these surfaces.
    """

    given: PointCloud
    scan: PointCloud
    quality: Quality
    surfaces: LocalSurfaces
    orientation: Orientation


def survey(scan: PointCloud, run: Run, *, finest: int = FINEST) -> Survey:
    """The survey of a scan in the unit frame; a run makes that of the same scan once.

    Args:
        scan: see above; no two of its points are equal.
        run: surroundings; stages `look` and `orient`.
        finest: cells along the unit box that thinning must not blur.
    """
    made = run.kept.get("survey")
    if made is not None and made.given is scan:
        return made
    with torch.no_grad():
        with run.stage("look"):
            affordable = max(LEAST_POINTS, min(ENOUGH, LOOK_SHARE * run.seconds_left() / SECONDS_PER_POINT))
            bare = replace(scan, colors=None, scalars={})
            points = thinned(bare, side=2 / max(FINEST, finest), enough=int(affordable))
            if len(points) < len(scan):
                run.facts["thinned_to"] = len(points)
            if len(points) < len(scan) <= ENOUGH:
                run.cut_short(f"thinned to {len(points):,} of {len(scan):,} points")
            points = gathered(points)
            far = outlying(points.points)
            points = points[~far]
            run.facts["outliers"] = int(far.sum())
            known = quality(points.points, generator=np.random.default_rng(run.seed))
            surfaces = local_surfaces(points.points, known=known)
        with run.stage("orient"):
            orientation = orient(points, surfaces.normals, run)
            run.facts["sides_from"] = orientation.source
            run.facts["confident_sides"] = float(orientation.confident.mean())
    run.kept["survey"] = Survey(scan, points, known, surfaces, orientation)
    return run.kept["survey"]


def first_look(scan: PointCloud) -> Quality:
    """The quality at a scan's points, for an estimate of what a fit will take."""
    return quality(scan.points).at(scan.points)
