"""Photographs with known cameras out of the folders that other tools leave: one file per format, chosen by what lies in the folder.

Each format's module has `find(path)`, the file or folder that it would read, or None, and `read(place)`, the Capture found there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType

from surfrecon.errors import InputError
from surfrecon.io.views.folders import in_order
from surfrecon.io.views.shots import load
from surfrecon.pose_check import check_poses
from surfrecon.views import Views

log = logging.getLogger("surfrecon")

FORMATS = {  # in order of preference where a folder holds several
    "transforms": "transforms.json",
    "colmap": "COLMAP model",
    "idr": "cameras_sphere.npz (NeuS, IDR)",
    "mvsnet": "cams/*_cam.txt (MVSNet)",
    "middlebury": "*_par.txt (Middlebury)",
    "strecha": "*.camera (Strecha)",
    "rgbd": "colour, depth and pose files (RGB-D)",
}


def cameras_in(path: Path, formats: Iterable[str] = FORMATS) -> dict[str, tuple[ModuleType, Path]]:
    """What a folder, or the file named, holds of cameras: by the format's name its module and the place that it would read."""
    modules = {name: import_module(f"{__name__}.{name}") for name in formats}
    places = {name: module.find(path) for name, module in modules.items()}
    return {name: (modules[name], place) for name, place in places.items() if place is not None}


def frame_folders(path: Path) -> list[Path]:
    """The frames of a sequence, in order: folders with cameras and a number at the end of their names, in a folder that has none."""
    if not path.is_dir() or cameras_in(path):
        return []
    numbered = [folder for folder in path.iterdir() if folder.is_dir() and folder.name[-1:].isdecimal()]
    folders = sorted((folder for folder in numbered if cameras_in(folder)), key=in_order)
    return folders if len(folders) > 1 else []


def read(path: Path, masks: Path | None, longest_side: int | None, check: bool, photographs: Path | None) -> Views:
    """See surfrecon.io.read_views, which names the path in front of every error."""
    if longest_side is not None and longest_side < 1:
        raise InputError(f"longest_side must be at least 1 pixel, got {longest_side}")
    if masks is not None and not masks.is_dir():
        raise InputError(f"the folder of masks {masks} does not exist or is no folder")
    found = cameras_in(path, FORMATS if photographs is None else ("colmap",))
    if not found:
        raise InputError(f"there are no cameras that we can read: expected {', '.join(FORMATS.values())}")
    name, (module, place) = next(iter(found.items()))
    capture = module.read(place) if photographs is None else module.read(place, photographs)
    unused = "".join(f"; {other} left aside" for _, other in list(found.values())[1:])
    log.info("%s: %d images with poses, read as %s%s", place, len(capture.shots), FORMATS[name], unused)
    views = load(capture, masks, longest_side)
    if check:
        check_poses(views, capture.convention)
    return views
