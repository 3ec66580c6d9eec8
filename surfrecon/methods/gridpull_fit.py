"""gridpull's fit: levels of a spline, coarse to fine, each solved for planes through the points, little bending and the sides.

Everything is in the unit frame. s: spacing of the points. h: side of a level's cells.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from surfrecon import losses
from surfrecon.checkpoints import Checkpoints
from surfrecon.fields.grid import GridField, refined
from surfrecon.methods.gridpull_sides import PriorExcess, Sides, WindingExcess
from surfrecon.ops import BRICK, BRICK_NODES, Level
from surfrecon.optimize import conjugate_gradient
from surfrecon.run import Run
from surfrecon.survey import Survey

if TYPE_CHECKING:
    from surfrecon.fields import Field
    from surfrecon.methods.gridpull import GridPull

BAND = 2.0  # half width of what a level refines, in cells of the level above
DENSE = 64  # levels up to this many cells cover the whole box
POINTS_PER_CELL_FACE = 4  # points per squared lattice side that a level uses; more would only cost time
TOLERANCE = 0.01  # conjugate gradients stop at this share of the residual that a level began with
ANCHOR = 30.0  # pull of the dense levels towards the winding field's sides, where these are beyond doubt, in that of bending
ANCHOR_REACH = 0.2  # distance from the winding surface at which a side is beyond doubt, unit frame: nearer, the data's own trend decides
ANCHOR_OFF = 1.0  # spacings from the winding surface within which there is no pull at all: sparse points know no better
COARSE_LENGTH = 0.05  # least smoothing length of a level, in its cells: what it can't resolve it doesn't try
MIN_SCALE = 0.05  # floor of the residual scale, in spacings: clean data have no noise to measure
TINY = 1e-300  # keeps a quotient finite where nothing is left to solve
# Under a budget: cells up to which levels are fitted whatever the time, growth of a level's time with each doubling, and seconds that the
# result takes after the fit (extraction, attributes, writing, reading back): constant, per crossed cell.
LEAST_CELLS, GROWTH = 64, 4.0
FINISH_SECONDS, FINISH_SECONDS_PER_CELL = 2.0, 3e-5
LOOK_SECONDS, LOOK_SECONDS_PER_POINT = 0.3, 5e-5  # of the first stage: what it takes beyond these tells how busy the machine is


class Fit:
    """One fit on its way from the coarsest level to the finest."""

    def __init__(self, settings: GridPull, known: Survey, run: Run, start: Field | None = None):
        """Args: start: as of GridPull.fit."""
        self.settings, self.run = settings, run
        scan, orientation = known.scan, known.orientation
        inside = (abs(scan.points) < 1).all(axis=1)
        self.points, self.normals = self._tensor(scan.points[inside]), self._tensor(orientation.normals[inside])
        self.quality = known.quality
        if settings.smoothing:
            self.quality = replace(self.quality, smoothing=settings.smoothing * self.quality.spacing)
        here = self.quality.at(scan.points[inside])
        self.spacing, self.noise = self._tensor(here.spacing), self._tensor(here.noise)
        self.reach = torch.maximum(settings.normal_reach * self.spacing, losses.REACH_OF_NOISE * self.noise)
        self.usual = torch.maximum(self.noise, MIN_SCALE * self.spacing)
        self.weights = torch.ones_like(self.spacing)
        self.normal_weights = self.weights.clone()
        wanted = settings.wanted(here.spacing, here.clean)
        resolutions = settings.plan(wanted)
        self.wanted = self._tensor(wanted)
        checkpoints = Checkpoints(run)
        with run.stage("start"):
            excess = WindingExcess(orientation, scan.points[inside], here.spacing)
            self.sides = Sides(excess if start is None else PriorExcess(excess, start), self.points.device)
            self.field = GridField([self.sides.level(resolutions[0])])
            found = checkpoints.newest()
            done = self._continue(*found) if found else 0
        with checkpoints.left_behind():
            for depth, resolution in list(enumerate(resolutions))[done:]:
                name = f"fit {resolution}"
                with run.stage(name):
                    if depth:
                        self.field.levels.append(refined(self.field.levels[-1], self._near(resolution)))
                    self._level(name)
                self.field.resolution = resolution
                done = depth + 1
                checkpoints.keep(*self._state())
                if resolution < resolutions[-1] and not self._affordable(2 * resolution, GROWTH * self.turn_seconds):
                    run.cut_short(f"stopped at {resolution} of {resolutions[-1]} cells")
                    break
        del self.field.levels[done:]  # one that was interrupted
        self.field.lipschitz = self.field.steepest()
        run.facts["noise_unit"] = float(self.scale)
        run.facts["smoothing_spacings"] = float(np.median(here.smoothing / here.spacing))

    def _state(self) -> tuple[dict[str, Tensor], dict[str, list]]:
        """What a later run needs to continue after the levels so far: tensors and facts of a checkpoint."""
        tensors = {"weights": self.weights, "normal_weights": self.normal_weights, "scale": self.scale}
        for level in self.field.levels:
            tensors |= {f"{level.resolution}.table": level.table, f"{level.resolution}.coefficients": level.coefficients}
        return tensors, {"levels": [[level.resolution, level.active] for level in self.field.levels]}

    def _continue(self, tensors: Mapping[str, Tensor], facts: Mapping[str, list]) -> int:
        """Take up such a state; how many levels are done."""
        tensors = {name: tensor.to(self.points.device) for name, tensor in tensors.items()}
        self.weights, self.normal_weights, self.scale = (tensors[name] for name in ("weights", "normal_weights", "scale"))
        self.field.levels = [Level(r, tensors[f"{r}.table"], active, tensors[f"{r}.coefficients"]) for r, active in facts["levels"]]
        self.field.resolution = self.field.levels[-1].resolution
        self.run.facts["resumed_at"] = self.field.resolution
        return len(self.field.levels)

    def _near(self, resolution: int):
        """Where the next level is needed: nodes that the surface may touch, and the data; everywhere while the lattice is small."""
        if resolution <= DENSE:
            return self.field.finest_nodes()[0]
        near = torch.cat([self.field.finest_nodes(BAND)[0], self.points[self.weights > 0.1]])
        if float(self.wanted.min()) >= resolution / math.sqrt(2):
            return near
        around = self.quality.at(near.cpu().numpy())
        wanted = self._tensor(self.settings.wanted(around.spacing, around.clean))
        return near[wanted >= resolution / math.sqrt(2)]

    def lengths(self, level: Level) -> tuple[Tensor, Tensor]:
        """Smoothing and spacing around the nodes of a level's active bricks."""
        middle = (level.corners()[: level.active].cpu().numpy() + BRICK / 2) * level.step - 1
        around = self.quality.at(middle)
        return tuple(self._tensor(values).repeat_interleave(BRICK_NODES) for values in (around.smoothing, around.spacing))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=self.run.torch_device())

    def _level(self, name: str) -> None:
        start = time.perf_counter()
        system = _System(self.field.levels[-1], self)
        for turn in range(self.settings.rounds):
            system.solve(self.weights, self.normal_weights)
            self._reweight()
            self.run.step(name, turn + 1, self.settings.rounds, surface=self.field, residual=float(self.scale))
            self.turn_seconds = (time.perf_counter() - start) / (turn + 1)
            if turn + 1 < self.settings.rounds and not self._affordable(self.field.levels[-1].resolution, self.turn_seconds):
                self.run.cut_short(f"{turn + 1} of {self.settings.rounds} rounds at {self.field.levels[-1].resolution} cells")
                break

    def _affordable(self, resolution: int, seconds: float) -> bool:
        """Whether the budget leaves these seconds, and those that the result takes afterwards at a resolution."""
        if resolution <= LEAST_CELLS:
            return True
        crossed = float((self.spacing * self.wanted.clamp(max=resolution) / 2).square().sum())
        looking = LOOK_SECONDS + LOOK_SECONDS_PER_POINT * len(self.points)
        slowness = max(1.0, self.run.timings.get("look", 0.0) / looking)
        return seconds + slowness * (FINISH_SECONDS + FINISH_SECONDS_PER_CELL * crossed) <= self.run.seconds_left()

    def _reweight(self) -> None:
        """Geman-McClure weights: points that the surface leaves behind lose their say, and so do normals that it contradicts."""
        residual, gradient = self.field.value_and_gradient(self.points)
        step = self.field.levels[-1].step
        coarse = step > 1.5 * self.spacing
        floor = torch.where(coarse, step, MIN_SCALE * self.spacing)
        self.weights, ratio = losses.robust_weights(residual, usual=self.usual, floor=floor)
        self.scale = ratio * self.usual.median()
        self.normal_weights = self.weights * torch.where(coarse, 1.0, losses.normal_weights(gradient, self.normals))


