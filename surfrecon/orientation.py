"""Outward normals of a scan: the sides of its local surfaces by winding numbers, sensor origins or the scan's own normals.

Outward area vectors mu_j are right when the winding number w(x) = sum_j mu_j . (y_j - x) / (4 pi |y_j - x|^3) is 1 inside and 0 outside,
that is 1/2 at every sample. We look for them on a periodic lattice by FFT: w = A mu with A = S K D^T, S reading a quadratic B-spline at the
points, D its gradient, K the Green's function of the Laplacian. A kernel cut off inside radius r equals the full kernel convolved with a
spherical shell, a factor sinc(|k| r) in Fourier space; the cut-off keeps a point from confirming its own side. The value in the box's
corner is pinned to 0 (outside).

Letters: N points, n nodes of the lattice per axis. Lengths are in the cloud's own units unless they end in _cells.
Source: Lin, Shi and Liu, "Fast and globally consistent normal orientation based on the winding number normal consistency", 2024, for the
iteration; the FFT form is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from surfrecon import ops
from surfrecon.geometry import PointCloud, object_bounds
from surfrecon.run import Run

PADDING = 0.125  # free space on each side of the points, in their longest side: keeps the periodic images apart
MAX_POINTS = 100_000  # more are oriented by the field that this many make
POINTS_PER_CELL_FACE = 2  # points per squared lattice side that a level can use; more would only cost time
FINEST_STEP = 0.4  # finest lattice step in spacings: below it the winding field falls apart into single points
FINEST_LARGE_STEP = 1.0  # the same for lattices of more than LARGE cells a side, which cost seconds
LARGE = 128
MAX_NODES = 20_000_000  # of one lattice: 80 MB in float32
# (cells along the box's longest side, iterations, first and last cut-off radius in cells)
LEVELS = ((32, 12, 2.0, 1.2), (64, 12, 2.4, 1.2), (128, 8, 2.2, 1.2), (192, 5, 2.2, 1.0), (256, 4, 2.2, 1.0))
LEAST_CELLS, MOST_CELLS = 64, 192  # along the longest side, of the field that the sides make
AREA_NEIGHBOURS = 8
LARGEST_AREA = 4.0  # of a point, in medians: an outlier must not stand for a large part of the surface
CHECK_CELLS = 128  # levels up to this many cells are enough to check the sides of given normals
CONVERGED = 0.995  # share of confident sides at which finer levels have nothing to add
CONFIDENT_COSINE = 0.5  # axis and winding gradient within 60 degrees of each other
INDOORS = 0.9  # median winding number at the sensors above which they are enclosed
GRAZING_COSINE = 0.15  # a sensor that sees a surface flatter than this doesn't tell its side
AXIS_AGREEMENT = 0.8  # median |cosine| to the local surfaces below which given normals are not normals
SIDE_AGREEMENT = 0.75  # share of sides that winding numbers must confirm before given sides are believed


@dataclass(frozen=True)
class WindingField:
    """The winding number on a lattice: about 1 inside, 0 outside, 1/2 on the surface.

    Attributes:
        values: (nx, ny, nz) spline coefficients.
        origin: (3,) position of node 0.
        step: distance between nodes.
    """

    values: Tensor
    origin: Tensor
    step: float

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3) points -> (N,) winding numbers and (N, 3) gradients; 0 outside the lattice."""
        value, slope = ops.spline_gather(self.values, ((x - self.origin) / self.step).to(self.values.dtype))
        return value, slope / self.step


@dataclass(frozen=True)
class Orientation:
    """What orient() finds.

    Attributes:
        normals: (N, 3) float64 unit, outward.
        confident: (N,) bool, whether the winding field backs the side.
        winding: the field that the sides make.
        source: what decided the sides, in words.
        missing: (3,) the area vector of what wasn't scanned, over the area that was: those of a closed surface add up to nothing. Hollows
            that hide leave a short one; a side that no sensor looked at, one of a length near 1/4, pointing to where the sensor was missed.
    """

    normals: np.ndarray
    confident: np.ndarray
    winding: WindingField
    source: str
    missing: np.ndarray


