"""hashsdf: a signed distance on a multiresolution hash grid, trained as the residual to gridpull's coarse one.

The energy is gridpull's: points lie on the surface, its normals are theirs, and it bends little; here by samples, lowered by Adam.
The start knows inside from outside and closes what nobody scanned; where there are no data the residual is held at zero.

Everything is in the unit frame. s: spacing of the points. h: side of a cell of the start. Letters: N points, Q queries, B of a batch.
Source: the grid is that of Müller et al., "Instant neural graphics primitives", 2022; the energy is ours, see gridpull.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.run import Run
from surfrecon.thinning import FINEST

if TYPE_CHECKING:
    from surfrecon.fields import Field
    from surfrecon.fields.grid import GridField
    from surfrecon.ops import SdfNetwork

# torch is imported inside functions: settings are read where --help must answer fast.

COARSER = 3.0  # than the start is the coarsest level: noise is taken off over longer lengths than detail is added
CLEAN_GAIN = 4.0  # times finer is the grid of clean points
ENTRIES_PER_POINT = 8.0  # of each level, at most: more than that can't be told apart
LEAST_ENTRIES, MOST_ENTRIES = 12, 22  # log2, of a level
# Measured on two cores, the seconds beside the start's: of a step, per point of the batch and level. Bytes: constant; per point of the
# scan, most of them its queries'; per number of the table; per cell that the surface crosses.
SECONDS_PER_SAMPLE = 2e-7
FIXED_BYTES, BYTES_PER_POINT, BYTES_PER_NUMBER, BYTES_PER_CELL = 3.7e8, 1100, 33, 1000


@dataclass(frozen=True)
class HashSdf:
    """Settings of hashsdf.

    Attributes:
        finest: cells along the unit box of the finest level; 0 follows the spacing of the points, up to 2 FINEST.
        cells_per_spacing: fineness that `finest` = 0 aims at; clean points get CLEAN_GAIN times as many.
        levels: of the hash grid, from a third of the start's fineness to `finest`.
        features: of each level: 1, 2, 4 or 8.
        width: of the network's hidden layer: 16, 32, 64 or 128.
        steps: of Adam.
        batch: points of a step, and half as many pairs of queries.
        rate: learning rate of the table at the start; the network's is a tenth of it.
        smoothing: length below which relief counts as noise, in spacings; 0 derives it from the noise that left-out points show.
        normal_reach: how far the normals' word counts at least, in spacings: a radian of error in the gradient weighs like this distance.
    """

    finest: int = 0
    cells_per_spacing: float = 0.8
    levels: int = 6
    features: int = 2
    width: int = 32
    steps: int = 160
    batch: int = 4096
    rate: float = 0.01
    smoothing: float = 0.0
    normal_reach: float = 0.5

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {
        "fast": {"steps": 80},
        "balanced": {},
        "fine": {"steps": 800, "batch": 8192},
    }
    accepts: ClassVar[tuple[type, ...]] = (PointCloud,)
    starts_from: ClassVar[tuple[str, dict[str, Any]]] = ("gridpull", {"cells_per_spacing": 0.5, "rounds": 2, "iterations": 30})
    refined_by: ClassVar[tuple[str, dict[str, Any]] | None] = None
    follows: ClassVar[bool] = False

    def fit(self, scan: PointCloud, run: Run, start: GridField | None = None) -> Field:
        """The scan's signed distance as a HashGridField over the start.

        Args:
            scan: in the unit frame.
            run: surroundings.
            start: a coarse signed distance of the same scan, as gridpull fits it.
        Raises:
            InputError: there is no start.
        """
        import torch

        from surfrecon.methods.hashsdf_fit import Fit
        from surfrecon.survey import survey

        if start is None or start.resolution is None:
            raise InputError("hashsdf needs a coarse field to start from; reconstruct() fits one with gridpull")
        with torch.no_grad():
            return Fit(self, survey(scan, run, finest=self.finest), start, run).field

    def network(self, spacing: float, points: int, clean: float, coarsest: int) -> SdfNetwork:
        """The layout for so many points of this spacing (unit frame) and cleanness (1 to 0), over a start of `coarsest` cells."""
        from surfrecon.ops import HashGrid, SdfNetwork

        finest = self.finest or min(2 * FINEST, round(self.cells_per_spacing * CLEAN_GAIN**clean * 2 / spacing))
        entries = math.ceil(math.log2(ENTRIES_PER_POINT * points))
        grid = HashGrid(
            levels=self.levels,
            features=self.features,
            base=max(4, round(coarsest / COARSER)),
            finest=max(finest, coarsest + 1),
            log2_entries=min(max(entries, LEAST_ENTRIES), MOST_ENTRIES),
        )
        return SdfNetwork(grid, width=self.width, xyz=False, radius=0.0)

    def extracted(self, finest: int) -> int:
        """Cells along the unit box at which a field of such a finest level is worth extracting: FINEST, unless more were asked for."""
        return finest if self.finest else min(finest, FINEST)

    def foresee(self, scan: PointCloud) -> tuple[float, float, int]:
        """Seconds on two cores, bytes, and cells along the box of a fit to a scan in the unit frame, beside the start's."""
        from surfrecon.survey import first_look

        spacing = scan.spacing()
        network = self.network(spacing, len(scan), float(first_look(scan).clean.mean()), max(16, round(1 / spacing)))
        seconds = SECONDS_PER_SAMPLE * self.steps * 2 * self.batch * self.levels
        cells = self.extracted(network.grid.finest)
        crossed = len(scan) * (spacing * cells / 2) ** 2
        bytes = FIXED_BYTES + BYTES_PER_POINT * len(scan) + BYTES_PER_NUMBER * network.grid.numbers + BYTES_PER_CELL * crossed
        return seconds, bytes, cells
