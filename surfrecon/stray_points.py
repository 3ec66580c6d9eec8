"""Points of a stereo cloud that its own depth maps or its own company speak against.

Letters: N points, V views, C cells. Frames as in views.py.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import max_pool2d

from surfrecon.views import Views

CLEARLY = 0.01  # of the depth: by so much a point must lie in front of what a view sees behind it
CONTRADICTED = 2  # views that see through a point, which then isn't there if no more of them see it
APART = 4.0  # pixels' widths along the cells that join points to a patch; gaps of up to twice that are bridged
CRUMB = 100  # points of a patch that tells nothing by itself
LEAST_PATCH = 0.002  # of the largest patch, in an open scene
LEAST_PART = 0.05  # the same where cameras stand around one object: the rest are its surroundings ...
BESIDE = 0.025  # ... but for what lies as near to a part, in diagonals of the largest: sides seen at a slant come in pieces
AROUND = 0.6  # length of the mean of the directions of sight, below which cameras stand around what they look at


def seen_through(views: Views, maps: list[Tensor], points: np.ndarray) -> np.ndarray:
    """(N,) whether at least CONTRADICTED views, and as many as agree, look through points (N, 3) at something behind them.

    Args:
        maps: V inverse depths (H, W) that other views confirm, 0 elsewhere. The nearest of 3 x 3 pixels counts: outlines are blurred.
    """
    against, agreeing = np.zeros(len(points), int), np.zeros(len(points), int)
    for view, w in enumerate(maps):
        if not (w > 0).any():
            continue
        nearest = max_pool2d(w[None, None], 3, stride=1, padding=1)[0, 0]
        pixels, depth = views.project(view, points)
        with np.errstate(invalid="ignore"):
            rows = np.flatnonzero(((pixels >= 0) & (pixels < views.sizes[view])).all(axis=1))
        column, row = torch.as_tensor(pixels[rows].astype(np.int64).T, device=w.device)
        here, near = (item[row, column].double().cpu().numpy() * depth[rows] for item in (w, nearest))
        known = here > 0
        against[rows] += known & (near < 1 - CLEARLY)
        agreeing[rows] += known & (np.minimum(np.abs(here - 1), np.abs(near - 1)) <= CLEARLY)
    return (against >= CONTRADICTED) & (against >= agreeing)


def crumbs(views: Views, points: np.ndarray, pixel: float) -> np.ndarray:
    """(N,) whether points (N, 3) belong to patches too small to be part of the scene, or of the object that the cameras stand around.

    Around an object small patches count where they lie beside a large one.

    Args:
        pixel: width of a pixel at the surface.
    """
    patch = patches(points, APART * pixel)
    sizes = np.bincount(patch)
    around = np.linalg.norm(views.directions.mean(axis=0)) < AROUND
    least = max(CRUMB, (LEAST_PART if around else LEAST_PATCH) * sizes.max())
    large = sizes >= min(least, sizes.max())
    if around:
        diagonal = float(np.linalg.norm(np.ptp(points[patch == sizes.argmax()], axis=0)))
        rows = np.flatnonzero(((sizes >= CRUMB) & ~large)[patch])
        beside = cKDTree(points[large[patch]]).query(points[rows], distance_upper_bound=BESIDE * diagonal)[0] < np.inf
        large[patch[rows[beside]]] = True
    return ~large[patch]


def patches(points: np.ndarray, side: float) -> np.ndarray:
    """(N,) the patch of each point, numbered from 0: points in one cell of a lattice, or in cells that touch, share it."""
    cells, cell = np.unique(np.floor((points - points.min(axis=0)) / side).astype(np.int64), axis=0, return_inverse=True)
    stride = np.array([(cells[:, 1].max() + 3) * (cells[:, 2].max() + 3), cells[:, 2].max() + 3, 1])
    keys = (cells + 1) @ stride  # sorted, as the cells are
    links = []
    for step in np.ndindex(3, 3, 3):
        wanted = keys + (np.array(step) - 1) @ stride
        at = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
        found = keys[at] == wanted
        links.append(np.stack([np.flatnonzero(found), at[found]]))
    one, other = np.concatenate(links, axis=1)
    graph = coo_matrix((np.ones(len(one), bool), (one, other)), shape=(len(keys), len(keys)))
    return connected_components(graph, directed=False)[1][cell.reshape(-1)]