def orient(cloud: PointCloud, axes: np.ndarray, run: Run | None = None) -> Orientation:
    """Outward unit normals for every point of a scan.

    Sensor origins decide the side where the scan has them. The scan's own normals are used where they agree with the local surfaces
    (axis) and with winding numbers (side); all of them turned inward is noticed and undone. Otherwise winding numbers decide.

    Args:
        cloud: the scan, any frame.
        axes: (N, 3) unit normals of the local surfaces at the points, either side.
        run: device, seed, warnings.
    """
    run = run or Run()
    device = run.torch_device()
    given = _given_axes(cloud, axes, run)
    if given is not None:
        axes, known = given
    low, high = object_bounds(cloud.points)
    centre = (low + high) / 2
    points = torch.as_tensor(cloud.points - centre, dtype=torch.float32, device=device)
    spacing = cloud.spacing()
    start, source = None, "winding numbers"
    if cloud.origins is not None:
        towards = cloud.origins - cloud.points
        cosine = np.einsum("nd,nd->n", axes, towards) / np.maximum(np.linalg.norm(towards, axis=1), np.finfo(float).tiny)
        axes = axes * np.where(cosine < 0, -1.0, 1.0)[:, None]
        start, source = axes, "sensor origins"
    checking = given is not None and cloud.origins is None
    field = _iterated_winding(points, axes, (high - low).tolist(), spacing, start, run, most=CHECK_CELLS if checking else LEVELS[-1][0])
    outward = -torch.nn.functional.normalize(field(points)[1], dim=1).cpu().numpy()
    by_winding = np.einsum("nd,nd->n", axes, outward)
    sides = np.where(by_winding < 0, -1.0, 1.0)
    if cloud.origins is not None:
        if float(field(torch.as_tensor(cloud.origins - centre).to(points))[0].median()) > INDOORS:
            source = "winding numbers"
            run.warn("the sensors stand inside a closed surface, as in a room: its inside becomes the solid")
        else:
            sides = np.where(np.abs(cosine) > GRAZING_COSINE, 1.0, sides)
    elif given is not None:
        agreement = float((sides > 0)[known].mean())
        if agreement >= SIDE_AGREEMENT:
            sides, source = np.where(known, 1.0, sides), "the scan's normals"
        elif agreement <= 1 - SIDE_AGREEMENT:
            sides, source = np.where(known, -1.0, sides), "the scan's normals, turned"
            run.warn(f"the scan's normals point inward ({1 - agreement:.0%} of them): they were turned")
        else:
            run.warn(f"the scan's normals contradict each other (winding numbers confirm {agreement:.0%}): their sides are not used")
    normals = axes * sides[:, None]
    confident = np.einsum("nd,nd->n", normals, outward) > CONFIDENT_COSINE
    areas = _areas(cloud.points)[:, None]
    missing = -(areas * normals).sum(0) / areas.sum()
    field = _winding_of(points, torch.as_tensor(normals * areas).to(points), (high - low).tolist(), spacing)
    winding = WindingField(field.values, field.origin.double() + torch.as_tensor(centre, device=device), field.step)
    return Orientation(normals, confident, winding, source, missing)


def _given_axes(cloud: PointCloud, axes: np.ndarray, run: Run) -> tuple[np.ndarray, np.ndarray] | None:
    """The scan's own normals as unit vectors where they are normals at all, zero ones replaced by local axes; None where they are not."""
    if cloud.normals is None:
        return None
    length = np.linalg.norm(cloud.normals, axis=1)
    known = length > 0.1
    if known.mean() < 0.5:
        run.warn(f"{1 - known.mean():.0%} of the scan's normals are zero: they are not used")
        return None
    given = np.where(known[:, None], cloud.normals / np.maximum(length, 0.1)[:, None], axes)
    agreement = float(np.median(np.abs(np.einsum("nd,nd->n", given, axes))[known]))
    if agreement < AXIS_AGREEMENT:
        run.warn(f"the scan's normals don't fit its points (median cosine {agreement:.2f}): they are not used")
        return None
    return given, known


class _Operators:
    """A, its adjoint and the gradient of w for fixed points on one lattice. Points are centred on their box."""

    def __init__(self, points: Tensor, extent: list[float], cells: int):
        self.step = max(extent) * (1 + 2 * PADDING) / cells
        self.shape = tuple(_fft_size(side / self.step + 2 * PADDING * max(extent) / self.step) for side in extent)
        self.origin = -torch.tensor(self.shape, device=points.device) * (self.step / 2)
        # Far outliers lie outside the lattice: they count for nothing.
        self.u = (points - self.origin) / self.step
        self.size = math.prod(self.shape)
        kx, ky = (2 * torch.pi * torch.fft.fftfreq(n, device=points.device) for n in self.shape[:2])
        kz = 2 * torch.pi * torch.fft.rfftfreq(self.shape[2], device=points.device)
        self.k2 = kx[:, None, None] ** 2 + ky[None, :, None] ** 2 + kz**2

    def cut_off(self, radius_cells: float) -> None:
        self.green = torch.sinc(self.k2.sqrt() * (radius_cells / torch.pi)) / self.k2
        self.green[0, 0, 0] = 0

    def _solve(self, density: Tensor) -> Tensor:
        return torch.fft.irfftn(torch.fft.rfftn(density).mul_(self.green), s=self.shape)

    def winding(self, mu: Tensor) -> Tensor:
        """(N, 3) area vectors in squared cells -> winding numbers on the lattice."""
        w = self._solve(ops.spline_splat(self.u, -mu, self.shape))
        return w.sub_(w[0, 0, 0].clone())

    def read(self, w: Tensor) -> Tensor:
        return ops.spline_gather(w, self.u, gradient=False)[0]

    def outward(self, w: Tensor) -> Tensor:
        """(N, 3) unit vectors from high to low winding numbers."""
        return torch.nn.functional.normalize(-ops.spline_gather(w, self.u)[1], dim=1)

    def adjoint(self, residual: Tensor) -> Tensor:
        density = ops.spline_splat(self.u, residual, self.shape)
        density[0, 0, 0] -= density.sum()
        return -ops.spline_gather(self._solve(density), self.u)[1]


