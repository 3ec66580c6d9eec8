"""Photograph an object or a mesh from all around: python -m surfrecon.data_tools.render_views relic -o views --truth truth.ply"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from surfrecon.apps.console import guarded
from surfrecon.data_tools.objects import OBJECTS, named_object
from surfrecon.data_tools.shapes import SHAPES, mesh_of, named
from surfrecon.data_tools.view_writers import FORMATS, new_folder
from surfrecon.errors import InputError

if TYPE_CHECKING:
    from surfrecon.data_tools.textures import Texture
    from surfrecon.geometry import Mesh
    from surfrecon.views import Views

HELD_OUT = "held_out"  # folder of the photographs that are none to reconstruct from


def options_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m surfrecon.data_tools.render_views",
        description="Photograph an object from all around: images with masks, depth maps, cameras, and the exact truth.",
    )
    known = ", ".join([*OBJECTS, *SHAPES])
    parser.add_argument("object", metavar="MESH_OR_OBJECT", help=f"one of {known}; or a mesh file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="the folder to write, a new one")
    parser.add_argument("--views", type=int, default=40, help="photographs (default: %(default)s)")
    parser.add_argument("--held-out", type=int, default=0, metavar="N", help=f"N more from between them, in the folder {HELD_OUT}")
    parser.add_argument("--format", choices=FORMATS, default="transforms", help="transforms.json, COLMAP text, NeuS (default: %(default)s)")
    parser.add_argument("--size", type=int, default=512, metavar="PIXELS", help="of an image's side (default: %(default)s)")
    parser.add_argument("--focal", type=float, metavar="PIXELS", help="focal length (default: 1.25 sides)")
    parser.add_argument(
        "--rings", type=float, nargs="+", metavar="DEGREES", help="stand in rings at these elevations (default: all around)"
    )
    parser.add_argument("--samples", type=int, default=3, help="rays along a pixel's side (default: %(default)s)")
    parser.add_argument("--plain", action="store_true", help="don't paint a mesh that has no colours")
    parser.add_argument("--frames", type=int, default=1, help="let it move and bend: a folder for each of so many frames")
    parser.add_argument("--truth", type=Path, metavar="MESH", help="write the true surface; of frames MESH_000, MESH_001 ...")
    parser.add_argument("--resolution", type=int, default=336, help="cells along an object's box, for its mesh (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of relief and texture (default: %(default)s)")
    return parser


def subject(options: argparse.Namespace) -> tuple[Mesh, Texture | None]:
    """What is to be photographed, and its texture where colours of vertices don't do."""
    from surfrecon.data_tools.textures import stone
    from surfrecon.io import read_mesh

    if options.object in OBJECTS:
        thing = named_object(options.object, options.seed)
        return thing.mesh(options.resolution), thing.texture
    file = Path(options.object)
    mesh = read_mesh(file) if file.suffix else mesh_of(_shape(options.object), options.resolution)
    painted = mesh.colors is not None or options.plain
    return mesh, None if painted else stone(mesh.bounds(), options.seed)


def _shape(name: str):
    if name not in SHAPES:
        raise InputError(f"there is no object {name!r}; choose one of {', '.join([*OBJECTS, *SHAPES])}, or name a mesh file")
    return named(name)


def cameras_for(options: argparse.Namespace, points: np.ndarray) -> tuple[Views, Views | None]:
    """Cameras to reconstruct from, and those held out: evenly among all."""
    from surfrecon.data_tools.cameras import cameras_around, ring_directions
    from surfrecon.geometry import directions_around

    if options.views < 1 or options.held_out < 0:
        raise InputError(f"expected at least 1 view and none or more held out, got {options.views} and {options.held_out}")
    count = options.views + options.held_out
    directions = directions_around(count) if options.rings is None else ring_directions(count, np.radians(options.rings))
    held = np.zeros(count, bool)
    if options.held_out:
        held[((np.arange(options.held_out) + 0.5) * count / options.held_out).astype(int)] = True
    around = lambda some: cameras_around(points, directions[some], size=(options.size, options.size), focal=options.focal)
    return around(~held), around(held) if held.any() else None


def photograph(options: argparse.Namespace) -> None:
    from surfrecon.data_tools.motion import Motion, times
    from surfrecon.io import write_mesh

    moving = options.frames != 1
    moments = times(options.frames) if moving else np.zeros(1)
    with new_folder(options.output) as folder:  # before the work: it tells at once whether it can be written
        mesh, texture = subject(options)
        motion = Motion.of(mesh)
        meshes = [motion.mesh(mesh, t) for t in moments]
        sets = cameras_for(options, np.concatenate([moved.vertices for moved in meshes]))
        if options.truth is not None:
            truth = _inside(options.truth, options.output, folder)
            for frame, moved in enumerate(meshes):
                write_mesh(moved, truth.with_name(f"{truth.stem}_{frame:03d}{truth.suffix}") if moving else truth)
        for frame, moved in enumerate(meshes):
            place = folder / f"frame_{frame:03d}" if moving else folder
            place.mkdir(exist_ok=True)
            _write_sets(place, moved, sets, texture, mesh.vertices, options)
            if moving:
                print(f"frame {frame}: {len(sets[0])} photographs", file=sys.stderr)
        if moving:
            states = [{"time": t, "world_from_deformed": motion.rigid(t).matrix().tolist()} for t in moments]
            fields = {name: np.asarray(value).tolist() for name, value in asdict(motion).items()}
            (folder / "motion.json").write_text(json.dumps({"motion": fields, "frames": states}, indent=1))
    held = f" and {options.held_out} held out" if options.held_out else ""
    print(f"{options.output}: {len(moments)} x {options.views} photographs{held}, {options.size} x {options.size} pixels")
    if options.truth is not None:
        print(f"{options.truth}: the true surface, {len(mesh.faces)} faces")


def _write_sets(
    place: Path, mesh: Mesh, sets: tuple[Views, Views | None], texture: Texture | None, rest: np.ndarray, options: argparse.Namespace
):
    from surfrecon.data_tools.views import render

    for cameras, folder in zip(sets, (place, place / HELD_OUT)):
        if cameras is not None:
            folder.mkdir(exist_ok=True)
            views = render(mesh, cameras, texture=texture, rest=rest, samples=options.samples).views
            for note in FORMATS[options.format](views, folder):
                print(note, file=sys.stderr)


def _inside(path: Path, folder: Path, part: Path) -> Path:
    """A path that leads into `folder`, which isn't there yet, in the folder that becomes it."""
    whole, target = Path(os.path.abspath(path)), Path(os.path.abspath(folder))
    return part / whole.relative_to(target) if whole.is_relative_to(target) else path


def main(arguments: Sequence[str] | None = None) -> int:
    options = options_parser().parse_args(arguments)
    return guarded(lambda: photograph(options), verbose=False)


if __name__ == "__main__":
    sys.exit(main())
