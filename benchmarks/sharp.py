"""What --sharp does: an object with sharp edges in four clouds, and smooth ones that should stay as they are, without and with it.

python benchmarks/sharp.py                    # all, and RESULTS.md
python benchmarks/sharp.py --only horse       # some, shown only
"""

from __future__ import annotations

import argparse

import numpy as np
from results import record, table
from scans import Case, cases, ours

from surfrecon.geometry import Mesh, PointCloud
from surfrecon.io import read_mesh, read_scan
from surfrecon.metrics import compare, largest_component

EDGED = ("fandisk/clean_50k", "fandisk/noisy_50k", "fandisk/sparse_3k", "fandisk/virtual_scan")
SMOOTH = ("horse/clean_50k", "horse/noisy_50k", "armadillo/clean_50k", "armadillo/noisy_50k")
SAMPLES = 100_000
HEAD = ["cloud", "distance", "with --sharp", "Hausdorff", "with", "normals", "with", "signed normals", "with"]
HEAD += ["vertices on creases", "moved, %", "solid", "s of sharpening", "s of the run"]


def moved_share(before: Mesh, after: Mesh) -> float:
    """Of the vertices, which keep their order, by more than float32 rounds."""
    size = np.ptp(before.vertices, axis=0).max()
    return float((np.abs(after.vertices - before.vertices).max(1) > 1e-6 * size).mean())


def measured(case: Case, options: list[str]) -> list[str]:
    """One line of the table: lengths in thousandths of the truth's diagonal."""
    scan, truth = read_scan(case.scan), read_mesh(case.truth)
    scan = PointCloud(scan.points, normals=scan.normals if case.with_normals else None)
    (blunt, _), (sharp, report) = ours(scan, options), ours(scan, [*options, "--sharp"])
    pair = [compare(largest_component(mesh), truth, samples=SAMPLES) for mesh in (blunt, sharp)]
    thousandths = 1000 / pair[0].diagonal
    text = [case.name]
    for values in (
        [f"{result.distance * thousandths:.3f}" for result in pair],
        [f"{result.hausdorff * thousandths:.2f}" for result in pair],
        [f"{result.normals:.4f}" for result in pair],
        [f"{result.signed_normals:.4f}" for result in pair],
    ):
        text += values
    text += [f"{report['facts']['vertices_on_creases']:,}", f"{100 * moved_share(blunt, sharp):.1f}"]
    text += ["yes" if report["topology"]["solid"] else "NO", f"{report['timings']['sharpen']:.1f}", f"{report['wall']:.0f}"]
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="clouds whose name contains this; nothing is recorded then")
    parser.add_argument("options", nargs="*", help="options of the command, after --")
    options = parser.parse_args()
    known = {case.name: case for case in cases()}
    rows = []
    for name in EDGED + SMOOTH:
        if options.only in name:
            rows.append(measured(known[name], options.options))
            print("  ".join(rows[-1]), flush=True)
    text = "Lengths in thousandths of the truth's diagonal, largest piece, exact distances; the same fit without and with --sharp.\n\n"
    text += table(HEAD, rows)
    print(text)
    if not (options.only or options.options):
        record("Sharp edges", text)


if __name__ == "__main__":
    main()
