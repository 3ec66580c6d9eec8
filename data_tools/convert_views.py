"""Convert photographs with cameras from any format that we read: python -m surfrecon.data_tools.convert_views IN OUT --format colmap"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from surfrecon.apps.console import guarded
from surfrecon.data_tools.view_writers import FORMATS, write_views


def options_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m surfrecon.data_tools.convert_views",
        description="Convert photographs with cameras into another format. Lens distortion is undone, images become PNG.",
    )
    parser.add_argument("input", type=Path, metavar="IN", help="a folder that `surfrecon` reads, or the camera file in it")
    parser.add_argument("output", type=Path, metavar="OUT", help="the folder to write, a new one")
    parser.add_argument("--format", choices=FORMATS, default="transforms", help="transforms.json, COLMAP text, NeuS (default: %(default)s)")
    parser.add_argument("--masks", type=Path, metavar="FOLDER", help="masks, bright on the object (default: those that the input has)")
    parser.add_argument("--longest-side", type=int, metavar="PIXELS", help="scale larger images down")
    parser.add_argument("--no-check", action="store_true", help="take poses that the images contradict")
    return parser


def convert(options: argparse.Namespace) -> None:
    from surfrecon.io import read_views

    views = read_views(options.input, masks=options.masks, longest_side=options.longest_side, check=not options.no_check)
    for note in write_views(views, options.output, options.format):
        print(f"{options.output}: {note}", file=sys.stderr)
    print(f"{options.output}: {len(views)} views{', with masks' if views.masks is not None else ''}")


def main(arguments: Sequence[str] | None = None) -> int:
    options = options_parser().parse_args(arguments)
    return guarded(lambda: convert(options), verbose=False)


if __name__ == "__main__":
    sys.exit(main())
