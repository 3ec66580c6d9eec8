"""From photographs with known cameras to a cloud of surface points: plane-sweep stereo, view by view, kept where views agree."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from surfrecon.backdrop import object_masks
from surfrecon.errors import InputError
from surfrecon.fusion import fused
from surfrecon.geometry import PointCloud, Similarity
from surfrecon.plane_sweep import DepthMap, depth_map, hull_cells
from surfrecon.run import Run
from surfrecon.views import Views

BEST_ANGLE = np.radians(15.0)  # between two views' rays to a point: depth is well told and pictures still look alike
NARROWER, WIDER = np.radians(5.0), np.radians(12.0)  # angles off the best by this weigh exp(-1/2)
LEAST_WEIGHT = 0.01  # of a pair of views that can be matched
SAMPLES = 512  # places in the object's box or hull that tell which views share something
COARSE_SIDE = 500  # pixels of the longest side that is swept from end to end; larger views are halved until they fit
MOST_PARTNERS = 10  # views asked to agree


@dataclass(frozen=True)
class Stereo:
    """Settings of the plane sweep.

    Attributes:
        sources: views compared with each reference; the best two count, so that one may be occluded.
        window: pixels along the compared windows, odd.
        least_ncc: mean correlation of the best two below which nothing is believed.
        agreeing: other views whose own depth must agree.
        voxel: side of the cells over which points are averaged, in pixels' widths at the object.
        hull: whether the visual hull, where there are masks, stands in where stereo is silent and nothing contradicts it.
    """

    sources: int = 4
    window: int = 7
    least_ncc: float = 0.6
    agreeing: int = 2
    voxel: float = 1.0
    hull: bool = True

    def __post_init__(self):
        if self.sources < 1 or self.agreeing < 1:
            raise InputError(f"stereo needs at least one source and one agreeing view, got {self.sources} and {self.agreeing}")
        if self.window < 3 or self.window % 2 == 0:
            raise InputError(f"the window of stereo must be an odd number of pixels, 3 or more, got {self.window}")
        if not self.voxel > 0:
            raise InputError(f"voxel must be > 0 (pixels' widths at the object), got {self.voxel}")


def stereo_cloud(views: Views, settings: Stereo | None = None, *, run: Run | None = None) -> PointCloud:
    """The surface points that the views agree on, world frame, with normals, colours, origins (cameras) and `confidence` in (0, 1].

    Args:
        views: at least two, of a still scene; masks are respected where there are any.
        settings: see Stereo.
        run: device, progress.
    Raises:
        InputError: fewer than two views, or no two that see one place from fit angles, or nothing that they agree on.
    """
    settings, run = settings or Stereo(), run or Run()
    if len(views) < 2:
        raise InputError("stereo needs at least two views, got 1")
    unit_from_world = Similarity.fit(views)
    unit = views.transformed(unit_from_world)
    with run.stage("stereo"):
        maps, partners = depth_maps(unit, settings, run)
    with run.stage("fuse"):
        cloud = fused(unit, maps, partners, agreeing=settings.agreeing, voxel=settings.voxel, hull=settings.hull, run=run)
    if not len(cloud):
        raise InputError("the views agree on no surface point: too little texture, or cameras that are off by more than a pixel")
    return cloud.transformed(unit_from_world.inverse())


def depth_maps(unit: Views, settings: Stereo, run: Run) -> tuple[list[DepthMap], list[np.ndarray]]:
    """The depth map of each view, and the rows of others, best first, that each can be matched with; views in the unit frame.

    Depths that the views come with are taken as they are.

    Raises:
        InputError: no two see one place from fit angles.
    """
    partners = neighbours(unit)
    if not any(len(row) for row in partners):
        raise InputError("no two views see one place from directions that differ by about 5 to 40 degrees: stereo needs such pairs")
    if unit.depths is not None:
        return [_given(depth, run) for depth in unit.depths], partners
    levels = [unit if unit.masks is not None else replace(unit, masks=object_masks(unit))]
    while levels[-1].sizes.max() > COARSE_SIDE or len(levels) < 2:
        levels.append(levels[0].scaled(0.5 ** len(levels)))
    compared = {
        "box": unit.bounds(),
        "window": settings.window,
        "least_ncc": settings.least_ncc,
        "hull": None if unit.masks is None else hull_cells(unit).to(run.torch_device()),
        "device": run.torch_device(),
    }
    maps = []
    for view in range(len(unit)):
        maps.append(depth_map(levels, view, partners[view][: settings.sources], **compared))
        run.step("stereo", view + 1, len(unit), depths=float((maps[-1].score > 0).float().mean()))
    return maps, partners


def _given(depth: np.ndarray, run: Run) -> DepthMap:
    """Of a depth (H, W), 0 where unknown."""
    known = torch.tensor(depth > 0, device=run.torch_device())
    inverse = 1 / torch.where(known, torch.tensor(depth, device=known.device), torch.inf)
    return DepthMap(inverse.float(), known.float())


def neighbours(views: Views, box: np.ndarray | None = None) -> list[np.ndarray]:
    """For each view the others that can be matched with it, best first: by the angle between their rays to what both have in the frame.

    Args:
        box: (2, 3) of what they show; None takes the views' own.
    """
    low, high = views.bounds() if box is None else box
    places = low + (high - low) * np.random.default_rng(0).uniform(size=(SAMPLES, 3))
    seen = np.empty((len(views), SAMPLES), bool)
    for view, size in enumerate(views.sizes):
        pixels, _ = views.project(view, places)
        with np.errstate(invalid="ignore"):
            seen[view] = ((pixels >= 0) & (pixels < size)).all(axis=1)
    rays = views.centres[:, None] - places
    rays /= np.linalg.norm(rays, axis=2, keepdims=True)
    result = []
    for view in range(len(views)):
        angle = np.arccos(np.einsum("ni,vni->vn", rays[view], rays).clip(-1, 1))
        off = angle - BEST_ANGLE
        weight = np.exp(-0.5 * (off / np.where(off < 0, NARROWER, WIDER)) ** 2) * seen * seen[view]
        weight = weight.sum(axis=1) / max(1, seen[view].sum())
        weight[view] = 0
        order = np.argsort(-weight, kind="stable")
        result.append(order[weight[order] > LEAST_WEIGHT][:MOST_PARTNERS])
    return result
