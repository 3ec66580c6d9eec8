"""What photographs show of a surface: colours of places on it, each blended from the views that see it, and how well it was seen.

The views' colours at a place have weights w as visibility.py tells. From their median by sqrt(w), channel by channel, a few turns of
weights w (s^2 / (s^2 + r^2))^2 lead to the result, r being the distance to it and s the median distance: what a minority of the views
shows, a highlight, a passer-by, a pose that is off, counts for little. Colours are averaged as files hold them, sRGB.

Letters: N places, K views that count for a place, V vertices. Colours within are float32 in [0, 255].

Source: Geman and McClure, Statistical methods for tomographic image reconstruction, 1987 (the weights).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import cg

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh
from surfrecon.run import Run
from surfrecon.views import Views
from surfrecon.visibility import Visibility, bilinear

BEST = 10  # views that count for one place, those of the largest weight; the others, aslant and from afar, would only blur it
TURNS = 3  # of the robust mean
LEAST_SPREAD = 10.0  # of 255: colours that differ by less agree, noise and interpolation being what they are
MAD_TO_SIGMA = 1.4826  # of the normal distribution
BLOCK = 1 << 16  # places at a time: 36 views hold 40 MB
PER_VIEW = 0.5  # confidence that one view straight on gives
GREY = 0.5  # colour of a piece of a mesh that nobody sees, while no other piece is seen either
PULL = 1e-6  # of unseen vertices towards the mean colour, in edges: it alone holds pieces that nobody sees
SOLVED = 1e-3  # residual of the fill, relative


@dataclass(frozen=True, eq=False)
class Appearance:
    """What N places look like.

    Attributes:
        colors: (N, 3) float32 in [0, 255], 0 where unseen.
        weight: (N,) float32 sum of the views' weights, pixels per unit area, 0 where unseen.
        views: (N,) int32 number of views that see it.
        confidence: (N,) float32 in [0, 1): 1 - product over these views of (1 - PER_VIEW cos(angle to the normal)); 0 where unseen, 0.5 by
            one view straight on, 0.75 by two, 0.94 by four.
    """

    colors: np.ndarray
    weight: np.ndarray
    views: np.ndarray
    confidence: np.ndarray


def appearance(visibility: Visibility, places: np.ndarray, normals: np.ndarray, *, run: Run | None = None) -> Appearance:
    """What places on the mesh of a Visibility look like in its views.

    Args:
        visibility: of that mesh.
        places: (N, 3) on it, world frame.
        normals: (N, 3) unit, outward.
        run: hears how far it is.
    """
    run, count = run or Run(), len(places)
    result = Appearance(np.zeros((count, 3), np.float32), *(np.zeros(count, kind) for kind in (np.float32, np.int32, np.float32)))
    for start in range(0, count, BLOCK):
        part = slice(start, min(start + BLOCK, count))
        _look(visibility, places[part], normals[part], Appearance(*(getattr(result, name)[part] for name in result.__dict__)))
        run.step("appearance", part.stop, count)
    return result


def _look(visibility: Visibility, places: np.ndarray, normals: np.ndarray, result: Appearance) -> None:
    """Fill in the appearance of some places."""
    count, number = len(places), len(visibility.views)
    weights, colors = np.zeros((number, count), np.float32), np.zeros((3, number, count), np.float32)
    unsure = np.ones(count)
    for view in range(number):
        sight = visibility.sight(view, places, normals)
        if len(sight.rows):
            weights[view, sight.rows] = sight.weight
            colors[:, view, sight.rows] = bilinear(visibility.views.images[view], sight.pixels).T
            unsure[sight.rows] *= 1 - PER_VIEW * np.minimum(sight.cosine, 1)
            result.views[sight.rows] += 1
    if number > BEST:
        best = np.argpartition(-weights, BEST - 1, axis=0)[:BEST]
        weights, colors = np.take_along_axis(weights, best, 0), np.take_along_axis(colors, best[None], 1)
    rows = np.flatnonzero(result.views)
    result.colors[rows] = robust_mean(colors[:, :, rows], weights[:, rows]).T
    result.weight[:] = weights.sum(axis=0)
    result.confidence[:] = 1 - unsure


def robust_mean(colors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(C, N) blend of colours (C, K, N) by weights (K, N) >= 0, some > 0 for each place, that a minority of outliers hardly moves."""
    votes = np.sqrt(weights)  # lest one view straight on, that is wrong, outvotes several aslant
    centre = np.stack([weighted_median(channel, votes) for channel in colors])
    square = lambda: sum((channel - middle) ** 2 for channel, middle in zip(colors, centre))
    spread = np.maximum(MAD_TO_SIGMA**2 * weighted_median(square(), votes), LEAST_SPREAD**2)
    for _ in range(TURNS):
        share = weights * (spread / (spread + square())) ** 2
        share /= share.sum(axis=0)
        centre = np.stack([(share * channel).sum(axis=0) for channel in colors])
    return centre


def weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(N,) of (K, N) values: the first, in rising order, with which half of the weight is reached."""
    order = np.argsort(values, axis=0)
    reached = np.cumsum(np.take_along_axis(weights, order, 0), axis=0)
    middle = (reached < reached[-1] / 2).sum(axis=0)
    return np.take_along_axis(values, np.take_along_axis(order, middle[None], 0), 0)[0]


def colored(mesh: Mesh, views: Views, *, run: Run | None = None) -> Mesh:
    """The mesh with the photographs' colours at its vertices and the scalars `views` and `confidence`, see Appearance.

    Vertices that nobody sees get confidence 0 and colours that run on smoothly from those that are seen: each is its neighbours' mean.

    Args:
        mesh: closed or open, in the views' frame.
        views: the photographs.
        run: progress.
    Raises:
        InputError: a mesh without faces, or none of whose vertices any view sees.
    """
    run = run or Run()
    with run.stage("colours"):
        return colored_by(Visibility(mesh, views, run), run=run)


def colored_by(visibility: Visibility, *, run: Run | None = None) -> Mesh:
    """The mesh of a Visibility, as colored() gives it."""
    mesh = visibility.mesh
    seen = appearance(visibility, mesh.vertices, mesh.vertex_normals(), run=run)
    if not seen.views.any():
        raise InputError(f"none of the {len(visibility.views)} views sees any vertex of the mesh: are they in one frame?")
    colors = filled(mesh, seen.colors / 255, seen.views > 0)
    return replace(mesh, colors=colors, scalars={**mesh.scalars, "views": seen.views, "confidence": seen.confidence})


def filled(mesh: Mesh, colors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(V, 3) colours that are given (V, 3) where known (V,) and elsewhere the mean of the neighbours' (Laplace's equation over edges)."""
    unknown = np.flatnonzero(~known)
    if not len(unknown):
        return colors
    count = len(mesh.vertices)
    tail, head = np.concatenate([mesh.faces[:, [i, (i + 1) % 3]] for i in range(3)]).T
    links = coo_matrix((np.ones(2 * len(tail)), (np.r_[tail, head], np.r_[head, tail])), shape=(count, count)).tocsr()
    links.data[:] = 1  # an edge counts once, whatever the faces at it
    rows = links[unknown]
    degree = np.asarray(rows.sum(axis=1)).ravel() + PULL
    matrix, inverse = diags(degree) - rows[:, unknown], diags(1 / degree)
    result = np.array(colors, np.float64)
    mean = result[known].mean(axis=0) if known.any() else np.full(3, GREY)
    for channel in range(3):
        # The difference from the mean is solved for: where nothing is known it is zero.
        given = rows[:, np.flatnonzero(known)] @ (result[known, channel] - mean[channel])
        result[unknown, channel] = mean[channel] + cg(matrix, given, rtol=SOLVED, M=inverse)[0]
    return np.clip(result, 0, 1).astype(np.float32)
