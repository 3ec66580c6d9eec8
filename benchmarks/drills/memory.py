"""Little memory: the run ends well, or with code 3 and what to do about it; it is never killed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from drills.child import Row, names, ran, row, unsound
from drills.hostile import ball
from surfrecon.geometry import PointCloud
from surfrecon.io import write_scan

MANY, FEW = 5_000_000, 200_000  # points
CASES = ((MANY, 4.0), (FEW, 2.2), (FEW, 1.8), (FEW, 1.2), (FEW, 0.8))  # points, GB of addresses
ADVICE = re.compile(r"--resolution|--preset fast|thin the scan|more memory|raise the limit|doesn't fit|does not fit")


def rows(folder: Path, quick: bool) -> Iterator[Row]:
    import resource

    for count in (FEW,) if quick else (MANY, FEW):
        write_scan(PointCloud(ball(count)), folder / f"{count}.ply")
    out = folder / "out"
    out.mkdir()
    for count, limit in CASES[3:] if quick else CASES:
        ended = ran(folder / f"{count}.ply", "-o", out / "mesh.ply", "--overwrite", limits={resource.RLIMIT_AS: int(limit * 1e9)})
        if ended.code == 0:
            wrong = unsound(out / "mesh.ply")
        else:
            wrong = ended.unlike(3) or ("" if ADVICE.search(ended.last) else f"no advice: {ended.last}")
        found = "solid" if ended.code == 0 else f"code 3: {ended.last.removeprefix('surfrecon: ')}"
        yield row(f"{count:,} points, {limit:g} GB of addresses", "solid, or code 3 and advice", wrong, ended, found)
        left = [name for name in names(out) if not name.startswith("mesh.run/checkpoints/")]  # for a run with more memory to resume from
        if ended.code and left:
            yield Row("... what it left", "nothing but checkpoints", ", ".join(left), False)
        shutil.rmtree(out)
        out.mkdir()
