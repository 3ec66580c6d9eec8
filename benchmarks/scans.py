"""Scans with a known truth: our command beside Open3D's Screened Poisson, in one run.

18 clouds of ../shared/data: four objects as clean_50k, noisy_50k, sparse_3k and virtual_scan, and two scans of the Surface Reconstruction
Benchmark. Both sides get the file's normals on clean_50k and sparse_3k and positions alone on the rest, where Poisson's normals are those
that its users have (PCA, consistent tangent planes). Poisson at its default depth 8, at the best of depths 7, 8, 9 by the truth, and
with our normals. Our result is the file that the command wrote; of every mesh the largest piece is measured, by exact distances.

    python benchmarks/scans.py                      # all, and RESULTS.md
    python benchmarks/scans.py --only horse/noisy   # some, shown only
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from results import DATA, record, table

from surfrecon.geometry import Mesh, PointCloud
from surfrecon.io import read_mesh, read_scan, write_scan
from surfrecon.local_surfaces import local_surfaces
from surfrecon.metrics import PROTOCOLS, Comparison, compare, largest_component
from surfrecon.orientation import orient

OBJECTS = ("armadillo", "fandisk", "horse", "rocker_arm")
CLOUDS = {
    "clean_50k": "clean_50k_normals.ply",
    "noisy_50k": "noisy_50k.ply",
    "sparse_3k": "sparse_3k_normals.ply",
    "virtual_scan": "virtual_scan.ply",
}
REAL = ("anchor", "daratech")
DEPTHS = (7, 8, 9)
DEFAULT_DEPTH = 8
POISSON_NEIGHBOURS = 16  # of its users' normals and tangent planes
SAMPLES = 100_000


@dataclass(frozen=True)
class Case:
    name: str
    scan: Path
    truth: Path
    with_normals: bool

    def read(self) -> PointCloud:
        """What both sides are given: positions, and normals where the case has some."""
        scan = read_scan(self.scan)
        return PointCloud(scan.points, normals=scan.normals if self.with_normals else None)


def cases() -> list[Case]:
    made = [
        Case(f"{item}/{cloud}", DATA / f"gt_{item}" / file, DATA / f"gt_{item}" / "gt.ply", "normals" in file)
        for item in OBJECTS
        for cloud, file in CLOUDS.items()
    ]
    folder = DATA / "srb_scans"
    return made + [Case(f"{item}/scan", folder / f"{item}.ply", folder / f"{item}_gt.ply", False) for item in REAL]


def poisson(points: np.ndarray, normals: np.ndarray, depth: int) -> Mesh:
    """Open3D's Screened Poisson as it comes (Kazhdan and Hoppe, 2013)."""
    import open3d

    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(np.array(points)))
    cloud.normals = open3d.utility.Vector3dVector(np.array(normals))
    mesh, _ = open3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=depth)
    return Mesh(np.asarray(mesh.vertices), np.asarray(mesh.triangles))


def users_normals(points: np.ndarray) -> np.ndarray:
    import open3d

    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(np.array(points)))
    cloud.estimate_normals(open3d.geometry.KDTreeSearchParamKNN(POISSON_NEIGHBOURS))
    cloud.orient_normals_consistent_tangent_plane(POISSON_NEIGHBOURS)
    return np.asarray(cloud.normals)


def ours(scan: PointCloud, options: list[str]) -> tuple[Mesh, dict]:
    """What the command makes of a file with these points: its mesh read back, and its report."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "scan.ply", Path(folder) / "mesh.ply"
        write_scan(scan, source)
        command = [sys.executable, "-m", "surfrecon.apps.cli", "scan", str(source), "-o", str(target), "--json", *options]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
        report = json.loads(done.stdout) | {"wall": time.perf_counter() - start}
        return read_mesh(target), report


def measured(case: Case, options: list[str], peers: bool) -> dict:
    scan, truth = case.read(), read_mesh(case.truth)
    against = lambda mesh: compare(largest_component(mesh), truth, samples=SAMPLES)
    mesh, report = ours(scan, options)
    row = {"case": case, "report": report, "ours": against(mesh)}
    if case.name.partition("/")[0] in REAL:
        row["srb"] = PROTOCOLS["srb"](mesh, truth)
    if peers:
        start = time.perf_counter()
        theirs = scan.normals if case.with_normals else users_normals(scan.points)
        row["theirs"] = {depth: against(poisson(scan.points, theirs, depth)) for depth in DEPTHS}
        row["their_seconds"] = time.perf_counter() - start
        axes = local_surfaces(scan.points).normals
        signed = orient(scan, axes).normals
        row["our_normals"] = against(poisson(scan.points, signed, DEFAULT_DEPTH))
    return row


def figures(result: dict) -> str:
    """Of a protocol, in the scan's unit."""
    return ", ".join(f"{name} {value:.3f}" for name, value in result.items() if isinstance(value, float))


