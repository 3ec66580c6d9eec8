"""What reading a LAZ file costs, beside plain laspy: a made-up flight over hills, LAS 1.4, with classes, intensities and times.

    python benchmarks/reading.py                  # 5,000,000 points
    python benchmarks/reading.py --points 100000 --quick
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import laspy
import numpy as np
from results import record, table

from surfrecon.io import read_scan
from surfrecon.selection import Selection

POINTS = 5_000_000
ORIGIN = np.array([8e5, 5.8e6, 100.0])  # metres
LONG, WIDE = 1000.0, 250.0  # metres
BATCH = 1_000_000  # points written at a time
REPEATS = 5  # the fastest counts: the others waited for something


def write_flight(path: Path, count: int) -> None:
    """Points in the order in which a scanner that swings to and fro meets them, one to the millimetre."""
    header = laspy.LasHeader(version="1.4", point_format=6)
    header.offsets, header.scales = ORIGIN, [1e-3] * 3
    generator = np.random.default_rng(0)
    with laspy.open(path, "w", header=header) as writer:
        for start in range(0, count, BATCH):
            turn = np.arange(start, min(start + BATCH, count)) / count
            x, y = LONG * turn, WIDE * np.sin(5000 * turn)
            z = 5 * np.sin(x / 30) * np.cos(y / 40) + 0.02 * generator.normal(size=len(turn))
            points = laspy.ScaleAwarePointRecord.zeros(len(turn), header=header)
            points.x, points.y, points.z = (ORIGIN[:, None] + [x, y, z]).reshape(3, -1)
            points.intensity = 1000 + 300 * np.sin(x) + generator.integers(-50, 50, len(turn))
            points.classification = np.where(z > 3, 5, 2)
            points.return_number = points.number_of_returns = np.ones(len(turn), np.uint8)
            points.gps_time = 1e8 + 600 * turn
            writer.write_points(points)


def by_laspy(backend: laspy.LazBackend) -> Callable[[Path], None]:
    """All that read_scan() gives, by laspy alone: coordinates, and every field as an array."""

    def read(path: Path) -> None:
        with laspy.open(path, laz_backend=backend) as reader:
            las = reader.read()
        kept = [las.xyz, *(np.asarray(las[name]) for name in las.point_format.dimension_names)]
        assert all(len(column) == len(las) for column in kept)

    return read


def part(path: Path) -> None:
    """A tenth of the flight."""
    low = [*ORIGIN[:2], -1e3]
    read_scan(path, Selection(crop=[*low, ORIGIN[0] + LONG / 10, ORIGIN[1] + WIDE, 1e3]))


READERS: dict[str, Callable[[Path], object]] = {
    "surfrecon": read_scan,
    "surfrecon, a tenth by crop": part,
    "laspy, sequential": by_laspy(laspy.LazBackend.Lazrs),
    "laspy, parallel": by_laspy(laspy.LazBackend.LazrsParallel),
}


def measured(read: Callable[[Path], object], path: Path) -> tuple[float, float]:
    """Seconds and processor seconds of the fastest run."""
    runs = []
    for _ in range(REPEATS):
        wall, used = time.perf_counter(), time.process_time()
        read(path)
        runs.append((time.perf_counter() - wall, time.process_time() - used))
    return min(runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=POINTS, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="nothing is recorded")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "flight.laz")
        write_flight(path, options.points)
        size = path.stat().st_size
        rows = [[name, *(f"{value:.2f}" for value in measured(read, path))] for name, read in READERS.items()]
    text = f"{options.points:,} points, {size / 1e6:.0f} MB of LAZ; the fastest of {REPEATS}.\n\n"
    text += table(["reader", "s", "processor s"], rows)
    print(text)
    if not options.quick:
        record("Reading LAZ", text)


if __name__ == "__main__":
    main()