def _iterated_winding(
    points: Tensor, axes: np.ndarray, extent: list[float], spacing: float, start: np.ndarray | None, run: Run, *, most: int
) -> WindingField:
    """Iterate coarse to fine: a gradient step on |A mu - 1/2|^2, then directions from the field, lengths kept.

    Ends at `most` cells, or where the field's gradients fall on the points' own axes (N, 3), or a large level's do so less than those
    before.
    """
    axes = torch.as_tensor(axes).to(points)
    order = torch.randperm(len(points), generator=run.generator(), device=points.device)[:MAX_POINTS]
    side = max(extent) * (1 + 2 * PADDING)
    finest = lambda cells: spacing * (FINEST_LARGE_STEP if cells > LARGE else FINEST_STEP)
    levels = [level for i, level in enumerate(LEVELS) if i == 0 or (level[0] <= most and side / level[0] >= finest(level[0]))]
    mu, field, total = None, None, sum(level[1] for level in levels)
    done, confident = 0, 0.0
    for cells, iterations, first, last in levels:
        rows = order[: POINTS_PER_CELL_FACE * cells**2]
        operators = _Operators(points[rows], extent, cells)
        if operators.size > MAX_NODES:
            break
        if start is not None:
            mu = torch.as_tensor(start, dtype=points.dtype, device=points.device)[rows]
        elif field is None:
            mu = torch.zeros_like(points[rows])
        else:
            more = len(rows) - len(mu)
            length = mu.norm(dim=1).mean()
            grown = -torch.nn.functional.normalize(field(points[rows[-more:]])[1], dim=1) * length if more else mu[:0]
            mu = torch.cat([mu, grown])
        for i, radius in enumerate(np.linspace(first, last, iterations)):
            operators.cut_off(float(radius))
            w = operators.winding(mu)
            t = operators.read(w)
            if i == 0 and t.abs().sum() > 0:
                factor = 0.5 * t.sum() / (t * t).sum()
                mu, w, t = mu * factor, w * factor, t * factor
            step = operators.adjoint(0.5 - t)
            w_step = operators.winding(step)
            t_step = operators.read(w_step)
            rate = (step * step).sum() / (t_step * t_step).sum().clamp(min=1e-20)
            mu, w = mu + rate * step, w + rate * w_step
            mu = operators.outward(w) * mu.norm(dim=1, keepdim=True)
            done += 1
            run.step("orient", done, total)
        finer = WindingField(w, operators.origin, operators.step)
        cosine = (torch.nn.functional.normalize(finer(points)[1], dim=1) * axes).sum(1).abs()
        before, confident = confident, float((cosine > CONFIDENT_COSINE).float().mean())
        if cells > LARGE and confident < before:
            break
        field = finer
        if confident > CONVERGED:
            break
    return field


def _winding_of(points: Tensor, vectors: Tensor, extent: list[float], spacing: float) -> WindingField:
    """The winding field of outward area vectors (N, 3) as they are, up to a factor that makes it 1/2 at the points."""
    side = max(extent) * (1 + 2 * PADDING)
    operators = _Operators(points, extent, int(min(max(side / spacing, LEAST_CELLS), MOST_CELLS)))
    operators.cut_off(1.0)
    w = operators.winding(vectors)
    at_points = operators.read(w).median()
    w = w * (0.5 / at_points.abs()) + (at_points < 0)  # sides that face a hollow: the corner is inside
    return WindingField(w, operators.origin, operators.step)


def _areas(points: np.ndarray) -> np.ndarray:
    """(N,) the share of the surface that each point stands for, from the distance of its neighbours, up to a factor."""
    count = min(AREA_NEIGHBOURS, len(points) - 1)
    squared = cKDTree(points).query(points, [count + 1], workers=-1)[0][:, 0] ** 2
    return squared.clip(max=LARGEST_AREA * np.median(squared))


def _fft_size(length: float) -> int:
    """The next even number with no prime factor above 5."""
    size = 2 * math.ceil(length / 2)
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 2
