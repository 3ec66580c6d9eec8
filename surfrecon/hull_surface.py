"""Points on the surface of the visual hull: what silhouettes alone say, for where photographs show no texture.

Letters: V views, N points. Frames as in views.py. Distances to silhouettes are positive inside of them.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import grid_sample

from surfrecon.geometry import PointCloud
from surfrecon.views import Views

MOST_CELLS = 128  # along the box: 2 million places
ROUNDS = 2  # Newton steps from where the lattice's edges cross the hull
BEYOND = 1e3  # pixels inside: what a view says of places outside of its frame


def hull_surface(views: Views, *, side: float) -> PointCloud:
    """Points where the smallest distance to any silhouette is zero, with outward normals, of views with masks.

    Args:
        views: unit frame, all masks good: a bad one carves.
        side: distance between the lattice's places, from which the points are found; widened to MOST_CELLS along the box.
    """
    fields = [_signed(views, view) for view in range(len(views)) if views.masks[view].any()]
    low, high = views.bounds()
    side = max(side, float((high - low).max()) / MOST_CELLS)
    axes = [torch.arange(lo - side, hi + 1.5 * side, side, dtype=torch.float32) for lo, hi in zip(low, high)]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    inside = _inside(fields, places.reshape(-1, 3)).reshape(places.shape[:3])
    found = []
    for axis in range(3):
        count = inside.shape[axis] - 1
        a, b = inside.narrow(axis, 0, count), inside.narrow(axis, 1, count)
        crossed = (a > 0) != (b > 0)
        t = (a / (a - b))[crossed][:, None]
        start, end = (places.narrow(axis, first, count)[crossed] for first in (0, 1))
        found.append(start + t * (end - start))
    points = torch.cat(found)
    for _ in range(ROUNDS):
        slope, value = _slope(fields, points, side / 2), _inside(fields, points)
        length2 = (slope * slope).sum(dim=1).clamp(min=0.25)  # a distance's slope is 1; less only where two silhouettes meet
        points = points - (value / length2).clamp(-side, side)[:, None] * slope
    slope = _slope(fields, points, side / 2)
    length = torch.linalg.norm(slope, dim=1)
    keep = (_inside(fields, points).abs() < side / 4) & (length > 0.1)
    return PointCloud(points[keep].double().numpy(), normals=-(slope / length[:, None])[keep].double().numpy())


def _signed(views: Views, view: int) -> tuple[Tensor, Tensor, Tensor, float]:
    """Signed distance to the silhouette in pixels (1, 1, H, W), projection (3, 3) and (3,), and pixels per unit at depth 1."""
    mask = views.masks[view]
    framed = np.pad(mask, 1, mode="edge")  # the frame's border is no outline
    away = (distance_transform_edt(framed) - distance_transform_edt(~framed))[1:-1, 1:-1] if not mask.all() else np.full(mask.shape, BEYOND)
    away = away - np.sign(away) / 2  # the outline runs between pixels
    k, pose = views.intrinsics[view], views.cam_from_world[view]
    as_float = lambda value: torch.as_tensor(value, dtype=torch.float32)
    return as_float(away)[None, None], as_float(k @ pose[:, :3]), as_float(k @ pose[:, 3]), float(k[0, 0])


def _inside(fields: list[tuple[Tensor, Tensor, Tensor, float]], points: Tensor) -> Tensor:
    """(N,) smallest signed distance of (N, 3) places to the silhouettes' cones, in the points' units."""
    least = torch.full((len(points),), torch.inf)
    for away, turn, shift, focal in fields:
        x, y, z = (points @ turn.T + shift).unbind(dim=1)
        depth = z.clamp(min=1e-6)
        height, width = away.shape[2:]
        place = torch.stack([2 * x / (depth * width) - 1, 2 * y / (depth * height) - 1], dim=1)
        value = grid_sample(away, place[None, None], mode="bilinear", padding_mode="border", align_corners=False)[0, 0, 0]
        framed = (place.abs() <= 1).all(dim=1) & (z > 1e-6)
        least = torch.minimum(least, torch.where(framed, value, BEYOND) * depth / focal)
    return least


def _slope(fields: list[tuple[Tensor, Tensor, Tensor, float]], points: Tensor, step: float) -> Tensor:
    """(N, 3) central differences of _inside."""
    sides = [step * torch.eye(3)[axis] for axis in range(3)]
    return torch.stack([(_inside(fields, points + s) - _inside(fields, points - s)) / (2 * step) for s in sides], dim=1)
