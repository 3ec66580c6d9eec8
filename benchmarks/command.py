"""What the whole command costs on two cores: seconds and peak memory, balanced preset, scans of about 100,000 points.

    python benchmarks/command.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import DATA, record, table

SIMULATED = {  # data_tools' own shapes, 100,000 points each; clean points get the finest grid and cost most
    "bracket, simulated": ("bracket",),
    "torus, simulated": ("torus",),
    "bracket, simulated, clean with normals": ("bracket", "--noise", 0, "--outliers", 0, "--normals", "--no-origins"),
}
SCANS = {"gargoyle": "srb_scans/gargoyle.ply", "anchor": "srb_scans/anchor.ply"}


def command(*words: object) -> str:
    return timed("-m", *words)[0]


def timed(*words: object) -> tuple[str, float, float]:
    """What a Python command prints, its seconds by the clock, and by all processors together: the latter say more on a busy machine."""
    before, start = os.times(), time.perf_counter()
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, check=False)
    after, seconds = os.times(), time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}\n{done.stderr}")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return done.stdout, seconds, used


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        scans = {name: DATA / file for name, file in SCANS.items() if (DATA / file).exists()}
        for name, options in SIMULATED.items():
            scans[name] = Path(folder) / f"{len(scans)}.ply"
            command("surfrecon.data_tools.simulate", *options, "-o", scans[name], "--points", 100_000)
        for name, scan in scans.items():
            start = time.perf_counter()
            report = json.loads(command("surfrecon.apps.cli", "scan", scan, "-o", Path(folder) / "mesh.ply", "--json", "--overwrite"))
            seconds = time.perf_counter() - start
            shape = report["topology"]
            rows.append([
                name,
                f"{report['input']['points']:,}",
                f"{report['result']['resolution']}",
                f"{shape['faces']:,}",
                "yes" if shape["solid"] else "NO",
                f"{shape['components']}",
                f"{seconds:.0f}",
                f"{report['peak_memory_bytes'] / 2**30:.2f}",
            ])
            print("  ".join(rows[-1]), {stage: round(spent, 1) for stage, spent in report["timings"].items()}, flush=True)
    head = ["scan", "points", "cells a side", "faces", "solid", "pieces", "s", "GiB"]
    record("The whole command, 100,000 points", table(head, rows))


if __name__ == "__main__":
    main()
