"""The surface of the visual hull: what silhouettes alone say, as points for where photographs show no texture, or as a closed mesh.

Letters: V views, N points. Frames as in views.py. Distances to silhouettes are positive inside of them.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import grid_sample

from surfrecon.errors import InputError
from surfrecon.extract import marching_cubes
from surfrecon.fields import Field
from surfrecon.geometry import Mesh, PointCloud, Similarity
from surfrecon.repair import pieces, selected
from surfrecon.run import Run
from surfrecon.views import Views

MOST_CELLS = 128  # along the box: 2 million places
ROUNDS = 2  # Newton steps from where the lattice's edges cross the hull
BEYOND = 1e3  # pixels inside: what a view says of places outside of its frame
HULL_MARGIN = 0.04  # of the unit frame, around the box of the hull's coarse cells
LEAST_PIECE = 0.005  # of the hull's faces: smaller pieces are where silhouettes of other views happen to overlap


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


def hull_mesh(views: Views, *, resolution: int = 144, run: Run | None = None) -> Mesh:
    """The visual hull as a closed manifold mesh, world frame: marching cubes where the smallest distance to any silhouette is zero.

    Views from one side leave it open behind; there the box of views.bounds() and a little more closes it.

    Args:
        views: with masks, all of them good: a bad one carves.
        resolution: cells along the unit box, 1 / UNIT_HALF_SIDE of the hull's longest side.
        run: progress.
    Raises:
        InputError: views without masks, or masks that share no place.
    """
    if views.masks is None:
        raise InputError("a visual hull needs masks, which these views don't carry")
    unit_from_world = Similarity.fit(views)
    mesh = marching_cubes(_Hull(views.transformed(unit_from_world)), resolution=resolution, run=run or Run(device="cpu"))
    count, piece = pieces(mesh)
    faces = np.bincount(piece[mesh.faces[:, 0]], minlength=count)
    mesh = selected(mesh, (faces >= min(LEAST_PIECE * len(mesh.faces), faces.max()))[piece[mesh.faces[:, 0]]])
    return mesh.transformed(unit_from_world.inverse())


class _Hull(Field):
    """Distance to the hull's outlines, in the unit frame: views in that frame."""

    def __init__(self, views: Views):
        super().__init__()
        self.cones = [_signed(views, view) for view in range(len(views)) if views.masks[view].any()]
        low, high = torch.as_tensor(views.bounds(), dtype=torch.float32)
        self.low, self.high = low - HULL_MARGIN, high + HULL_MARGIN

    def forward(self, x: Tensor) -> Tensor:
        beyond = torch.maximum(self.low - x, x - self.high).amax(dim=1)
        return torch.maximum(-_inside(self.cones, x), beyond)

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self(x), -_slope(self.cones, x, HULL_MARGIN / 8)


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
