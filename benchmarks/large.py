"""What large scans cost: the whole command against the number of points, and against the resolution; balanced preset.

The scan is our own knot, sampled evenly from its true surface, with noise of 0.05 % of the box's diagonal and 0.5 % outliers.

    python benchmarks/large.py                  # 10,000 to 3,000,000 points
    python benchmarks/large.py --most 10000000  # and 10,000,000
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from command import timed
from results import record, table

from surfrecon.data_tools.shapes import mesh_of, named
from surfrecon.geometry import PointCloud
from surfrecon.io import read_mesh, write_scan
from surfrecon.metrics import closest, sample_surface

POINTS = (10_000, 100_000, 1_000_000, 3_000_000, 10_000_000)
RESOLUTIONS = (64, 128, 256, 512, 1024)  # of the fit and of the mesh
RESOLUTION_POINTS = 100_000
TRUTH = mesh_of(named("knot"), 192)
NOISE, OUTLIERS = 0.0005, 0.005  # in diagonals; share
MARGIN = 0.05  # of the box around the object in which outliers lie, in diagonals
SAMPLES = 20_000
PICTURE = Path(__file__).parent.parent / "docs" / "time_memory.png"
HEAD = ["points", "points fitted", "cells a side", "faces", "solid", "distance", "s", "processor s", "GiB"]


@dataclass(frozen=True)
class Row:
    points: int
    report: dict
    distance: float  # mean, of the mesh from the truth, in thousandths of the diagonal
    seconds: float
    used: float

    @property
    def resolution(self) -> int:
        return self.report["result"]["resolution"]

    @property
    def gigabytes(self) -> float:
        return self.report["peak_memory_bytes"] / 2**30

    def cells(self) -> list[str]:
        shape, fitted = self.report["topology"], self.report["facts"].get("thinned_to", self.points)
        solid = "yes" if shape["solid"] else "NO"
        figures = (f"{self.distance:.3f}", f"{self.seconds:.0f}", f"{self.used:.0f}", f"{self.gigabytes:.2f}")
        return [f"{self.points:,}", f"{fitted:,}", f"{self.resolution}", f"{shape['faces']:,}", solid, *figures]


def noisy_knot(count: int) -> PointCloud:
    generator = np.random.default_rng(0)
    low, high = TRUTH.bounds()
    diagonal = np.linalg.norm(high - low)
    points = sample_surface(TRUTH, count, 0)[0]
    points += generator.normal(scale=NOISE * diagonal, size=points.shape)
    stray = generator.random(count) < OUTLIERS
    points[stray] = generator.uniform(low - MARGIN * diagonal, high + MARGIN * diagonal, (stray.sum(), 3))
    return PointCloud(points)


def measured(count: int, folder: Path, finest: int = 0) -> Row:
    scan, mesh, settings = folder / f"{count}.ply", folder / "mesh.ply", folder / "settings.toml"
    if not scan.exists():
        write_scan(noisy_knot(count), scan)
    settings.write_text(f"[gridpull]\nfinest = {finest}\n")
    options = ("--settings", settings, "--resolution", finest) if finest else ()
    text, seconds, used = timed("-m", "surfrecon.apps.cli", "scan", scan, "-o", mesh, "--json", "--overwrite", *options)
    distance = closest(sample_surface(read_mesh(mesh), SAMPLES, 0)[0], TRUTH)[0].mean()
    row = Row(count, json.loads(text), 1000 * distance / np.linalg.norm(np.ptp(TRUTH.bounds(), axis=0)), seconds, used)
    print("  ".join(row.cells()), {stage: round(spent, 1) for stage, spent in row.report["timings"].items()}, flush=True)
    return row


def draw(by_points: list[Row], by_resolution: list[Row]) -> None:
    """Time and memory against both, on logarithmic axes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(7.5, 4.6), sharey="row")
    columns = (("points of the scan", by_points, [row.points for row in by_points]),)
    columns += ((f"cells a side, {RESOLUTION_POINTS:,} points", by_resolution, [row.resolution for row in by_resolution]),)
    for column, (label, rows, x) in enumerate(columns):
        for line, (name, values) in enumerate((("processor s", [row.used for row in rows]), ("GiB", [row.gigabytes for row in rows]))):
            axis = axes[line, column]
            axis.loglog(x, values, "o-", color=("tab:blue", "tab:red")[line], markersize=4)
            axis.grid(True, which="both", linewidth=0.3)
            axis.set_xlabel(label)
            if not column:
                axis.set_ylabel(name)
            if column:
                axis.set_xticks(x, [f"{value}" for value in x])
                axis.minorticks_off()
    figure.tight_layout()
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--most", type=int, default=3_000_000, metavar="N", help="points of the largest scan (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="the smallest two of each, and nothing is recorded")
    options = parser.parse_args()
    points = [count for count in POINTS if count <= options.most][: 2 if options.quick else None]
    with tempfile.TemporaryDirectory() as folder:
        by_points = [measured(count, Path(folder)) for count in points]
        finest = RESOLUTIONS[: 2 if options.quick else None]
        by_resolution = [measured(RESOLUTION_POINTS, Path(folder), cells) for cells in finest]
    text = "A knot with noise of 0.05 % of the diagonal and 0.5 % outliers; "
    text += "mean distance of the mesh from the truth in thousandths of the diagonal.\n\n"
    text += table(HEAD, [row.cells() for row in by_points])
    text += "\n\nAgainst the cells along a side, of fit and mesh:\n\n" + table(HEAD, [row.cells() for row in by_resolution])
    if not options.quick:
        record("Large scans", text)
        draw(by_points, by_resolution)


if __name__ == "__main__":
    main()
