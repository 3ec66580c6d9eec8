"""Photographs with the cameras that the options ask for: those in the folder or found by structure from motion, as they are or refined."""

from __future__ import annotations

import argparse
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from surfrecon.errors import InputError

if TYPE_CHECKING:
    from surfrecon.run import Run
    from surfrecon.views import Views

PART = "cameras"  # of the work, whose result an interrupted run leaves


def add_options(what: argparse._ArgumentGroup) -> None:
    what.add_argument("--sfm", action="store_true", help="find the cameras by structure from motion (pycolmap); those in IN are ignored")
    what.add_argument("--refine-poses", action="store_true", help="correct cameras that are slightly off by what the photographs show")


def check(options: argparse.Namespace) -> None:
    """Raise InputError for options that contradict each other."""
    if options.sfm and isinstance(options.hold_out, Path):
        raise InputError(
            f"--hold-out {options.hold_out}: its cameras are in another frame than those that --sfm finds; hold out every Nth instead"
        )


def photographs(options: argparse.Namespace, run: Run, check: bool = True) -> Views:
    """All the photographs of the folder, those to be held out as well: cameras are found and refined together.

    Args:
        check: whether cameras that are given are held against the photographs.
    """
    from surfrecon.io import read_views

    if options.sfm:
        from surfrecon.sfm import structure_from_motion

        with _folder(options, run) as folder:
            known = {"masks": options.masks, "longest_side": options.longest_side}
            views = structure_from_motion(options.folder, folder=Path(folder), run=run, **known)
    else:
        views = read_views(options.folder, masks=options.masks, longest_side=options.longest_side, check=check)
    return _settled(views, options, run) if options.sfm or options.refine_poses else views


def _folder(options: argparse.Namespace, run: Run) -> AbstractContextManager[Path | str]:
    """Where the model of structure from motion goes: with the run, or nowhere for long."""
    if options.dry_run or run.folder is None:
        return tempfile.TemporaryDirectory(prefix="surfrecon.")
    return nullcontext(run.folder)


def _settled(views: Views, options: argparse.Namespace, run: Run) -> Views:
    """The views with their cameras for good: of the run that this one resumes, else refined where that is asked for, and left for one."""
    from dataclasses import replace

    import torch

    from surfrecon.checkpoints import Checkpoints
    from surfrecon.pose_refinement import Doubt
    from surfrecon.reconstruction import fingerprint

    run.fingerprint = fingerprint(views, PART, Doubt(), run.seed)  # reconstruct() sets its own
    checkpoints = Checkpoints(run, PART)
    found = checkpoints.newest()
    if found is not None:
        tensors, facts = found
        run.facts |= facts
        return replace(views, cam_from_world=tensors["cam_from_world"].numpy())
    facts = {}
    if options.refine_poses:
        views, facts = _refined(views, run)
    if not options.dry_run:
        checkpoints.keep({"cam_from_world": torch.from_numpy(views.cam_from_world.copy())}, facts)
        checkpoints.write()
    return views


def _refined(views: Views, run: Run) -> tuple[Views, dict]:
    from surfrecon.pose_refinement import refined

    result = refined(views, run=run)
    if result.suspects:
        run.warn(f"the cameras of these photographs fit the others badly: {', '.join(result.suspects)}")
    facts = {"poses": result.summary()}
    run.facts |= facts
    return result.views, facts
