"""A loss that becomes NaN: the fit goes back and on, or ends with code 1; no mesh of NaN is ever written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from drills.child import Row, names, ran, row, unsound
from drills.hostile import ball
from drills.kill import SETTINGS
from surfrecon.geometry import PointCloud
from surfrecon.io import write_scan

# The pulling loss is asked for once a step; here it is NaN, infinite or huge in some of them.
POISONED = """
from surfrecon import ops

pulling, asked = ops.pulling, []

def poisoned(values, *rest, **more):
    asked.append(True)
    loss = pulling(values, *rest, **more)
    return loss * float({value!r}) if len(asked) in {steps} else loss

ops.pulling = poisoned
"""
RECOVERS, ENDS = "a warning, solid", "code 1, nothing left"
CASES = (
    ("NaN in the first step", "nan", "[1]", RECOVERS),
    ("NaN in step 200", "nan", "[200]", RECOVERS),
    ("infinity in step 200", "inf", "[200]", RECOVERS),
    ("a million times the loss in step 200", "1e6", "[200]", RECOVERS),
    ("NaN in steps 100, 200 and 300", "nan", "[100, 200, 300]", RECOVERS),
    ("NaN in every step from 200 on", "nan", "range(200, 10**6)", ENDS),
)


def rows(folder: Path, quick: bool) -> Iterator[Row]:
    scan, settings = folder / "scan.ply", folder / "settings.toml"
    write_scan(PointCloud(ball(1000)), scan)
    settings.write_text(SETTINGS)
    for number, (case, value, steps, wanted) in enumerate(CASES[1::4] if quick else CASES):
        out = folder / str(number)
        out.mkdir()
        words = (scan, "-o", out / "mesh.ply", "--settings", settings, "--device", "cpu", "--threads", "1")
        ended = ran(*words, prelude=POISONED.format(value=value, steps=steps))
        if wanted == RECOVERS:
            wrong = ended.unlike(0) or unsound(out / "mesh.ply") or ("" if "the fit ran away" in ended.err else "no warning")
        else:
            wrong = ended.unlike(1, "the fit has diverged") or ("" if not names(out) else f"left behind: {names(out)}")
        yield row(case, wanted, wrong, ended, wanted)
