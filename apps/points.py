"""Options that say which points of a scan are used, and what their numbers are."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surfrecon.apps.options import positive, whole
from surfrecon.apps.units import NOT_STATED, SPELLINGS, short, units_of
from surfrecon.errors import InputError

if TYPE_CHECKING:
    from surfrecon.geometry import PointCloud
    from surfrecon.run import Run
    from surfrecon.selection import Selection

log = logging.getLogger("surfrecon")

CORNERS = ("XMIN", "YMIN", "ZMIN", "XMAX", "YMAX", "ZMAX")


def add_options(parser: argparse.ArgumentParser) -> None:
    which = parser.add_argument_group("which points")
    which.add_argument("--crop", nargs=6, type=float, metavar=CORNERS, help="only those in this box, in the file's coordinates")
    which.add_argument("--voxel", type=_side, metavar="SIZE", help="means over cells of this side, in the file's units")
    which.add_argument("--class", type=whole(0, 255), nargs="+", dest="classes", metavar="N", help="only these classes (LAS, LAZ)")
    which.add_argument("--units", choices=tuple(SPELLINGS), help="what the file's numbers are; the mesh keeps them and says so")


def asked(options: argparse.Namespace) -> bool:
    """Whether any of the options is given."""
    return any(value is not None for value in (options.crop, options.voxel, options.classes, options.units))


def selection(options: argparse.Namespace) -> Selection:
    """What the options select.

    Raises:
        InputError: an impossible crop.
    """
    from surfrecon.selection import Selection

    return Selection(options.crop, options.voxel, options.classes)


def read(files: Sequence[Path], options: argparse.Namespace, run: Run | None = None) -> PointCloud:
    """The scan that some files and the options make; a folder holds depth maps with poses, which are fused."""
    from surfrecon.io import read_scans
    from surfrecon.selection import selected

    chosen = selection(options)
    if folders := [file for file in files if file.is_dir()]:
        if len(files) > 1:
            raise InputError(f"{folders[0]}: a folder of depth maps is a scan of its own; name it alone")
        scan = selected(from_depths(folders[0], run), chosen)
    else:
        scan = read_scans(files, chosen)
    if options.units is None:
        return scan
    said = scan.unit or units_of(scan.crs)
    if short(said) not in (NOT_STATED, options.units):
        log.warning("the scan says that its unit is %s, --units says %s: the latter is taken", said, options.units)
    return replace(scan, unit=options.units)


def from_depths(folder: Path, run: Run | None = None) -> PointCloud:
    """The points on which the depth maps of a folder agree, in the frame of its poses, each seen from its camera.

    Raises:
        InputError: no cameras there, or no depth maps.
    """
    from surfrecon.io import read_views
    from surfrecon.stereo import stereo_cloud

    views = read_views(folder)
    if views.depths is None:
        raise InputError(f"{folder} holds photographs without depth maps: surfrecon images makes a mesh of them")
    return stereo_cloud(views, run=run)


def facts(options: argparse.Namespace) -> dict[str, Any]:
    """What was selected, for the report."""
    return {"selection": {"crop": options.crop, "voxel": options.voxel, "classes": options.classes}}


def _side(text: str) -> float:
    return positive(text, "a length")
