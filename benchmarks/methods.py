"""hashsdf beside gridpull, by the command, on the scans with a known truth.

Aims: the distance no worse than that of gridpull `balanced` on the geometric mean, in no more time than gridpull `fine` takes.

    python benchmarks/methods.py                      # all, and RESULTS.md
    python benchmarks/methods.py --only horse/noisy   # some, shown only
"""

from __future__ import annotations

import argparse

from results import record, table
from scans import Case, cases, geometric, ours

from surfrecon.io import read_mesh
from surfrecon.metrics import compare, largest_component

SAMPLES = 20_000  # each side
RUNS = {
    "gridpull balanced": ["--method", "gridpull"],
    "gridpull fine": ["--method", "gridpull", "--preset", "fine"],
    "hashsdf": ["--method", "hashsdf"],
}


def measured(case: Case) -> dict[str, tuple[float, float, float, float]]:
    """Run -> distance and Hausdorff over the truth's diagonal, seconds, estimated over measured peak of memory."""
    scan, truth = case.read(), read_mesh(case.truth)
    found = {}
    for name, options in RUNS.items():
        mesh, report = ours(scan, options)
        if not report["topology"]["solid"]:
            raise SystemExit(f"{case.name}: the mesh of {name} is no solid")
        against = compare(largest_component(mesh), truth, samples=SAMPLES)
        memory = report["estimate"]["bytes"] / report["peak_memory_bytes"]
        found[name] = against.distance / against.diagonal, against.hausdorff / against.diagonal, report["wall"], memory
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names that contain this")
    options = parser.parse_args()
    rows, all_found = [], []
    for case in cases():
        if options.only in case.name:
            found = measured(case)
            all_found.append(found)
            figures = [f"{1000 * found[name][i]:.3g}" for i in (0, 1) for name in RUNS] + [f"{found[name][2]:.0f}" for name in RUNS]
            rows.append([case.name, *figures, f"{found['hashsdf'][3]:.2f}"])
            print("  ".join(rows[-1]), flush=True)
    ratio = lambda i, other: geometric([found["hashsdf"][i] / found[other][i] for found in all_found])
    head = ["cloud", *(f"{what}, {name}" for what in ("distance", "Hausdorff", "s") for name in RUNS), "memory, estimated over measured"]
    text = (
        f"Lengths in thousandths of the truth's diagonal, largest piece; all solid.\n\n{table(head, rows)}\n\n"
        f"Geometric means of hashsdf over gridpull balanced: distance {ratio(0, 'gridpull balanced'):.2f}, "
        f"Hausdorff {ratio(1, 'gridpull balanced'):.2f}; over gridpull fine: distance {ratio(0, 'gridpull fine'):.2f}, "
        f"Hausdorff {ratio(1, 'gridpull fine'):.2f}, seconds {ratio(2, 'gridpull fine'):.2f}."
    )
    print(text)
    if not options.only:
        record("hashsdf beside gridpull", text)


if __name__ == "__main__":
    main()
