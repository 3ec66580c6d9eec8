"""SIGKILL at random moments of a run, each followed by --resume: the mesh is that of a run that nothing disturbed, to the byte."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from drills.child import WHOLE, Row, Started, names, ran, row
from drills.hostile import ball
from surfrecon.geometry import PointCloud
from surfrecon.io import write_scan

KILLS, QUICK = 20, 1
SETTINGS = 'preset = "paper"\nresolution = 40\n[gridpull]\nfinest = 32\nsteps = 400\nqueries = 2000\n'
# Checkpoints as often as there is a new state: with the usual 30 s between two this would take half an hour.
EAGER = "from surfrecon import checkpoints\ncheckpoints.INTERVAL = 0.0\n"


def rows(folder: Path, quick: bool) -> Iterator[Row]:
    out, words = slow_run(folder)
    first = Started(*words, prelude=EAGER)
    first.wait_for(out / "mesh.run" / "lock")
    start = first.seconds()
    whole = first.ended()
    if whole.code:
        raise SystemExit(whole.err)
    mesh = (out / "mesh.ply").read_bytes()
    yield Row("undisturbed", "solid", f"{len(mesh):,} bytes", names(out) == WHOLE, whole.seconds, whole.peak)
    random = np.random.default_rng(0)
    for _ in range(QUICK if quick else KILLS):
        shutil.rmtree(out)
        out.mkdir()
        run = Started(*words, prelude=EAGER)
        run.wait_for(out / "mesh.run" / "lock")
        time.sleep(float(random.uniform(0, whole.seconds - start)))
        moment = run.seconds()
        run.signal(signal.SIGKILL)
        killed = run.ended()
        states = sum(name.endswith(".json") and "checkpoints" in name for name in names(out))
        over = killed.code == 0 or not (out / "mesh.run" / "lock").exists()  # the result is whole, nothing is left to resume
        ended = ran(*words, "--overwrite" if over else "--resume", prelude=EAGER)
        wrong = f"code {ended.code}: {ended.last}" if ended.code else ""
        if not wrong and (out / "mesh.ply").read_bytes() != mesh:
            wrong = "another mesh"
        if not wrong and names(out) != WHOLE:
            wrong = f"left behind: {names(out)}"
        where = "it had ended" if over else f"{states} checkpoints left"
        case = f"killed after {moment:.1f} s, {where}"
        yield row(case, "the same bytes", wrong, ended, "the same bytes")


def slow_run(folder: Path) -> tuple[Path, tuple[object, ...]]:
    """An empty folder and the words of a run into it that can be interrupted: its scan.ply and settings.toml are written beside."""
    scan, settings, out = folder / "scan.ply", folder / "settings.toml", folder / "out"
    write_scan(PointCloud(ball(1000)), scan)
    settings.write_text(SETTINGS)
    out.mkdir()
    return out, (scan, "-o", out / "mesh.ply", "--settings", settings, "--device", "cpu", "--threads", "1")
