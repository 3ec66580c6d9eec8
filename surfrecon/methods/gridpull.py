"""GridPull: a signed distance on a grid, fitted so that queries near the scan are pulled onto it; no network, no normals needed.

The idea is that of Chen, Liu and Han, "GridPull: towards scalability in learning implicit representations from 3D point clouds", ICCV
2023. It differs where the paper's form falls short: the sign comes from winding numbers, targets are local planes, not nearest noisy
points, weights are robust, the grid is a quadratic B-spline, coarse to fine and only around the surface, and the pull, linearised, is
solved by conjugate gradients.

Everything is in the unit frame. s: spacing of the points. h: side of a level's cells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from surfrecon.geometry import PointCloud
from surfrecon.run import Run
from surfrecon.thinning import FINEST

if TYPE_CHECKING:
    from surfrecon.fields import Field

# torch is imported inside functions: settings are read where --help must answer fast.

# Times finer is the grid of clean points: its quadratic pieces bend once a cell (sparse_3k: a tenth off the error). More helps nobody.
CLEAN_GAIN = 4.0
# Of a fit on two cores, beside the survey's: constant, per cell that the surface crosses at the finest level, per pulled query.
FIXED_SECONDS, SECONDS_PER_CELL, SECONDS_PER_QUERY = 2.0, 4e-5, 2e-7
FIXED_BYTES, BYTES_PER_POINT, BYTES_PER_CELL = 3.9e8, 2.2e3, 1.5e3


@dataclass(frozen=True)
class GridPull:
    """Settings of gridpull.

    Attributes:
        finest: cells along the unit box at the finest level; 0 follows the spacing of the points, up to FINEST.
        coarsest: cells along the unit box at the dense first level, about.
        cells_per_spacing: fineness that `finest` = 0 aims at; clean points get CLEAN_GAIN times as many, up to CLEAN_GAIN.
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
    starts_from: ClassVar[tuple[str, dict[str, Any]] | None] = None
    refined_by: ClassVar[tuple[str, dict[str, Any]] | None] = None
    follows: ClassVar[bool] = False

    def fit(self, scan: PointCloud, run: Run, start: Field | None = None) -> Field:
        """The scan's signed distance as a GridField, or as a TrilinearField by the paper's objective.

        Args:
            scan: in the unit frame.
            run: surroundings.
            start: the logarithm of the odds of being outside, where nobody scanned too; it has its say beside winding numbers. None asks
                these alone.
        """
        import torch

        from surfrecon.methods import gridpull_paper
        from surfrecon.methods.gridpull_fit import Fit
        from surfrecon.survey import survey

        if self.objective == "paper":
            if run.budget is not None:
                run.warn("the published form takes all its steps: it minds no budget")
            return gridpull_paper.fit(self, scan, run)
        with torch.no_grad():
            return Fit(self, survey(scan, run, finest=self.finest), run, start).field

    def wanted(self, spacing: np.ndarray, clean: np.ndarray) -> np.ndarray:
        """(N,) cells along the unit box that the surface around each point asks for.

        Args:
            spacing: (N,) of the points there, unit frame.
            clean: (N,) from 1, points without noise, to 0, others.
        """
        fineness = np.minimum(self.cells_per_spacing * CLEAN_GAIN**clean, max(CLEAN_GAIN, self.cells_per_spacing))
        return np.full(len(spacing), float(self.finest)) if self.finest else np.minimum(FINEST, 2 * fineness / spacing)

    def plan(self, wanted: np.ndarray) -> list[int]:
        """Cells along the box of each level, coarse to fine, doubling, where so many are wanted around the points."""
        from surfrecon.fields.grid import BRICK

        finest = np.median(wanted)
        doublings = max(0, round(math.log2(finest / self.coarsest)))
        first = max(BRICK, BRICK * round(finest / 2**doublings / BRICK))  # as near to self.coarsest as the finest allows
        return [first * 2**i for i in range(doublings + 1)]

    def foresee(self, scan: PointCloud) -> tuple[float, float, int]:
        """Seconds on two cores, bytes, and cells along the box of a fit to a scan in the unit frame: good to a factor of two."""
        from surfrecon.methods import gridpull_paper
        from surfrecon.survey import SECONDS_PER_POINT, first_look

        if self.objective == "paper":
            return self.steps * self.queries * SECONDS_PER_QUERY, FIXED_BYTES, 2 * (self.finest or gridpull_paper.NODES - 1)
        here = first_look(scan)
        wanted = self.wanted(here.spacing, here.clean)
        finest = self.plan(wanted)[-1]
        crossed = np.square(here.spacing * np.minimum(wanted, finest) / 2).sum()
        work = self.rounds / 3 * SECONDS_PER_CELL * crossed
        bytes = FIXED_BYTES + BYTES_PER_POINT * len(scan) + BYTES_PER_CELL * crossed
        return FIXED_SECONDS + SECONDS_PER_POINT * len(scan) + work, bytes, finest
