"""Photographs with known cameras out of the folders that other tools leave: one file per format, chosen by what lies in the folder.

Each format's module has `find(path)`, the file or folder that it would read, or None, and `read(place)`, the Capture found there.
"""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path

from surfrecon.errors import InputError
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


def read(path: Path, masks: Path | None, longest_side: int | None, check: bool) -> Views:
    """See surfrecon.io.read_views, which names the path in front of every error."""
    if longest_side is not None and longest_side < 1:
        raise InputError(f"longest_side must be at least 1 pixel, got {longest_side}")
    if masks is not None and not masks.is_dir():
        raise InputError(f"the folder of masks {masks} does not exist or is no folder")
    found = {}
    for name in FORMATS:
        module = import_module(f"{__name__}.{name}")
        place = module.find(path)
        if place is not None:
            found[name] = (module, place)
    if not found:
        raise InputError(f"there are no cameras that we can read: expected {', '.join(FORMATS.values())}")
    name, (module, place) = next(iter(found.items()))
    capture = module.read(place)
    unused = "".join(f"; {other} left aside" for _, other in list(found.values())[1:])
    log.info("%s: %d images with poses, read as %s%s", place, len(capture.shots), FORMATS[name], unused)
    views = load(capture, masks, longest_side)
    if check:
        check_poses(views, capture.convention)
    return views
