"""Local surfaces of a cloud: at each point a quadric over its tangent plane, fitted to as many neighbours as the data bear there.

The quadrics' normals then settle among those of their neighbours that point the same way: flat parts get flatter, edges stay.

Letters: N points, K neighbours. Lengths are in the cloud's own units.
Source: normals settle as in Jones, Durand and Zwicker, "Normal improvement for point rendering", 2004.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from surfrecon.quadrics import FALLOFF, batches, quadrics
from surfrecon.quality import Quality, quality

SETTLED_TURN = 0.02  # normals that the noise turns by less, in radians, stay as they are
ALIKE = 0.25  # radians between normals over which they stop settling together: above their noise, below an edge
TURNS = 3  # of settling
WIDER = 2  # times the quadric's neighbours take part


@dataclass(frozen=True)
class LocalSurfaces:
    """Quadrics at the points of a cloud.

    Attributes:
        normals: (N, 3) float64 unit, sides not decided.
        offsets: (N,) height of the surface over the point, along the normal.
        neighbours: (N,) how many each quadric was fitted to.
    """

    normals: np.ndarray
    offsets: np.ndarray
    neighbours: np.ndarray


def local_surfaces(points: np.ndarray, *, neighbours: int | None = None, known: Quality | None = None) -> LocalSurfaces:
    """A quadric at every point.

    Args:
        points: (N, 3), N >= 3.
        neighbours: of each quadric, itself included; None follows the quality, and normals settle where noise turns them.
        known: quality of the points; None asks for it here.
    """
    tree = cKDTree(points)
    if neighbours is None:
        here = (known or quality(points, tree=tree)).at(points)
        sizes, unsettled = here.neighbours, here.turn > SETTLED_TURN
    else:
        sizes, unsettled = np.full(len(points), neighbours), np.zeros(len(points), bool)
    sizes = np.clip(sizes, min(3, len(points)), len(points))
    normals, offsets = np.empty((len(points), 3)), np.empty(len(points))
    around = []
    for size in np.unique(sizes):
        same, wide = np.flatnonzero(sizes == size), min(WIDER * size, len(points))
        for part in batches(len(same), wide):
            rows = same[part]
            distance, nearest = (found.reshape(len(rows), wide) for found in tree.query(points[rows], wide, workers=-1))
            normals[rows], offsets[rows] = quadrics(points[rows], points[nearest[:, :size]])
            weight = np.exp(-FALLOFF * (distance / np.maximum(distance[:, -1:], np.finfo(float).tiny)) ** 2)
            turned = unsettled[rows]
            around.append((rows[turned], torch.from_numpy(nearest[turned].astype(np.int32)), torch.from_numpy(weight[turned]).float()))
    if unsettled.any():
        normals = _settled(torch.from_numpy(normals).float(), around).double().numpy()
    return LocalSurfaces(normals, offsets, sizes)


def _settled(normals: Tensor, around: list[tuple[np.ndarray, Tensor, Tensor]]) -> Tensor:
    """(N, 3) unit normals, some of them the mean of those around them that point their way, or the opposite one: TURNS times.

    Args:
        normals: (N, 3) unit, sides not decided.
        around: (rows, (n, K) neighbours of these, (n, K) their weights).
    """
    for _ in range(TURNS):
        before, normals = normals, normals.clone()
        for rows, nearest, weight in around:
            other = before[nearest]
            cosine = (other @ before[rows, :, None]).squeeze(2)
            weight = weight * torch.exp((cosine.abs() - 1) * (2 / ALIKE**2)) * cosine.sign()
            normals[rows] = torch.nn.functional.normalize((other * weight[:, :, None]).sum(1), dim=1)
    return normals
