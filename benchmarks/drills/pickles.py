"""Files that would run code if anything unpickled or evaluated them: they are refused, and nothing runs."""

from __future__ import annotations

import json
import os
import pickle  # to make what must never be loaded
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from drills.child import SMALL, Row, ran, row
from drills.hostile import BALL
from surfrecon.geometry import PointCloud
from surfrecon.io import write_scan

ROOT = Path(__file__).parent.parent.parent
FORBIDDEN = re.compile(r"import pickle|allow_pickle\s*=\s*True|weights_only\s*=\s*False|yaml\.(unsafe_)?load\b|(?<![\w.])(eval|exec)\(")


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def rows(folder: Path, quick: bool) -> Iterator[Row]:
    mark, good, out = folder / "mark", folder / "good.ply", folder / "out"
    write_scan(PointCloud(BALL), good)
    trap = pickle.dumps(Trap(mark))
    code = f"__import__('os').mkdir({str(mark)!r})"
    objects = np.array([[Trap(mark)] * 3] * 9, dtype=object)
    np.save(folder / "scan.npy", objects, allow_pickle=True)
    np.savez(folder / "scan.npz", points=objects)
    for name in ("scan.ply", "scan.las", "scan.xyz", "settings.toml", "weights.safetensors", "weights.pt"):
        (folder / name).write_bytes(trap)
    (folder / "code.toml").write_text(f"seed = {code}\n")
    (folder / "code.xyz").write_text(f"{code} 1 2\n" * 9)
    for name in ("weights.safetensors", "weights.pt"):
        (folder / f"{name}.toml").write_text(f'method = "convonet"\n[convonet]\nweights = {json.dumps(str(folder / name))}\n')
    cases = {f"a pickle as {name}": (folder / name, ()) for name in ("scan.npy", "scan.npz", "scan.ply", "scan.las", "scan.xyz")}
    cases["Python as coordinates"] = (folder / "code.xyz", ())
    cases["a pickle as settings"] = (good, ("--settings", folder / "settings.toml"))
    cases["Python as a setting"] = (good, ("--settings", folder / "code.toml"))
    for name in ("weights.safetensors", "weights.pt"):
        cases[f"a pickle as {name}"] = (good, ("--settings", folder / f"{name}.toml"))
    cases["a pickle as checkpoint"] = (good, ("--resume",))
    pickle.loads(trap)
    if not mark.exists():
        raise SystemExit("the trap doesn't work")
    mark.rmdir()
    for case, (scan, options) in list(cases.items())[:: 4 if quick else 1]:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        if "--resume" in options:
            (out / "mesh.run" / "checkpoints").mkdir(parents=True)
            for name in ("1.json", "1.safetensors", "2.json", "2.safetensors", "2.pt"):
                (out / "mesh.run" / "checkpoints" / name).write_bytes(trap)
        small = SMALL if not options or "--resume" in options else SMALL[2:]
        ended = ran(scan, "-o", out / "mesh.ply", *small, *options)
        wrong = "it ran" if mark.exists() else ended.unlike(2)
        yield row(case, "refused, nothing runs", wrong, ended, "refused")
    yield from sources()


def sources() -> Iterator[Row]:
    """What the product's own source says."""
    files = [path for part in ("surfrecon", "apps", "data_tools") for path in (ROOT / part).rglob("*.py")]
    found = [f"{path.relative_to(ROOT)}: {match[0]}" for path in files if (match := FORBIDDEN.search(path.read_text(encoding="utf-8")))]
    wanted = "no pickle, eval, exec, yaml.load"
    yield Row(f"{len(files)} files of source", wanted, ", ".join(found) or "none", not found)
