"""Local surfaces of a cloud: at each point a quadric over its tangent plane, fitted to as many neighbours as the data bear.

Noise asks for many neighbours, detail for few. How many is decided by leaving points out: the neighbourhood whose quadrics predict the
left-out points best. That balance also tells how much smoothing a global fit of the same points should use. The quadrics' normals then
settle among those of their neighbours that point the same way: flat parts get flatter, edges stay.

Letters: N points, K neighbours. Lengths are in the cloud's own units.
Source: quadrics over weighted neighbours are those of Alexa et al., "Computing and rendering point set surfaces", 2003; their size by
cross-validation is ours. Normals settle as in Jones, Durand and Zwicker, "Normal improvement for point rendering", 2004.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from surfrecon.geometry import PointCloud

SIZES = (8, 12, 18, 27, 40, 60, 90, 130)  # neighbourhoods that compete
JUDGES = 3000  # points that are left out, one at a time
TRIMMED = 0.1  # share of the largest misses that don't count: outliers, edges
GAIN = 0.05  # a larger neighbourhood must predict better by this share of the squared miss, else the smaller one is kept
TURN_OF_NOISE = 10.0  # radians that noise turns a normal by, times neighbours, per standard deviation in spacings (measured)
# Neighbourhoods are large enough to keep that below this. Left-out points don't see it in strong noise: one that is centred at a point off
# the surface predicts that point.
STEADY_TURN = 0.133
SETTLED_TURN = 0.02  # normals that the noise turns by less stay as they are
ALIKE = 0.25  # radians between normals over which they stop settling together: above their noise, below an edge
TURNS = 3  # of settling
WIDER = 2  # times the quadric's neighbours take part
NOISE_OF_MISS = 1.16  # standard deviation of the noise per root mean squared trimmed miss of a left-out point
FALLOFF = 2.0  # a neighbour's weight is exp(-FALLOFF (distance / farthest)^2)
RIDGE = 1e-5  # keeps quadrics of collinear neighbours solvable
CROWD = 16  # neighbours that a point is compared with
LEAST_CROWD = 8  # fewer tell nothing
PASSES = 6  # outliers that had kept each other company fall one after the other
ALONE = 2.0  # times as far from its neighbours as they are from theirs
OFF = 5.0  # standard deviations over its neighbours' plane
LEAST_SCATTER = 0.3  # floor of that deviation, in spacings: bends and edges of clean points stay
LOOSE = 0.07  # share of the variance across the plane (1/3 in a cloud without any plane) ...
SCARCE = 3.0  # ... that counts where neighbours are this much further than usual
BATCH = 2**22  # neighbours looked at in one go


@dataclass(frozen=True)
class LocalSurfaces:
    """Quadrics at the points of a cloud.

    Attributes:
        normals: (N, 3) float64 unit, sides not decided.
        offsets: (N,) height of the surface over the point, along the normal.
        neighbours: how many each quadric was fitted to.
        noise: standard deviation of the points from their surface.
        misses: size -> root mean squared miss of left-out points.
    """

    normals: np.ndarray
    offsets: np.ndarray
    neighbours: int
    noise: float
    misses: dict[int, float]


def local_surfaces(points: np.ndarray, *, neighbours: int | None = None, generator: np.random.Generator | None = None) -> LocalSurfaces:
    """A quadric at every point.

    Args:
        points: (N, 3), N >= 3.
        neighbours: of each quadric, itself included; None lets left-out points decide, and normals settle where noise turns them.
        generator: picks the points that are left out.
    """
    tree = cKDTree(points)
    misses, turn = {}, 0.0
    if neighbours is None:
        misses = left_out_misses(points, tree=tree, generator=generator)
        spacing = PointCloud(points).spacing()
        neighbours = steady_size(misses, spacing)
        turn = noise_turn(neighbours, misses[neighbours] / spacing)
    neighbours = min(max(neighbours, 3), len(points))
    wide = min(WIDER * neighbours, len(points))
    normals, offsets = np.empty((len(points), 3)), np.empty(len(points))
    around = []
    for rows in _batches(len(points), wide):
        distance, nearest = (found.reshape(len(rows), wide) for found in tree.query(points[rows], wide, workers=-1))
        normals[rows], offsets[rows] = _quadrics(points[rows], points[nearest[:, :neighbours]])
        weight = np.exp(-FALLOFF * (distance / np.maximum(distance[:, -1:], np.finfo(float).tiny)) ** 2)
        around.append((rows, torch.from_numpy(nearest.astype(np.int32)), torch.from_numpy(weight).float()))
    if turn > SETTLED_TURN:
        normals = _settled(torch.from_numpy(normals).float(), around).double().numpy()
    return LocalSurfaces(normals, offsets, neighbours, float(1.4826 * np.median(np.abs(offsets))), misses)


def _settled(normals: Tensor, around: list[tuple[np.ndarray, Tensor, Tensor]]) -> Tensor:
    """(N, 3) unit normals, each the mean of those around it that point its way, or the opposite one: TURNS times.

    Args:
        normals: (N, 3) unit, sides not decided.
        around: (rows, (n, K) neighbours of these, (n, K) their weights).
    """
    for _ in range(TURNS):
        before, normals = normals, torch.empty_like(normals)
        for rows, nearest, weight in around:
            other = before[nearest]
            cosine = (other @ before[rows, :, None]).squeeze(2)
            weight = weight * torch.exp((cosine.abs() - 1) * (2 / ALIKE**2)) * cosine.sign()
            normals[rows] = torch.nn.functional.normalize((other * weight[:, :, None]).sum(1), dim=1)
    return normals


def outlying(points: np.ndarray) -> np.ndarray:
    """(N,) whether each point is no part of a surface: it stands off from its neighbours, from their plane, or fills space with them.

    Three tests with the k nearest neighbours, repeated for those whose neighbours turned out to be outliers: its own spacing against
    theirs (as in LOF), its height over their plane against their scatter about it, and, where points are scarce, whether the
    neighbours have a plane at all. No two of the points (N, 3) are equal: copies would fill each other's neighbourhoods.
    Source: the first is a simple form of Breunig et al., "LOF: identifying density-based local outliers", 2000.
    """
    count = min(CROWD, len(points) - 1)
    kept = np.ones(len(points), bool)
    if count < LEAST_CROWD:
        return ~kept
    spacing, neighbours, rows = np.empty(len(points)), np.empty((len(points), count), np.int64), np.arange(len(points))
    for _ in range(PASSES):
        alive = np.flatnonzero(kept)
        if len(alive) <= count:
            break
        distance, nearest = cKDTree(points[alive]).query(points[rows], count + 1, workers=-1)
        neighbours[rows] = alive[nearest[:, 1:]]
        spacing[rows] = distance[:, -1]
        around = np.median(spacing[neighbours[rows]], axis=1)
        height, scatter, flatness = _planes(points, rows, neighbours)
        alone = spacing[rows] > ALONE * around
        off = height > OFF * np.maximum(scatter, LEAST_SCATTER * math.sqrt(math.pi / count) * around)
        loose = (flatness > LOOSE) & (spacing[rows] > SCARCE * np.median(spacing[alive]))
        far = alone | off | loose
        kept[rows[far]] = False
        rows = np.flatnonzero(kept & ~kept[neighbours].all(axis=1))
        if not far.any() or not len(rows):
            break
    return ~kept


def _planes(points: np.ndarray, rows: np.ndarray, neighbours: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of points at rows: height over the plane of their neighbours, these ones' deviation from it, and its share of their variance."""
    height, scatter, flatness = np.empty((3, len(rows)))
    for part in _batches(len(rows), neighbours.shape[1]):
        around = points[neighbours[rows[part]]]
        mean = around.mean(1)
        local = around - mean[:, None]
        variances, axes = np.linalg.eigh(np.einsum("nki,nkj->nij", local, local) / local.shape[1])
        height[part] = np.abs(np.einsum("nd,nd->n", points[rows[part]] - mean, axes[:, :, 0]))
        scatter[part] = np.sqrt(np.maximum(variances[:, 0], 0))
        flatness[part] = variances[:, 0] / np.maximum(variances.sum(1), np.finfo(float).tiny)
    return height, scatter, flatness


