"""GridPull: a signed distance on a grid, fitted so that queries near the scan are pulled onto it; no network, no normals needed.

The idea is that of Chen, Liu and Han, "GridPull: towards scalability in learning implicit representations from 3D point clouds", ICCV
2023. It differs where the paper's form falls short: the sign comes from winding numbers, targets are local planes, not nearest noisy
points, weights are robust, the grid is a quadratic B-spline, coarse to fine and only around the surface, and the pull, linearised, is
solved by conjugate gradients.

Everything is in the unit frame. s: spacing of the points. h: side of a level's cells.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from surfrecon.geometry import PointCloud
from surfrecon.run import Run
from surfrecon.thinning import FINEST

# torch is imported inside functions: settings are read where --help must answer fast.

LEAST_SMOOTHING = 0.1  # of clean points, in spacings
CLEAN_GAIN = 2.0  # times finer is the grid of clean points: it halves the error on clean_50k and sparse_3k
CLEAN_REACH = 0.1  # smoothing beyond the least, in spacings, over which that gain fades to 1
SMOOTHING_OF_NOISE = 1.0  # smoothing length per standard deviation of the noise (by distance and Hausdorff on four noisy clouds)
CREASE = 3.0  # radius of curvature in smoothing lengths below which bending costs less than its square: edges stay
REACH_OF_NOISE = 2.0  # the normals' least reach per standard deviation of the noise
BAND = 2.0  # half width of what a level refines, in cells of the level above
DENSE = 44  # levels up to this many cells cover the whole box
POINTS_PER_CELL_FACE = 4  # points per squared lattice side that a level uses; more would only cost time
TOLERANCE = 0.01  # conjugate gradients stop at this share of the residual that a level began with
ANCHOR = 0.03  # pull of the dense levels towards the winding field's sides, where these are beyond doubt
ANCHOR_REACH = 0.2  # distance from the winding surface at which a side is beyond doubt, unit frame: nearer, the data's own trend decides
COARSE_LENGTH = 0.05  # least smoothing length of a level, in its cells: what it can't resolve it doesn't try
NORMAL_LIMIT = 0.7  # gradients that miss their normal by this much have lost 3/4 of their say
RESIDUAL_SCALE = 3.0  # residuals beyond this many robust standard deviations lose their weight
MIN_SCALE = 0.05  # floor of the residual scale, in spacings: clean data have no noise to measure
TINY = 1e-300  # keeps a quotient finite where nothing is left to solve
# Of a fit on two cores: constant, per point, per cell that the surface crosses at the finest level, per pulled query.
FIXED_SECONDS, SECONDS_PER_POINT, SECONDS_PER_CELL, SECONDS_PER_QUERY = 2.0, 7e-5, 4e-5, 2e-7
FIXED_BYTES, BYTES_PER_CELL = 6e8, 1.5e3
# Under a budget: share of what is left that looking at the points may take, least number of points, cells up to which levels are fitted
# whatever the time, growth of a level's time with each doubling, and seconds that the result takes after the fit (extraction, attributes,
# writing, reading back): constant, per crossed cell.
LOOK_SHARE, LEAST_POINTS, LEAST_CELLS, GROWTH = 0.25, 3000, 64, 4.0
FINISH_SECONDS, FINISH_SECONDS_PER_CELL = 2.0, 3e-5
LOOK_SECONDS, LOOK_SECONDS_PER_POINT = 0.3, 5e-5  # of the first stage: what it takes beyond these tells how busy the machine is


@dataclass(frozen=True)
class GridPull:
    """Settings of gridpull.

    Attributes:
        finest: cells along the unit box at the finest level; 0 follows the spacing of the points, up to FINEST.
        coarsest: cells along the unit box at the dense first level, about.
        cells_per_spacing: fineness that `finest` = 0 aims at; clean points get CLEAN_GAIN times as many.
        smoothing: length below which relief counts as noise, in spacings; 0 derives it from the noise that left-out points show.
        normal_reach: how far the normals' word counts at least, in spacings: a radian of error in the gradient weighs like this distance.
        rounds: re-weightings per level.
        iterations: conjugate gradient steps per round, at most.
        objective: "planes" is the fit described above; "paper" the published one, see gridpull_paper, which minds `finest` of the settings
            above and those below.
        steps: of Adam.
        queries: pulled per step.
    """

    finest: int = 0
    coarsest: int = 16
    cells_per_spacing: float = 1.0
    smoothing: float = 0.0
    normal_reach: float = 0.5
    rounds: int = 3
    iterations: int = 60
    objective: Literal["planes", "paper"] = "planes"
    steps: int = 4810
    queries: int = 50_000

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "fast": {"cells_per_spacing": 0.7, "rounds": 2, "iterations": 30},
        "balanced": {},
        "fine": {"cells_per_spacing": 1.6, "iterations": 120, "rounds": 4},
        "paper": {"objective": "paper"},
    }
    accepts: ClassVar[tuple[type, ...]] = (PointCloud,)

    def fit(self, scan: PointCloud, run: Run):
        """The scan's signed distance as a GridField, or as a TrilinearField by the paper's objective.

        Args:
            scan: in the unit frame.
            run: surroundings.
        """
        import numpy as np
        import torch

        from surfrecon.local_surfaces import local_surfaces, outlying
        from surfrecon.methods import gridpull_paper
        from surfrecon.orientation import orient
        from surfrecon.thinning import ENOUGH, gathered, thinned

        if self.objective == "paper":
            if run.budget is not None:
                run.warn("the published form takes all its steps: it minds no budget")
            return gridpull_paper.fit(self, scan, run)
        with torch.no_grad():
            with run.stage("look"):
                given = len(scan)
                affordable = max(LEAST_POINTS, min(ENOUGH, LOOK_SHARE * run.seconds_left() / SECONDS_PER_POINT))
                scan = thinned(replace(scan, colors=None, scalars={}), side=2 / max(FINEST, self.finest), enough=int(affordable))
                if len(scan) < given:
                    run.facts["thinned_to"] = len(scan)
                if len(scan) < given <= ENOUGH:
                    run.cut_short(f"thinned to {len(scan):,} of {given:,} points")
                scan = gathered(scan)
                far = outlying(scan.points)
                scan = scan[~far]
                run.facts["outliers"] = int(far.sum())
                surfaces = local_surfaces(scan.points, generator=np.random.default_rng(run.seed))
            with run.stage("orient"):
                orientation = orient(scan, surfaces.normals, run)
                run.facts["sides_from"] = orientation.source
                run.facts["confident_sides"] = float(orientation.confident.mean())
            return _Fit(self, scan, orientation, surfaces, run).field

    def plan(self, spacing: float, miss: float) -> tuple[float, list[int]]:
        """Smoothing in spacings, and cells along the box of each level, coarse to fine, doubling.

        Args:
            spacing: of the points, unit frame.
            miss: of left-out points by the best neighbourhoods, unit frame.
        """
        from surfrecon.fields.grid import BRICK
        from surfrecon.local_surfaces import NOISE_OF_MISS

        noise = NOISE_OF_MISS * miss / spacing
        smoothing = self.smoothing or max(LEAST_SMOOTHING, SMOOTHING_OF_NOISE * noise)
        clean = min(1.0, max(0.0, 1 - (smoothing - LEAST_SMOOTHING) / CLEAN_REACH))
        finest = self.finest or min(FINEST, self.cells_per_spacing * CLEAN_GAIN**clean * 2 / spacing)
        doublings = max(0, round(math.log2(finest / self.coarsest)))
        first = max(BRICK, BRICK * round(finest / 2**doublings / BRICK))  # as near to self.coarsest as the finest allows
        return smoothing, [first * 2**i for i in range(doublings + 1)]

    def foresee(self, scan: PointCloud) -> tuple[float, float, int]:
        """Seconds on two cores, bytes, and cells along the box of a fit to a scan in the unit frame: good to a factor of two."""
        from surfrecon.local_surfaces import least_miss
        from surfrecon.methods import gridpull_paper

        if self.objective == "paper":
            return self.steps * self.queries * SECONDS_PER_QUERY, FIXED_BYTES, 2 * (self.finest or gridpull_paper.NODES - 1)
        spacing = scan.spacing()
        finest = self.plan(spacing, least_miss(scan.points))[1][-1]
        crossed = len(scan) * (spacing * finest / 2) ** 2
        work = self.rounds / 3 * SECONDS_PER_CELL * crossed
        return FIXED_SECONDS + SECONDS_PER_POINT * len(scan) + work, FIXED_BYTES + BYTES_PER_CELL * crossed, finest


class _Fit:
    """One fit on its way from the coarsest level to the finest."""

    def __init__(self, settings: GridPull, scan: PointCloud, orientation, surfaces, run: Run):
        import torch

        from surfrecon.fields.grid import GridField, refined
        from surfrecon.local_surfaces import NOISE_OF_MISS
        from surfrecon.methods.gridpull_sides import Sides

        device = run.torch_device()
        self.settings, self.run = settings, run
        self.spacing = scan.spacing()
        inside = (abs(scan.points) < 1).all(axis=1)
        self.points = torch.as_tensor(scan.points[inside], dtype=torch.float32, device=device)
        self.normals = torch.as_tensor(orientation.normals[inside], dtype=torch.float32, device=device)
        self.weights = torch.ones(len(self.points), device=device)
        self.normal_weights = self.weights.clone()
        miss = min(surfaces.misses.values())
        self.reach = max(settings.normal_reach * self.spacing, REACH_OF_NOISE * NOISE_OF_MISS * miss)
        self.smoothing, resolutions = settings.plan(self.spacing, miss)
        with run.stage("start"):
            self.sides = Sides(orientation, scan)
            self.field = GridField([self.sides.level(resolutions[0])])
        for depth, resolution in enumerate(resolutions):
            name = f"fit {resolution}"
            with run.stage(name):
                if depth:
                    self.field.levels.append(refined(self.field.levels[-1], self._near(resolution)))
                self._level(name)
            self.field.resolution = resolution
            if resolution < resolutions[-1] and not self._affordable(2 * resolution, GROWTH * self.turn_seconds):
                run.cut_short(f"stopped at {resolution} of {resolutions[-1]} cells")
                break
        self.field.lipschitz = self.field.steepest()
        run.facts["noise_unit"] = float(self.scale)
        run.facts["smoothing_spacings"] = self.smoothing

    def _near(self, resolution: int):
        """Where the next level is needed: nodes that the surface may touch, and the data; everywhere while the lattice is small."""
        import torch

        level = self.field.levels[-1]
        active = level.active * 64
        positions = level.positions()[:active]
        if resolution <= DENSE:
            return positions
        close = level.coefficients[:active].abs() < BAND * level.step
        return torch.cat([positions[close], self.points[self.weights > 0.1]])

    def _level(self, name: str) -> None:
        start = time.perf_counter()
        system = _System(self.field.levels[-1], self)
        for turn in range(self.settings.rounds):
            system.solve(self.weights, self.normal_weights, self.smoothing)
            self._reweight()
            self.run.step(name, turn + 1, self.settings.rounds, residual=float(self.scale))
            self.turn_seconds = (time.perf_counter() - start) / (turn + 1)
            if turn + 1 < self.settings.rounds and not self._affordable(self.field.levels[-1].resolution, self.turn_seconds):
                self.run.cut_short(f"{turn + 1} of {self.settings.rounds} rounds at {self.field.levels[-1].resolution} cells")
                break

    def _affordable(self, resolution: int, seconds: float) -> bool:
        """Whether the budget leaves these seconds, and those that the result takes afterwards at a resolution."""
        if resolution <= LEAST_CELLS:
            return True
        crossed = len(self.points) * (self.spacing * resolution / 2) ** 2
        looking = LOOK_SECONDS + LOOK_SECONDS_PER_POINT * len(self.points)
        slowness = max(1.0, self.run.timings.get("look", 0.0) / looking)
        return seconds + slowness * (FINISH_SECONDS + FINISH_SECONDS_PER_CELL * crossed) <= self.run.seconds_left()

    def _reweight(self) -> None:
        """Geman-McClure weights: points that the surface leaves behind lose their say, and so do normals that it contradicts."""
        residual, gradient = self.field.value_and_gradient(self.points)
        deviation = 1.4826 * residual.abs().median()
        self.scale = deviation
        step = self.field.levels[-1].step
        limit = (RESIDUAL_SCALE * deviation).clamp(min=max(MIN_SCALE * self.spacing, step if step > 1.5 * self.spacing else 0))
        self.weights = (1 + (residual / limit) ** 2) ** -2
        miss = (gradient - self.normals).square().sum(1)
        self.normal_weights = self.weights * (1 + miss / NORMAL_LIMIT**2) ** -2 if step <= 1.5 * self.spacing else self.weights.clone()


class _System:
    """The quadratic energy of one level."""

    def __init__(self, level, fit: _Fit):
        import torch

        from surfrecon import losses

        self.level, self.fit = level, fit
        self.free = level.free_columns()
        self.here = torch.nonzero(level.holds(fit.points))[:, 0]
        stride = max(1, len(self.here) // (POINTS_PER_CELL_FACE * level.resolution**2))
        self.here = self.here[::stride]
        self.first = None
        self.pull = losses.plane_pull(level, self.free, fit.points[self.here], fit.normals[self.here], fit.reach)
        self.bending = losses.bending(level, self.free)
        dense = level.resolution <= DENSE
        self.sides = fit.sides.level(level.resolution).coefficients if dense else None

    def solve(self, weights, normal_weights, smoothing: float) -> None:
        """Add the change of the coefficients that lowers the energy most; both terms then start from the new ones."""
        import torch

        from surfrecon.optimize import conjugate_gradient

        s, h, level = self.fit.spacing, self.level.step, self.level
        data = s * s * torch.cat([weights[self.here], normal_weights[self.here].repeat_interleave(3)])
        length = max(smoothing * s, COARSE_LENGTH * h)
        curvature = self.bending.target / h**2
        bend = (length**3 / h) * (1 + (CREASE * smoothing * s * curvature) ** 2) ** -0.5
        anchor = torch.zeros(1, device=data.device)
        right = self.pull.right(data) + self.bending.right(bend)
        if self.sides is not None:
            anchor = ANCHOR * h**3 * (self.sides.abs() / ANCHOR_REACH).clamp(max=2) ** 4
            right = right + anchor * (self.sides - level.coefficients)
        diagonal = self.pull.diagonal(data) + self.bending.diagonal(bend) + anchor + 1e-30
        energy = float(right @ (right / diagonal))
        self.first = self.first or energy
        change, _ = conjugate_gradient(
            lambda x: self.pull.normal(x, data) + self.bending.normal(x, bend) + anchor * x,
            right,
            diagonal,
            iterations=self.fit.settings.iterations,
            tolerance=TOLERANCE * math.sqrt(self.first / max(energy, TINY)),
        )
        level.coefficients[self.free >= 0] += change
        self.pull.target.sub_(self.pull.rows(change))
        self.bending.target.sub_(self.bending.rows(change))
