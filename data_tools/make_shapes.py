"""Make a set of shapes to learn from: python -m surfrecon.data_tools.make_shapes --count 4000 -o shapes"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from surfrecon.apps.console import guarded
from surfrecon.apps.options import whole
from surfrecon.data_tools.families import FAMILIES, HELD_OUT
from surfrecon.data_tools.training_shapes import ROOMS, record_of_mesh, records
from surfrecon.errors import InputError
from surfrecon.shape_set import Record, write_shapes

SAY_EVERY = 20.0  # seconds


def options_parser() -> argparse.ArgumentParser:
    trained = [family for family in FAMILIES if family != HELD_OUT]
    parser = argparse.ArgumentParser(
        prog="python -m surfrecon.data_tools.make_shapes",
        description="Make a set of shapes to learn from: points on them, and what is inside, for surfrecon train-prior.",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="where the set goes, a new folder")
    parser.add_argument("--count", type=whole(1), default=4000, metavar="N", help="random solids (default: %(default)s)")
    names = f"all but {HELD_OUT}, or some of {', '.join(FAMILIES)}, {ROOMS}"
    parser.add_argument("--families", nargs="+", default=trained, metavar="NAME", help=names)
    parser.add_argument("--all-families", action="store_true", help=f"{HELD_OUT} as well: for a set to measure networks on")
    parser.add_argument("--meshes", type=Path, metavar="FOLDER", help="of your own closed meshes, in place of random solids")
    parser.add_argument("--workers", type=whole(1), default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument("--seed", type=whole(0), default=0, metavar="N", help="same seed, same set (default: 0)")
    return parser


def of_meshes(folder: Path, seed: int) -> Iterator[Record]:
    """Records of the meshes in a folder, in the order of their names."""
    from surfrecon.io import MESH_READERS, read_mesh

    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in MESH_READERS) if folder.is_dir() else []
    if not files:
        raise InputError(f"{folder} holds no meshes ({', '.join(sorted(MESH_READERS))}); name a folder of closed ones")
    for number, file in enumerate(files):
        try:
            yield record_of_mesh(read_mesh(file), np.random.default_rng([seed, number]))
        except InputError as error:
            raise InputError(f"{file}: {error}") from None


def told(rows: Iterator[Record], total: int | None) -> Iterator[Record]:
    """The same, with a word on stderr from time to time."""
    said = time.monotonic()
    for number, row in enumerate(rows, 1):
        yield row
        if time.monotonic() - said > SAY_EVERY:
            said = time.monotonic()
            print(f"{number} of {total} shapes" if total else f"{number} shapes", file=sys.stderr)


def make(options: argparse.Namespace) -> None:
    families = list(FAMILIES) if options.all_families else options.families
    if options.meshes:
        count = write_shapes(options.output, told(of_meshes(options.meshes, options.seed), None), ["meshes"], seed=options.seed)
    else:
        rows = records(families, options.count, seed=options.seed, workers=options.workers)
        count = write_shapes(options.output, told(rows, options.count), families, seed=options.seed)
    print(f"{options.output}: {count} shapes")


def main(arguments: Sequence[str] | None = None) -> int:
    options = options_parser().parse_args(arguments)
    return guarded(lambda: make(options), verbose=False)


if __name__ == "__main__":
    sys.exit(main())
