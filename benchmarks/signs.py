"""Sides of unoriented points: our winding-number iteration beside Open3D's consistent tangent planes, by the truth, in one run.

    python benchmarks/signs.py
"""

from __future__ import annotations

import time

import numpy as np
from results import DATA, record, table
from scans import cases, users_normals

from surfrecon.geometry import PointCloud
from surfrecon.io import read_mesh, read_scan
from surfrecon.local_surfaces import local_surfaces
from surfrecon.metrics import closest
from surfrecon.orientation import orient
from surfrecon.outliers import outlying


def right(normals: np.ndarray, outward: np.ndarray) -> float:
    """Share of normals (N, 3) on the side of the truth's (N, 3); all turned inward counts as all outward."""
    share = float((np.einsum("nd,nd->n", normals, outward) > 0).mean())
    return max(share, 1 - share)


def main() -> None:
    rows = []
    clouds = [(case.name, case.scan, case.truth) for case in cases()] + [("gargoyle/scan", DATA / "srb_scans" / "gargoyle.ply", None)]
    for name, file, truth in clouds:
        scan = read_scan(file)
        kept = ~outlying(scan.points)
        points = scan.points[kept]
        if truth is None:  # no mesh: the normals that came with the scan
            outward = scan.normals[kept]
        else:
            mesh = read_mesh(truth)
            outward = mesh.area_vectors()[closest(points, mesh)[1]]
        axes = local_surfaces(points).normals
        start = time.perf_counter()
        found = orient(PointCloud(points), axes)
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        theirs = users_normals(points)
        their_seconds = time.perf_counter() - start
        shares = (right(found.normals, outward), float(found.confident.mean()), right(theirs, outward))
        rows.append([name, f"{len(points):,}", *(f"{100 * share:.2f}" for share in shares), f"{seconds:.1f}", f"{their_seconds:.1f}"])
        print("  ".join(rows[-1]), flush=True)
    head = ["cloud, positions alone", "points", "right %", "confident %", "Open3D right %", "s", "Open3D s"]
    record("Sides without normals", table(head, rows))


if __name__ == "__main__":
    main()