class _System:
    """The quadratic energy of one level."""

    def __init__(self, level, fit: Fit):
        self.level, self.fit = level, fit
        self.free = level.free_columns()
        self.here = torch.nonzero(level.holds(fit.points))[:, 0]
        stride = max(1, len(self.here) // (POINTS_PER_CELL_FACE * level.resolution**2))
        self.here = self.here[::stride]
        self.first = None
        self.smoothing, self.spacing = fit.lengths(level)
        self.area, reach = fit.spacing[self.here] ** 2, fit.reach[self.here]
        usual = float(reach.median())
        self.trust = self.area * (reach / usual) ** 2
        self.pull = losses.plane_pull(level, self.free, fit.points[self.here], fit.normals[self.here], usual)
        self.bending = losses.bending(level, self.free)
        dense = level.resolution <= DENSE
        self.sides = fit.sides.level(level.resolution).coefficients if dense else None

    def solve(self, weights, normal_weights) -> None:
        """Add the change of the coefficients that lowers the energy most; both terms then start from the new ones."""
        h, level = self.level.step, self.level
        data = torch.cat([self.area * weights[self.here], (self.trust * normal_weights[self.here]).repeat_interleave(3)])
        curvature = self.bending.target / h**2
        stiffness = self.smoothing.clamp(min=COARSE_LENGTH * h) ** 3
        bend = stiffness / h * losses.crease_discount((self.smoothing * curvature) ** 2)
        anchor = torch.zeros(1, device=data.device)
        right = self.pull.right(data) + self.bending.right(bend)
        if self.sides is not None:
            certainty = ((self.sides.abs() - ANCHOR_OFF * self.spacing) / ANCHOR_REACH).clamp(min=0, max=2)
            anchor = ANCHOR * stiffness * (h / self.spacing) ** 3 * certainty**4
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
