"""surfrecon scan, reconstruct-from-scan: from files of points to a closed mesh file that has been read back and checked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from surfrecon.apps import job

if TYPE_CHECKING:
    from surfrecon.geometry import PointCloud
    from surfrecon.reconstruction import Reconstruction
    from surfrecon.run import Run

EXAMPLES = """
PROG scan.ply -o mesh.ply
PROG tile1.laz tile2.laz -o town.glb --open
PROG scan.e57 -o mesh.ply --preset fine --device cuda
PROG one_side.ply -o mesh.ply --method convonet
PROG scan.xyz -o again.ply --settings mesh.run/settings.toml
PROG scan.ply -o mesh.ply --dry-run
PROG scan.ply -o mesh.ply --resume
"""
METHODS = ("gridpull", "hashsdf", "convonet")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scans", nargs="+", type=Path, metavar="IN", help="files of points; several are parts of one scan")
    job.add_options(parser, METHODS)


def run(options: argparse.Namespace) -> None:
    from surfrecon.apps.info import scan_facts

    def read(_: Run) -> PointCloud:
        from surfrecon.geometry import merge
        from surfrecon.io import read_scan

        return merge([read_scan(file) for file in options.scans])

    def write(result: Reconstruction, file: Path, run: Run) -> None:
        from surfrecon.io import write_mesh

        write_mesh(result.mesh, file)

    def prefer(scan: PointCloud, run: Run) -> str:
        from surfrecon.reconstruction import preferred_method

        return preferred_method(scan, run)

    job.work(job.Job(options.scans, METHODS[0], read, scan_facts, write, prefer=prefer), options)
