"""Simulate a range scan of a shape or a mesh: python -m surfrecon.data_tools.simulate bracket -o scan.ply --truth truth.ply"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from surfrecon.apps.console import guarded
from surfrecon.data_tools.scanner import scan
from surfrecon.data_tools.shapes import SHAPES, mesh_of, named


def options_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m surfrecon.data_tools.simulate",
        description="Simulate a range scan: views from all around, grazing rays lost, noise along the rays, outliers last.",
    )
    parser.add_argument("object", metavar="SHAPE_OR_MESH", help=f"one of {', '.join(SHAPES)}; or a mesh file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="SCAN", help="the scan to write (.ply ...)")
    parser.add_argument("--points", type=int, default=50_000, help="points, outliers included (default: %(default)s)")
    parser.add_argument("--noise", type=float, default=0.001, help="sigma along the ray, in diagonals of the box (default: %(default)s)")
    parser.add_argument("--outliers", type=float, default=0.01, help="share of the points that are outliers (default: %(default)s)")
    parser.add_argument("--views", type=int, default=7, help="sensors around the object (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same scan (default: %(default)s)")
    parser.add_argument("--normals", action="store_true", help="write the true normals")
    parser.add_argument("--no-origins", action="store_true", help="leave out where the sensors stood")
    parser.add_argument("--truth", type=Path, metavar="MESH", help="write the true surface too")
    parser.add_argument("--resolution", type=int, default=192, help="cells along a shape's box, for its mesh (default: %(default)s)")
    return parser


def simulate(options: argparse.Namespace) -> None:
    from surfrecon.io import read_mesh, write_mesh, write_scan

    file = Path(options.object)
    mesh = read_mesh(file) if file.suffix else mesh_of(named(options.object), options.resolution)
    cloud = scan(
        mesh,
        views=options.views,
        points=options.points,
        depth_noise=options.noise,
        outliers=options.outliers,
        normals=options.normals,
        seed=options.seed,
    )
    write_scan(replace(cloud, origins=None) if options.no_origins else cloud, options.output)
    print(f"{options.output}: {len(cloud)} points from {options.views} views")
    if options.truth is not None:
        write_mesh(mesh, options.truth)
        print(f"{options.truth}: the true surface, {len(mesh.faces)} faces")


def main(arguments: Sequence[str] | None = None) -> int:
    options = options_parser().parse_args(arguments)
    return guarded(lambda: simulate(options), verbose=False)


if __name__ == "__main__":
    sys.exit(main())
