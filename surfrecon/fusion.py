"""From the depth maps of many views to one cloud: the points on which they agree, and the visual hull where stereo is silent.

Letters: N points, H and W rows and columns of a view. Frames and pixel positions as in views.py.

Source: the agreement of views as in Schoenberger et al., Pixelwise view selection, 2016.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from surfrecon.geometry import PointCloud, merge
from surfrecon.hull_surface import hull_surface
from surfrecon.inverse_depth import FIT, fitted_planes, sampled
from surfrecon.plane_sweep import DepthMap
from surfrecon.run import Run
from surfrecon.stray_points import CONTRADICTED, crumbs, seen_through
from surfrecon.thinning import thinned
from surfrecon.views import Views

FEW = 3  # partners: with fewer, one on either side at best, one that agrees is enough
REPROJECTION = 1.0  # pixels
DEPTH_AGREES = 0.005  # of the depth
HELD = 1_500_000  # points before they are averaged over voxels
SILENT = 5.0  # pixels' widths from every stereo point: from there on the hull stands in
HULL_CONFIDENCE = 0.05  # of points that the silhouettes alone tell
DISSENT = 0.05  # share of the views that may call a place background: a mask or two may be bad


def fused(
    views: Views, maps: list[DepthMap], partners: list[np.ndarray], *, agreeing: int, voxel: float, hull: bool, run: Run
) -> PointCloud:
    """The points on which at least `agreeing` other views agree, means of what all of these say, averaged over voxels, without strays.

    Args:
        views: unit frame. maps: one of each. partners: for each, the rows of views asked to agree.
        agreeing, voxel, hull: see Stereo.
    """
    clouds, confirmed, held, pixel = [], [], 0, _pixel_width(views, maps)
    together = lambda parts: _voxels(merge(parts), voxel * pixel)
    for view in range(len(views)):
        cloud, sure = _agreed(views, maps, view, partners[view], agreeing)
        clouds.append(cloud)
        confirmed.append(sure)
        held += len(clouds[-1])
        if held > HELD:
            clouds = [together(clouds)]
            held = 0
        run.step("fuse", view + 1, len(views))
    cloud = together(clouds)
    if len(cloud):
        cloud = cloud[~seen_through(views, confirmed, cloud.points)]
    if views.masks is None and len(cloud):
        cloud = cloud[~crumbs(views, cloud.points, pixel)]
    if hull and views.masks is not None and len(cloud):
        return merge([cloud, _stand_in(views, confirmed, cloud, pixel)])
    return cloud


def _stand_in(views: Views, confirmed: list[Tensor], cloud: PointCloud, pixel: float) -> PointCloud:
    """The points of the visual hull that lie away from the cloud and that no two views see through."""
    hull = hull_surface(views, side=pixel)
    low, high = cloud.object_bounds()  # views from one side only have a hull that goes on behind the object
    hull = hull[((hull.points >= low - SILENT * pixel) & (hull.points <= high + SILENT * pixel)).all(axis=1)]
    hull = hull[cKDTree(cloud.points).query(hull.points)[0] > SILENT * pixel]
    against = np.zeros(len(hull), int)
    for view, w in enumerate(confirmed):
        there, depth = views.project(view, hull.points)
        found = sampled(w, there)
        against += (found > 0) & (found * depth < 1 - DEPTH_AGREES)
    hull = hull[against < CONTRADICTED]
    toward = views.centres[:, None] - hull.points
    facing = np.argmax(np.einsum("vni,ni->vn", toward / np.linalg.norm(toward, axis=2, keepdims=True), hull.normals), axis=0)
    colors = np.zeros((len(hull), 3), np.float32)
    for view, image in enumerate(views.images):
        rows = np.flatnonzero(facing == view)
        column, row = np.clip(np.nan_to_num(views.project(view, hull.points[rows])[0]), 0, views.sizes[view] - 1).astype(int).T
        colors[rows] = image[row, column] / 255
    confidence = np.full(len(hull), HULL_CONFIDENCE, np.float32)
    return replace(hull, colors=colors, scalars={"confidence": confidence}, origins=views.centres[facing])


def _agreed(views: Views, maps: list[DepthMap], view: int, partners: np.ndarray, agreeing: int) -> tuple[PointCloud, Tensor]:
    """The points of one view's depth map that others agree with, and its inverse depth (H, W) where they do, 0 elsewhere."""
    w = maps[view].inverse_depth
    plane, solid = fitted_planes(w, (w > 0).float(), FIT)
    solid &= (w > 0) & ((plane[2] - w).abs() < DEPTH_AGREES / 2 * w)
    row, column = (place.cpu().numpy() for place in torch.nonzero(solid, as_tuple=True))
    a, b, c = plane[:, row, column].double().cpu().numpy()
    pixels = np.stack([column + 0.5, row + 0.5], axis=1)
    # The plane n . x = 1 in the camera's frame has inverse depth (x, y, 1) K^-T n: n = K^T (a, b, c - a x - b y).
    slope = np.stack([a, b, c - a * pixels[:, 0] - b * pixels[:, 1]], axis=1) @ views.intrinsics[view]
    normals = -slope / np.linalg.norm(slope, axis=1, keepdims=True) @ views.cam_from_world[view, :, :3]
    points = _unproject(views, view, pixels, 1 / c)
    total, votes = points.copy(), np.zeros(len(points), int)
    for other in partners:
        there, _ = views.project(other, points)
        found = sampled(maps[other].inverse_depth, there)
        known = found > 0
        theirs = _unproject(views, other, there[known], 1 / found[known])
        back, depth = views.project(view, theirs)
        with np.errstate(invalid="ignore"):
            near = np.linalg.norm(back - pixels[known], axis=1) < REPROJECTION
            near &= np.abs(depth * c[known] - 1) < DEPTH_AGREES
        rows = np.flatnonzero(known)[near]
        total[rows] += theirs[near]
        votes[rows] += 1
    keep = votes >= (agreeing if len(partners) >= FEW else 1)
    points = total / (1 + votes)[:, None]
    keep &= (normals * (views.centres[view] - points)).sum(axis=1) > 0
    if views.masks is not None:
        keep[keep] = within_masks(views, points[keep])
    score = maps[view].score[row, column].double().cpu().numpy()
    sure = torch.zeros_like(w)
    sure[row[keep], column[keep]] = w[row[keep], column[keep]]
    cloud = PointCloud(
        points[keep],
        normals=normals[keep],
        colors=(views.images[view][row, column][keep] / 255).astype(np.float32),
        scalars={"confidence": (score * votes / (1 + votes))[keep].astype(np.float32)},
        origins=np.broadcast_to(views.centres[view], points.shape)[keep],
    )
    return cloud, sure


