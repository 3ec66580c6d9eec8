"""What every fit to a scan wants to know first: which points are none, the surface around each of the others, its outer side, the noise.

Lengths are in the unit frame where not said otherwise. s: spacing of the points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from surfrecon.geometry import PointCloud
from surfrecon.local_surfaces import NOISE_OF_MISS, LocalSurfaces, left_out_misses, local_surfaces, outlying
from surfrecon.orientation import Orientation, orient
from surfrecon.run import Run
from surfrecon.thinning import ENOUGH, FINEST, gathered, thinned

LEAST_SMOOTHING = 0.1  # of clean points, in s
CLEAN_REACH = 0.1  # noise beyond the least smoothing, in s, with which points go over from clean to noisy
SMOOTHING_OF_NOISE = 1.0  # smoothing length per standard deviation of the noise, at usual relief (tuned on noisy, virtual and real scans)
# Relief: squared miss of the widest neighbourhoods over that of the best, less 1. Its least value that can be told from none; the power of
# it, over the usual, that smoothing goes by: about that of a bias by relief balanced against noise.
LEAST_RELIEF, USUAL_RELIEF, RELIEF_POWER = 0.02, 0.1, -0.15
# Under a budget: share of what is left that looking at the points may take, seconds of a fit per point, least number of points.
LOOK_SHARE, SECONDS_PER_POINT, LEAST_POINTS = 0.25, 7e-5, 3000


@dataclass(frozen=True)
class Quality:
    """How well points show their surface.

    Attributes:
        noise: standard deviation of the points from their surface, in s.
        smoothing: length below which relief can't be told from noise, in s.
        clean: from 1, points without noise, to 0, others.
    """

    noise: float
    smoothing: float
    clean: float


@dataclass(frozen=True)
class Survey:
    """A scan as a fit takes it.

    Attributes:
        given: the scan that was asked about.
        scan: its points without outliers, at most ENOUGH, neighbours together.
        surfaces: around each of its points.
        orientation: of these surfaces.
        quality: of the points.
    """

    given: PointCloud
    scan: PointCloud
    surfaces: LocalSurfaces
    orientation: Orientation
    quality: Quality


def survey(scan: PointCloud, run: Run, *, finest: int = FINEST) -> Survey:
    """The survey of a scan in the unit frame; a run makes that of the same scan once.

    Args:
        scan: see above; no two of its points are equal.
        run: surroundings; stages `look` and `orient`.
        finest: cells along the unit box that thinning must not blur.
    """
    known = run.kept.get("survey")
    if known is not None and known.given is scan:
        return known
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
            surfaces = local_surfaces(points.points, generator=np.random.default_rng(run.seed))
        with run.stage("orient"):
            orientation = orient(points, surfaces.normals, run)
            run.facts["sides_from"] = orientation.source
            run.facts["confident_sides"] = float(orientation.confident.mean())
    run.kept["survey"] = Survey(scan, points, surfaces, orientation, quality(surfaces.misses, points.spacing()))
    return run.kept["survey"]


def quality(misses: Mapping[int, float], spacing: float) -> Quality:
    """The quality of points that neighbourhoods of each size miss by so much when they are left out."""
    best = min(misses.values())
    noise = NOISE_OF_MISS * best / spacing
    relief = max(LEAST_RELIEF, (misses[max(misses)] / best) ** 2 - 1) if best else USUAL_RELIEF
    smoothing = max(LEAST_SMOOTHING, SMOOTHING_OF_NOISE * noise * (relief / USUAL_RELIEF) ** RELIEF_POWER)
    return Quality(noise, smoothing, min(1.0, max(0.0, 1 - (noise - LEAST_SMOOTHING) / CLEAN_REACH)))


def first_look(scan: PointCloud) -> Quality:
    """The quality of a scan's points, for an estimate of what a fit will take."""
    return quality(left_out_misses(scan.points), scan.spacing())