def geometric(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def cells(row: dict) -> list[str]:
    """One line of the table: lengths in thousandths of the truth's diagonal."""
    result: Comparison = row["ours"]
    report, thousandths = row["report"], 1000 / row["ours"].diagonal
    text = [
        row["case"].name,
        f"{result.distance * thousandths:.3f}",
        f"{result.hausdorff * thousandths:.2f}",
        f"{result.normals:.4f}",
        f"{report['topology']['genus']} ({result.truth.genus})",
        "yes" if report["topology"]["solid"] else "NO",
        f"{report['wall']:.0f}",
        f"{report['peak_memory_bytes'] / 2**30:.1f}",
    ]
    if "theirs" in row:
        default = row["theirs"][DEFAULT_DEPTH]
        best = min(row["theirs"].values(), key=lambda other: other.distance)
        text += [f"{default.distance * thousandths:.3f}", f"{default.hausdorff * thousandths:.2f}", f"{default.normals:.4f}"]
        text += [f"{value:.2f}" for value in ratios(row)]
        text += [f"{best.normals:.4f}"]
    return text


def ratios(row: dict) -> list[float]:
    """Our distance and Hausdorff over those of: the default depth, the best depth (by distance), the default depth with our normals."""
    result = row["ours"]
    best = min(row["theirs"].values(), key=lambda other: other.distance)
    others = (row["theirs"][DEFAULT_DEPTH], best, row["our_normals"])
    return [value for other in others for value in (result.distance / other.distance, result.hausdorff / other.hausdorff)]


HEAD = ["cloud", "distance", "Hausdorff", "normals", "genus (truth)", "solid", "s", "GiB"]
PEER_HEAD = ["Poisson 8: distance", "Hausdorff", "normals", "ours / Poisson 8", "H", "ours / best depth", "H"]
PEER_HEAD += ["ours / Poisson 8 with our normals", "H", "best depth: normals"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="clouds whose name contains this; nothing is recorded then")
    parser.add_argument("--no-peers", action="store_true", help="ours alone; nothing is recorded then")
    parser.add_argument("options", nargs="*", help="options of the command, after --")
    options = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"the scans are not here: {DATA}")
    chosen = [case for case in cases() if options.only in case.name]
    rows = []
    for case in chosen:
        rows.append(measured(case, options.options, not options.no_peers))
        print("  ".join(cells(rows[-1])), flush=True)
    text = table(HEAD + ([] if options.no_peers else PEER_HEAD), [cells(row) for row in rows])
    if not options.no_peers:
        means = [geometric(list(column)) for column in zip(*map(ratios, rows))]
        names = ("Poisson 8", "best depth", "Poisson 8 with our normals")
        text += "\n\nGeometric means, ours over theirs, distance / Hausdorff: "
        text += "; ".join(f"{name} {means[2 * i]:.2f} / {means[2 * i + 1]:.2f}" for i, name in enumerate(names)) + "."
    for row in rows:
        if "srb" in row:
            text += f"\n\n{row['case'].name} by the benchmark's own protocol: {figures(row['srb'])}."
    text = "Lengths in thousandths of the truth's diagonal, largest piece, exact distances.\n\n" + text
    print(text)
    if not (options.only or options.no_peers or options.options):
        record("Scans with a known truth, beside Screened Poisson", text)


if __name__ == "__main__":
    main()
