"""Harder scans: views that lack, 5 % outliers, noise on one side, points that thin out along the object; beside Screened Poisson.

Positions alone on both sides; Poisson at its default depth 8 with the normals that its users have.

    python benchmarks/harder.py
"""

from __future__ import annotations

import numpy as np
from results import DATA, record, table
from scans import DEFAULT_DEPTH, OBJECTS, SAMPLES, geometric, ours, poisson, users_normals

from surfrecon.geometry import PointCloud
from surfrecon.io import read_mesh, read_scan
from surfrecon.metrics import compare, largest_component

DROPPED = ((0, 1), (2, 3, 4))  # sensors
ONE_SIDED_NOISE = 0.0025  # standard deviation, over the diagonal
THINNEST = 1 / 16  # of the points that the densest end has
OUTLIERS, MARGIN = 0.05, 0.1  # share of the points, and room around the object in sides of its box


def clouds(item: str) -> dict[str, np.ndarray]:
    folder = DATA / f"gt_{item}"
    scan = read_scan(folder / "virtual_scan.ply")
    sensor = np.asarray(scan.scalars["sensor_id"])
    found = {f"{item} without views {' '.join(map(str, lost))}": scan.points[~np.isin(sensor, lost)] for lost in DROPPED}
    points = read_scan(folder / "noisy_50k.ply").points
    low, high = points.min(axis=0), points.max(axis=0)
    room = MARGIN * (high - low)
    stray = np.random.default_rng(1).uniform(low - room, high + room, (round(OUTLIERS * len(points)), 3))
    found |= {f"{item} noisy": points, f"{item} noisy and outliers": np.concatenate([points, stray])}
    generator = np.random.default_rng(3)
    clean = read_scan(folder / "clean_50k_normals.ply").points
    along = clean[:, np.argmax(np.ptp(clean, axis=0))]
    sigma = ONE_SIDED_NOISE * np.linalg.norm(np.ptp(clean, axis=0)) * (along > np.median(along))
    found[f"{item} noisy on one side"] = clean + sigma[:, None] * generator.normal(size=clean.shape)
    along = points[:, np.argmax(np.ptp(points, axis=0))]
    kept = generator.uniform(size=len(points)) < THINNEST ** ((along - along.min()) / np.ptp(along))
    found[f"{item} noisy and thinning out"] = points[kept]
    return found


def main() -> None:
    rows, ratios = [], []
    for item in OBJECTS:
        truth = read_mesh(DATA / f"gt_{item}" / "gt.ply")
        for name, points in clouds(item).items():
            mesh, report = ours(PointCloud(points), [])
            mine, theirs = (
                compare(largest_component(m), truth, samples=SAMPLES) for m in (mesh, poisson(points, users_normals(points), DEFAULT_DEPTH))
            )
            pairs = ((mine.distance, theirs.distance), (mine.hausdorff, theirs.hausdorff))
            ratios.append([a / b for a, b in pairs])
            lengths = [f"{1000 * value / mine.diagonal:.3g}" for pair in pairs for value in pair]
            solid = "yes" if report["topology"]["solid"] else "NO"
            rows.append([name, f"{len(points):,}", *lengths, *(f"{ratio:.2f}" for ratio in ratios[-1]), solid])
            print("  ".join(rows[-1]), flush=True)
    head = ["cloud", "points", "distance", "Poisson 8", "Hausdorff", "Poisson 8", "ours / Poisson 8", "H", "solid"]
    means = " / ".join(f"{geometric(list(column)):.2f}" for column in zip(*ratios))
    text = f"Lengths in thousandths of the truth's diagonal.\n\n{table(head, rows)}\n\nGeometric means, ours over Poisson 8: {means}."
    print(text)
    record("Harder scans, beside Screened Poisson", text)


if __name__ == "__main__":
    main()
