"""surfrecon view: scans and meshes together in a window, or its picture in a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from surfrecon.apps.options import size
from surfrecon.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from surfrecon.geometry import Mesh, PointCloud

EXAMPLES = """
PROG scan.ply mesh.ply
PROG mesh.ply --truth truth.ply
PROG scan.ply mesh.ply --truth truth.ply --press EX --screenshot section.png
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="meshes and scans, in one frame")
    parser.add_argument("--truth", type=Path, metavar="FILE", help="a mesh or points, for colours by distance (key E)")
    parser.add_argument("--press", default="", metavar="KEYS", help="keys pressed at the start; H shows them all")
    parser.add_argument("--screenshot", type=Path, metavar="PNG", help="write a picture of the window and exit")
    parser.add_argument("--size", type=size, default=(1280, 960), metavar="WIDTHxHEIGHT", help="of the window (default: 1280x960)")
    parser.add_argument("--overwrite", action="store_true", help="replace PNG where it exists")


def run(options: argparse.Namespace) -> None:
    from surfrecon.apps.console import print_json, print_lines
    from surfrecon.apps.files import check_output, load
    from surfrecon.apps.viewer import HELP, State, Window, check_display, checked_keys
    from surfrecon.pictures import save_png

    state = State()
    for key in checked_keys(options.press):
        state.press(key)
    if state.paint == "error" and not options.truth:
        raise InputError("--press E colours by the distance to a truth; name one with --truth FILE")
    if options.screenshot:
        check_output(options.screenshot, suffixes=[".png"], taken=[options.screenshot], overwrite=options.overwrite)
    else:
        check_display()
    items = [load(file) for file in options.files]
    errors = distances(items, load(options.truth)) if options.truth else None
    with Window(items, state, errors, options.size, say=lambda text: print_lines([text])) as window:
        if options.screenshot:
            picture = window.picture()
            save_png(picture, options.screenshot)
            height, width = picture.shape[:2]
            if options.json:
                print_json({"picture": str(options.screenshot), "size": [width, height], "paint": state.paint})
            else:
                print_lines([f"{options.screenshot}: {width} x {height} pixels, {window.legend()}"])
        else:
            print_lines([f"keys in the window:\n{HELP}"])
            window.run()


def distances(items: list[Mesh | PointCloud], truth: Mesh | PointCloud) -> list[np.ndarray]:
    """Distance of each vertex or point of each item to the truth."""
    from scipy.spatial import cKDTree

    from surfrecon.geometry import Mesh
    from surfrecon.metrics import closest

    places = [item.vertices if isinstance(item, Mesh) else item.points for item in items]
    if isinstance(truth, Mesh):
        return [closest(some, truth)[0] for some in places]
    tree = cKDTree(truth.points)
    return [tree.query(some, workers=-1)[0] for some in places]
