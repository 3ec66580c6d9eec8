"""surfrecon render: pictures of a mesh or a scan, without a display."""

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
PROG mesh.ply -o mesh.png
PROG scan.laz -o scan.png --color intensity
PROG mesh.ply -o confidence.png --color confidence --views one --size 1600x1200
"""
GREY = "grey"
RANGE = (0.01, 0.99)  # quantiles of a scalar that the ends of the colour map stand for: a few stray values shall not take it all


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a mesh or a scan")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PNG")
    parser.add_argument("--size", type=size, default=(800, 600), metavar="WIDTHxHEIGHT", help="of one picture (default: 800x600)")
    parser.add_argument("--views", choices=("six", "one"), default="six", help="six sides on one sheet, or one picture (default: six)")
    color_help = "grey, colors, normals, or a scalar field such as confidence (default: colors where there are any)"
    parser.add_argument("--color", metavar="NAME", help=color_help)
    parser.add_argument("--overwrite", action="store_true", help="replace PNG where it exists")


def run(options: argparse.Namespace) -> None:
    from PIL import Image

    from surfrecon import pictures
    from surfrecon.apps.console import print_json, print_lines
    from surfrecon.apps.files import check_output, load
    from surfrecon.geometry import Mesh
    from surfrecon.io.atomic import replacing

    check_output(options.output, suffixes=[".png"], taken=[options.output], overwrite=options.overwrite)
    item = load(options.file)
    name = options.color or ("colors" if item.colors is not None else GREY)
    colors, ends = _paint(item, name, options.file)
    if options.views == "six":
        picture = pictures.six_sides(item, size=options.size, colors=colors)
    else:
        draw = pictures.shaded if isinstance(item, Mesh) else pictures.cloud_picture
        picture = draw(item, pictures.Camera(size=options.size), colors=colors)
    with replacing(options.output) as file:
        Image.fromarray(picture).save(file, format="PNG")
    height, width = picture.shape[:2]
    if options.json:
        print_json({"picture": str(options.output), "size": [width, height], "views": options.views, "color": name, "range": ends})
    else:
        scale = f", {name} from {ends[0]:.4g} (dark) to {ends[1]:.4g} (yellow)" if ends else ""
        print_lines([f"{options.output}: {width} x {height} pixels{scale}"])


def _paint(item: Mesh | PointCloud, name: str, file: Path) -> tuple[np.ndarray | None, tuple[float, float] | None]:
    """(N, 3) sRGB of each vertex or point, None for a mesh's own grey; and what the ends of the colour map stand for, for a scalar."""
    import numpy as np

    from surfrecon import pictures
    from surfrecon.geometry import Mesh

    mesh = isinstance(item, Mesh)
    if name == GREY:
        return (None if mesh else np.broadcast_to(pictures.GREY, item.points.shape)), None
    if name == "colors" and item.colors is not None:
        return item.colors, None
    normals = item.vertex_normals() if mesh and name == "normals" and item.normals is None else item.normals
    if name == "normals" and normals is not None:
        return (normals + 1) / 2, None
    if name in item.scalars:
        values = item.scalars[name].astype(float)
        known = values[np.isfinite(values)]
        low, high = (0.0, 1.0) if name == "confidence" else np.quantile(known, RANGE) if len(known) else (0.0, 0.0)
        return pictures.colormap((values - low) / max(high - low, np.finfo(np.float32).tiny)), (float(low), float(high))
    has = {"colors": item.colors is not None, "normals": mesh or item.normals is not None}
    known = [GREY, *(part for part, there in has.items() if there), *sorted(item.scalars)]
    raise InputError(f"{file} has no {name!r} to paint; it has {', '.join(known)}")
