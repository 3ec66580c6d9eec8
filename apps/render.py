"""surfrecon render: pictures of a mesh, without a display."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = """
PROG mesh.ply -o mesh.png
PROG mesh.ply -o confidence.png --color confidence --views one --size 1600x1200
"""
ONE_VIEW = (-0.6, 1.0, -0.5)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("mesh", type=Path, metavar="MESH")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PNG")
    parser.add_argument("--size", type=_size, default=(800, 600), metavar="WIDTHxHEIGHT", help="of one picture (default: 800x600)")
    parser.add_argument("--views", choices=("six", "one"), default="six", help="six sides on one sheet, or one picture (default: six)")
    parser.add_argument("--color", metavar="NAME", help="colors, or a scalar of the vertices such as confidence (default: grey)")
    parser.add_argument("--overwrite", action="store_true", help="replace PNG where it exists")


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.split("x"))
    except ValueError:
        width = height = 0
    if not (16 <= width <= 8192 and 16 <= height <= 8192):
        raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT in pixels, each 16 to 8192, got {text!r}")
    return width, height


def run(options: argparse.Namespace) -> None:
    from PIL import Image

    from surfrecon import io, pictures
    from surfrecon.apps.console import print_json
    from surfrecon.apps.files import check_output
    from surfrecon.errors import InputError
    from surfrecon.io.atomic import replacing

    check_output(options.output, suffixes={".png": ""}, taken=(options.output,), overwrite=options.overwrite)
    mesh = io.read_mesh(options.mesh)
    known = (["colors"] if mesh.colors is not None else []) + sorted(mesh.scalars)
    if options.color not in (None, *known):
        raise InputError(f"{options.mesh} has no {options.color!r} to paint; it has {', '.join(known) or 'none'}")
    colors = mesh.colors if options.color == "colors" else None
    if options.color in mesh.scalars:
        values = mesh.scalars[options.color].astype(float)
        low, high = (0.0, 1.0) if options.color == "confidence" else (values.min(), values.max())
        colors = pictures.colormap((values - low) / max(high - low, 1e-30))
    if options.views == "six":
        picture = pictures.six_sides(mesh, size=options.size, colors=colors)
    else:
        picture = pictures.shaded(mesh, pictures.Camera(ONE_VIEW, size=options.size), colors=colors)
    with replacing(options.output) as file:
        Image.fromarray(picture).save(file, format="PNG")
    if options.json:
        print_json({"picture": str(options.output), "size": [picture.shape[1], picture.shape[0]]})
    else:
        print(f"{options.output}: {picture.shape[1]} x {picture.shape[0]} pixels")