def left_out_misses(
    points: np.ndarray, *, tree: cKDTree | None = None, generator: np.random.Generator | None = None
) -> dict[int, float]:
    """For each size of neighbourhood, by how much its quadrics miss points (N, 3) that they don't know: root mean square."""
    tree, generator = tree or cKDTree(points), generator or np.random.default_rng(0)
    judges = generator.choice(len(points), min(JUDGES, len(points)), replace=False)
    sizes = [size for size in SIZES if size < len(points) // 2] or [min(SIZES[0], len(points) - 1)]
    nearest = tree.query(points[judges], max(sizes) + 1, workers=-1)[1][:, 1:]
    misses = {}
    for size in sizes:
        height = np.abs(np.concatenate([
            _quadrics(points[judges[rows]], points[nearest[rows, :size]])[1] for rows in _batches(len(judges), size)
        ]))
        kept = np.sort(height)[: max(1, round((1 - TRIMMED) * len(height)))]
        misses[size] = float(np.sqrt(np.mean(kept**2)))
    return misses


def best_size(misses: dict[int, float]) -> int:
    """The smallest neighbourhood that no larger one betters by GAIN."""
    least = min(misses.values())
    return next(size for size in sorted(misses) if misses[size] ** 2 <= (1 + GAIN) * least**2)


def noise_turn(neighbours: int, miss: float) -> float:
    """By how much noise turns the normals of quadrics, radians; miss: of left-out points, root mean square, in spacings."""
    return TURN_OF_NOISE * NOISE_OF_MISS * miss / neighbours


def steady_size(misses: dict[int, float], spacing: float) -> int:
    """The smallest neighbourhood that predicts as well as any, and whose normals the noise doesn't turn much.

    Args:
        misses: size -> root mean squared miss of left-out points. spacing: of the points, in the same units.
    """
    best = best_size(misses)
    steady = (size for size in sorted(misses) if size >= best and noise_turn(size, misses[size] / spacing) <= STEADY_TURN)
    return next(steady, max(misses))


def _batches(count: int, width: int) -> list[np.ndarray]:
    return np.array_split(np.arange(count), max(1, -(-count * width // BATCH)))


def _quadrics(centres: np.ndarray, around: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) unit normals at centres (N, 3), and (N,) heights of the surface over them, from neighbours (N, K, 3)."""
    local = torch.from_numpy(around - centres[:, None]).float()
    squared = local.square().sum(2)
    reach = squared.max(1).values.clamp(min=torch.finfo(torch.float32).tiny).sqrt()
    local = local / reach[:, None, None]
    weight = torch.exp(-FALLOFF * squared / reach[:, None] ** 2)
    frames = _frames(local, weight)
    uvw = local @ frames  # columns: normal, then two tangents
    w, u, v = uvw.unbind(2)
    basis = torch.stack([torch.ones_like(u), u, v, u * u, u * v, v * v], dim=2)
    weighted = basis * weight[:, :, None]
    matrix = weighted.transpose(1, 2) @ basis
    trace = torch.diagonal(matrix, dim1=1, dim2=2).sum(1)
    matrix = matrix + (RIDGE * trace)[:, None, None] * torch.eye(6)
    right = (weighted * w[:, :, None]).sum(1)
    fit = torch.linalg.solve(matrix, right)
    normal = frames @ torch.stack([torch.ones_like(reach), -fit[:, 1], -fit[:, 2]], dim=1)[:, :, None]
    length = normal.norm(dim=1)
    height = fit[:, 0] * reach / length[:, 0]
    return (normal / length[:, None])[:, :, 0].double().numpy(), height.double().numpy()


def _frames(local: Tensor, weight: Tensor) -> Tensor:
    """(N, 3, 3) orthonormal columns: the direction of least spread of weighted neighbours (N, K, 3) first."""
    mean = (local * weight[:, :, None]).sum(1, keepdim=True) / weight.sum(1)[:, None, None]
    centred = (local - mean) * weight.sqrt()[:, :, None]
    return torch.linalg.eigh(centred.transpose(1, 2) @ centred)[1]
