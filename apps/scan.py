"""surfrecon scan, reconstruct-from-scan: from files of points to a closed mesh file that has been read back and checked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surfrecon.apps import job, points
from surfrecon.errors import InputError

if TYPE_CHECKING:
    from surfrecon.geometry import PointCloud
    from surfrecon.reconstruction import Reconstruction
    from surfrecon.run import Run

EXAMPLES = """
PROG scan.ply -o mesh.ply
PROG tile1.laz tile2.laz -o town.glb --open
PROG scan.e57 -o mesh.ply --preset fine --device cuda
PROG town.laz -o ground.ply --class 2 --voxel 0.5 --crop 635500 849000 400 636000 849500 500
PROG one_side.ply -o mesh.ply --method convonet
PROG rgbd -o room.ply
PROG scan.xyz -o again.ply --settings mesh.run/settings.toml
PROG scan.ply -o mesh.ply --dry-run
PROG scan.ply -o mesh.ply --resume
"""
METHODS = ("gridpull", "hashsdf", "convonet")


def add_options(parser: argparse.ArgumentParser) -> None:
    where = "files of points; several are parts of one scan; or a folder of depth maps with poses"
    parser.add_argument("scans", nargs="+", type=Path, metavar="IN", help=where)
    points.add_options(parser)
    job.add_options(parser, METHODS)


def run(options: argparse.Namespace) -> None:
    from surfrecon.apps.info import scan_facts

    points.selection(options)  # what can't be is refused before the work begins

    def read(run: Run) -> PointCloud:
        from surfrecon.geometry import check_extent

        cloud = points.read(options.scans, options, run)
        try:
            check_extent(cloud)
        except InputError as error:
            raise InputError(f"{', '.join(map(str, options.scans))}: {error}") from None
        return cloud

    def facts(scan: PointCloud) -> dict[str, Any]:
        return scan_facts(scan) | points.facts(options)

    def write(result: Reconstruction, file: Path, run: Run) -> None:
        from surfrecon.io import write_mesh

        write_mesh(result.mesh, file)

    def prefer(scan: PointCloud, run: Run) -> str:
        from surfrecon.reconstruction import preferred_method

        return preferred_method(scan, run)

    job.work(job.Job(options.scans, METHODS[0], read, facts, write, prefer=prefer), options)