def within_masks(views: Views, points: np.ndarray) -> np.ndarray:
    """(N,) whether points project into the masks of all views but DISSENT of them; what is outside a frame isn't judged by it."""
    against = np.zeros(len(points), int)
    for view, mask in enumerate(views.masks):
        pixels, _ = views.project(view, points)
        with np.errstate(invalid="ignore"):
            inside = ((pixels >= 0) & (pixels < views.sizes[view])).all(axis=1)
        column, row = pixels[inside].astype(int).T
        against[np.flatnonzero(inside)[~mask[row, column]]] += 1
    return against <= DISSENT * len(views)


def _voxels(cloud: PointCloud, side: float) -> PointCloud:
    return thinned(cloud, side=side, enough=len(cloud) - 1) if len(cloud) > 1 else cloud


def _pixel_width(views: Views, maps: list[DepthMap]) -> float:
    """Width of a pixel at the surface, typically, in the views' units."""
    widths = []
    for view, item in enumerate(maps):
        known = item.inverse_depth[item.inverse_depth > 0]
        if len(known):
            widths.append(1 / (float(known.median()) * views.intrinsics[view, 0, 0]))
    return float(np.median(widths)) if widths else 1.0


def _unproject(views: Views, view: int, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
    origins, directions = views.rays(view, pixels)
    return origins + directions * (depth / (directions @ views.directions[view]))[:, None]
