"""What refining cameras gains, and what structure from motion finds: cameras of five data sets as they are, and disturbed.

Errors are against the cameras that come with the data, without aligning anything: part of them is the frame itself, which no photograph
tells. The walnut's and dino's photographs don't quite fit their own cameras, so that these change when nothing was disturbed.

    python benchmarks/poses.py                         # all, and RESULTS.md
    python benchmarks/poses.py --only spot,fountain    # some, shown only
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from images import SAMPLES, chosen, diagonal, dino, fountain, spot, walnut
from results import DATA, record, table
from scipy.spatial.transform import Rotation

from surfrecon.errors import InputError, MissingDependencyError
from surfrecon.geometry import Similarity
from surfrecon.io import read_views
from surfrecon.metrics import compare
from surfrecon.pose_refinement import refined
from surfrecon.reconstruction import reconstruct
from surfrecon.run import Run
from surfrecon.sfm import structure_from_motion
from surfrecon.views import Views

DEGREES, SHARE = 0.5, 0.005  # mean turn, and mean shift as a share of the distance
ALONG_AN_AXIS = np.sqrt(np.pi / 8)  # standard deviation along an axis of normal vectors in space whose mean length is 1
CASES: dict[str, Callable[[], Views]] = {
    "spot": lambda: read_views(DATA / "mv_synth_spot"),
    "scan24": lambda: read_views(DATA / "mv_dtu_scan24"),
    "walnut": lambda: walnut().views,
    "fountain": lambda: fountain().views,
    "dino": lambda: dino().views,
}
WITHOUT_CAMERAS = {"fountain": "mv_epfl_fountain_p11", "dino": "mv_dino_sparse_ring"}
HEAD = ["case", "views", "cameras", "degrees", "worst", "refined", "worst", "centres %", "refined", "pixels", "refined"]
HEAD += ["kept", "suspects", "s"]
MESHES = ("as given", "disturbed", "refined")


def distances(views: Views) -> np.ndarray:
    return np.linalg.norm(views.centres - views.bounds().mean(axis=0), axis=1)


def disturbed(views: Views, seed: int) -> Views:
    """The views with cameras turned about themselves and moved, each on its own."""
    generator = np.random.default_rng(seed)
    turns = np.radians(DEGREES) * ALONG_AN_AXIS * generator.normal(size=(len(views), 3))
    shifts = SHARE * ALONG_AN_AXIS * distances(views)[:, None] * generator.normal(size=(len(views), 3))
    rotations = Rotation.from_rotvec(turns).as_matrix() @ views.cam_from_world[:, :, :3]
    translations = -rotations @ (views.centres + shifts)[:, :, None]
    return replace(views, cam_from_world=np.concatenate([rotations, translations], axis=2))


def errors(views: Views, truth: Views) -> tuple[np.ndarray, np.ndarray]:
    """(V,) degrees between the cameras' axes, and between their centres, in % of the distance."""
    between = views.cam_from_world[:, :, :3] @ truth.cam_from_world[:, :, :3].transpose(0, 2, 1)
    away = np.linalg.norm(views.centres - truth.centres, axis=1)
    return np.degrees(Rotation.from_matrix(between).magnitude()), 100 * away / distances(truth)


def measured(name: str, truth: Views, views: Views, which: str) -> list[str]:
    """One line of the table."""
    start = time.perf_counter()
    result = refined(views)
    seconds = time.perf_counter() - start
    (turned, moved), (left, away) = errors(views, truth), errors(result.views, truth)
    cells = [name, f"{len(views)}", which, *(f"{value:.3f}" for value in (turned.mean(), turned.max(), left.mean(), left.max()))]
    cells += [f"{moved.mean():.3f}", f"{away.mean():.3f}", f"{result.before:.2f}", f"{result.after:.2f}"]
    return [*cells, "no" if result.refined else "yes", f"{len(result.suspects)}", f"{seconds:.0f}"]


def into(truth: Views, views: Views) -> Similarity:
    """What brings the cameras' centres to the true ones best: no photograph tells the frame and its scale."""
    middle, target = views.centres.mean(axis=0), truth.centres.mean(axis=0)
    here, there = views.centres - middle, truth.centres - target
    turn, scale = Rotation.align_vectors(there, here)[0].as_matrix(), np.linalg.norm(there) / np.linalg.norm(here)
    return Similarity(scale, target - scale * turn @ middle, turn)


def meshes(seed: int) -> list[list[str]]:
    """Of spot's surface how far it is off, in the cameras' best frame, with right cameras, disturbed ones and refined ones."""
    subject, rows = spot(), []
    for which in MESHES:
        views = subject.views if which == "as given" else disturbed(subject.views, seed)
        if which == "refined":
            views = refined(views).views
        mesh = reconstruct(views, "neus2", run=Run(seed=seed)).mesh.transformed(into(subject.views, views))
        off = compare(mesh, subject.truth, samples=SAMPLES).distance * 1000 / diagonal(subject.truth)
        rows.append([which, f"{off:.3f}", f"{off / float(rows[0][1]) if rows else 1:.2f}"])
        print("  ".join(rows[-1]), flush=True)
    return rows


def registered(name: str) -> str:
    """How many photographs structure from motion finds cameras of, or why none."""
    run, start = Run(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            structure_from_motion(DATA / WITHOUT_CAMERAS[name], folder=Path(folder), run=run)
        except (InputError, MissingDependencyError) as reason:
            return f"- {name}: {reason}"
    spent = time.perf_counter() - start
    return f"- {name}: structure from motion registers {run.facts['registered']} of {run.facts['photographs']} photographs, {spent:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="CASES", help=f"some of {','.join(CASES)}; nothing is recorded then")
    parser.add_argument("--seed", type=int, default=0, help="of the disturbance; with another than 0 nothing is recorded")
    options = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"the photographs are not here: {DATA}")
    cases = chosen(options.only, CASES)
    rows, notes = [], []
    for case in cases:
        truth = CASES[case]()
        for which, views in (("disturbed", disturbed(truth, options.seed)), ("as given", truth)):
            rows.append(measured(case, truth, views, which))
            print("  ".join(rows[-1]), flush=True)
    surfaces = meshes(options.seed) if "spot" in cases else []
    for case in cases:
        if case in WITHOUT_CAMERAS:
            notes.append(registered(case))
            print(notes[-1], flush=True)
    text = f"""Cameras turned by {DEGREES} degrees and moved by {SHARE:.1%} of their distance on average, each on its own, and as they come.
Error of directions and centres before and after, against the data's own cameras, nothing aligned; median residual of data that the fit
didn't see.

{table(HEAD, rows)}

Spot's mesh by neus2: distance from the truth both ways in thousandths of its diagonal, in the true cameras' frame (by their centres).

{table(["cameras", "distance", "of the given ones'"], surfaces)}

"""
    text += "\n".join(notes)
    print(text)
    if not (options.only or options.seed):
        record("Pose refinement", text)


if __name__ == "__main__":
    main()
