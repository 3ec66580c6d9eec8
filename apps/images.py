"""surfrecon images, reconstruct-from-images: from photographs to a closed mesh file in the cameras' own frame."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surfrecon.apps import cameras, job
from surfrecon.apps.options import whole
from surfrecon.errors import InputError

if TYPE_CHECKING:
    from surfrecon.reconstruction import Reconstruction
    from surfrecon.run import Run, Step
    from surfrecon.views import Views

EXAMPLES = """
PROG photos -o mesh.glb
PROG photos -o mesh.ply --masks photos/masks --longest-side 1200
PROG photos -o mesh.ply --hold-out 8 --refine-poses
PROG photos -o mesh.ply --sfm
PROG frames -o mesh.glb
PROG photos -o mesh.ply --dry-run
PROG photos -o mesh.ply --resume
"""
METHODS = ("neus2", "gridpull", "hashsdf")
SHOWN = 4  # views of which the run's folder gets a picture


def add_options(parser: argparse.ArgumentParser) -> None:
    where = "folder of photographs with their cameras, or its camera file; or a folder of such folders, frame_000, frame_001 ..."
    parser.add_argument("folder", type=Path, metavar="IN", help=where)
    what = job.add_options(parser, METHODS)
    what.add_argument("--masks", type=Path, metavar="DIR", help="masks, bright on the object (default: those in IN, else alpha)")
    what.add_argument("--longest-side", type=whole(32), metavar="N", help="scale larger photographs down to N pixels")
    cameras.add_options(what)
    what.add_argument("--hold-out", type=every_or_folder, metavar="N|DIR", help="measure how well every Nth is foreseen, or those in DIR")
    what.add_argument("--texture", action=argparse.BooleanOptionalAction, default=None, help="a texture, in .glb and .obj (default: yes)")


def run(options: argparse.Namespace) -> None:
    from surfrecon.io.views import frame_folders

    frames = frame_folders(options.folder)
    if frames:
        with job.watched(options) as watch:
            sequence(frames, options, watch)
    else:
        job.work(one(options), options)


def one(options: argparse.Namespace, check: bool = True) -> job.Job:
    """The job for one folder of photographs; whether their cameras are to be checked against them."""
    from surfrecon.io import TEXTURED_WRITERS

    held: list[Views] = []  # what read() keeps for more()
    wanted = options.output.suffix.lower() in TEXTURED_WRITERS if options.texture is None else options.texture
    _check_texture(options, wanted)
    cameras.check(options)

    def read(run: Run) -> Views:
        from surfrecon.io import read_views

        views = cameras.photographs(options, run, check)
        if isinstance(options.hold_out, Path):
            held.append(read_views(options.hold_out, longest_side=options.longest_side))
        elif options.hold_out:
            views, rest = split(views, options.hold_out)
            held.append(rest)
        return views

    def write(result: Reconstruction, file: Path, run: Run) -> None:
        from surfrecon.io import write_mesh, write_textured
        from surfrecon.texture import textured

        if wanted:
            write_textured(textured(result.mesh, result.scan, run=run), file)
        else:
            write_mesh(result.mesh, file)

    def more(result: Reconstruction, run: Run, folder: Path) -> dict[str, Any]:
        with run.stage("compare"):
            return quality(result, held[0] if held else None, folder)

    return job.Job([options.folder], METHODS[0], read, view_facts, write, more)


def sequence(frames: Sequence[Path], options: argparse.Namespace, watch: Callable[[Step], None] | None) -> None:
    """A mesh for each frame, OUT_000, OUT_001 ...; each but the first from what the frame before came to.

    Resumed, it leaves finished frames alone and goes on by itself from the first that isn't.

    Args:
        watch: as a Job has it, of all frames.
    """
    if options.masks or isinstance(options.hold_out, Path):
        raise InputError("the frames of a sequence have their masks in their own folders, and what is held out is every Nth of each frame")
    if options.sfm:
        raise InputError("--sfm gives each frame of a sequence a frame of its own: find the cameras of the first one and name them for all")
    before = None
    for number, folder in enumerate(frames):
        own = copy(options)
        own.folder, own.output = folder, options.output.with_stem(f"{options.output.stem}_{number:03d}")
        output = job.Output(own.output)
        begun = output.unfinished()
        own.resume = options.resume and begun and (before is not None or not number)
        own.overwrite = options.overwrite or (options.resume and begun)  # what it followed is gone
        if options.resume and not begun and output.report.exists():
            print(f"{folder}: {output.mesh} is finished", file=sys.stderr)
            continue
        print(f"{folder}: frame {number + 1} of {len(frames)}", file=sys.stderr)
        report, before = job.done(replace(one(own, check=before is None), watch=watch), own, before)
        job.tell(report, own)
        if options.dry_run:
            return


def every_or_folder(text: str) -> int | Path:
    """An argparse type: a whole number >= 2, or else a folder."""
    return whole(2)(text) if text.lstrip("-").isdecimal() else Path(text)


def view_facts(views: Views) -> dict[str, Any]:
    """What photographs hold, for the report of a run."""
    low, high = views.bounds()
    return {
        "kind": "photographs",
        "views": len(views),
        "largest": views.sizes.max(axis=0).tolist(),
        "masks": views.masks is not None,
        "depths": views.depths is not None,
        "points": None if views.points is None else len(views.points),
        "low": low.tolist(),
        "high": high.tolist(),
    }


def split(views: Views, every: int) -> tuple[Views, Views]:
    """The views to reconstruct from, and those held out: every Nth, the first one among them.

    Raises:
        InputError: none would be left.
    """
    import numpy as np

    out = np.arange(len(views)) % every == 0
    if len(views) - out.sum() < 2:
        raise InputError(f"--hold-out {every} leaves less than 2 of {len(views)} photographs to reconstruct from; name a larger number")
    return views[~out], views[out]


def quality(result: Reconstruction, held_out: Views | None, folder: Path) -> dict[str, Any]:
    """How well the mesh and its field agree with photographs; pictures beside them go to the folder."""
    import numpy as np

    from surfrecon.fields.radiance import RadianceField
    from surfrecon.view_quality import assess, comparison

    shown = held_out if held_out is not None else result.scan[np.linspace(0, len(result.scan) - 1, SHOWN).round().astype(int)]
    pictures = None
    if isinstance(result.field, RadianceField):
        unit, lattice = shown.transformed(result.unit_from_world), result.field.lattice()
        pictures = [result.field.photograph(unit, view, lattice) for view in range(len(unit))]
        comparison(shown, pictures, folder / "photographs.png")
    return {"views": assess(result.mesh, result.scan, held_out=held_out, renderings=pictures if held_out is not None else None)}


def _check_texture(options: argparse.Namespace, wanted: bool) -> None:
    """Raise InputError where a texture can't be written, or would replace files that exist."""
    from surfrecon.io import TEXTURED_WRITERS

    suffix = options.output.suffix.lower()
    if wanted and suffix not in TEXTURED_WRITERS:
        known = ", ".join(TEXTURED_WRITERS)
        raise InputError(f"{options.output}: {suffix or 'a file without suffix'} holds no texture; choose one of {known}")
    if wanted and suffix == ".obj" and not (options.overwrite or options.resume):
        for beside in (options.output.with_suffix(".mtl"), options.output.with_suffix(".png")):
            if beside.exists():
                raise InputError(f"{beside} exists; add --overwrite to replace it, or name another file with -o")
