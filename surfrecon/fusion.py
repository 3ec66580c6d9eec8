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
from surfrecon.inverse_depth import FIT, carried, fitted_planes, sampled
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
        found = sampled(w, torch.as_tensor(there.T, dtype=w.dtype, device=w.device)).double().cpu().numpy()
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
    row, column = torch.nonzero(solid, as_tuple=True)
    a, b, c = plane[:, row, column]
    pixels = torch.stack([column, row]) + 0.5
    total, votes = _homogeneous(pixels) / c, torch.zeros_like(row)
    for other in partners:
        there, _ = carried(views, view, other, pixels, c)
        found = sampled(maps[other].inverse_depth, there)
        back, depth = carried(views, other, view, there, found)
        near = (found > 0) & ((back - pixels).norm(dim=0) < REPROJECTION) & ((depth * c - 1).abs() < DEPTH_AGREES)
        total += torch.where(near, _homogeneous(back) * depth, 0)
        votes += near
    mean = total / (1 + votes)
    keep = votes >= (agreeing if len(partners) >= FEW else 1)
    # The plane n . x = 1 in the camera's frame has inverse depth (x, y, 1) K^-T n: n = K^T (a, b, c - a x - b y).
    slope = torch.stack([a, b, c - a * pixels[0] - b * pixels[1]])
    keep &= (slope * mean).sum(dim=0) > 0  # its front is seen
    if views.masks is not None:
        keep &= _within_masks(views, view, mean[:2] / mean[2], 1 / mean[2])
    sure = torch.zeros_like(w)
    sure[row[keep], column[keep]] = w[row[keep], column[keep]]
    score = maps[view].score[row, column] * votes / (1 + votes)
    row, column, slope, mean, score = (item[..., keep].cpu().numpy() for item in (row, column, slope, mean, score))
    inward = views.intrinsics[view].T @ slope.astype(float)
    rotation = views.cam_from_world[view, :, :3]
    cloud = PointCloud(
        (np.linalg.inv(views.intrinsics[view]) @ mean.astype(float)).T @ rotation + views.centres[view],
        normals=-(inward / np.linalg.norm(inward, axis=0)).T @ rotation,
        colors=(views.images[view][row, column] / 255).astype(np.float32),
        scalars={"confidence": score.astype(np.float32)},
        origins=np.broadcast_to(views.centres[view], (len(row), 3)),
    )
    return cloud, sure


def _homogeneous(pixels: Tensor) -> Tensor:
    """(3, N) of (2, N) pixel positions; times depth, such places are linear in points of space."""
    return torch.cat([pixels, torch.ones_like(pixels[:1])])


def _within_masks(views: Views, view: int, pixels: Tensor, w: Tensor) -> Tensor:
    """(N,) whether points project into the masks of all views but DISSENT of them; what is outside a frame isn't judged by it.

    Args:
        pixels, w: (2, N) and (N,), as one view sees the points.
    """
    against = torch.zeros(len(w), dtype=torch.int32, device=w.device)
    for other, mask in enumerate(views.masks):
        column, row = carried(views, view, other, pixels, w)[0].nan_to_num(nan=-1.0).floor().long()
        height, width = mask.shape
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        shown = torch.tensor(mask, device=w.device)[row.clamp(0, height - 1), column.clamp(0, width - 1)]
        against += inside & ~shown
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
