"""Where a run writes: two at once, closed folders, and names that programs stumble over."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from drills.child import SMALL, WHOLE, Row, Started, names, ran, row, unsound
from drills.hostile import BALL
from surfrecon.geometry import PointCloud
from surfrecon.io import write_scan

SLOW_SETTINGS = 'preset = "paper"\nresolution = 32\n[gridpull]\nfinest = 32\nsteps = 1000000\n'
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
NAMES = {  # what a path holds: the path
    "spaces, line breaks and other scripts": "a Größe\n/面 with  spaces/mésh\n.ply",
    "a leading dash, and what shells and printf expand": "-o$HOME/%s{0}*?[a]~/--help%d.ply",
    "quotes, backslashes and bytes that are no UTF-8": os.fsdecode(b"it's \"here\"\\/m\xff\xfe/m\xe9.ply"),
    "240 letters": "x" * 200 + "/" + "y" * 236 + ".ply",
    "no folder": "mesh.ply",
    "a way up and down again": "a/../b/./mesh.ply",
}


def rows(folder: Path, quick: bool) -> Iterator[Row]:
    scan = folder / "scan.ply"
    write_scan(PointCloud(BALL), scan)
    yield from at_once(folder, scan, quick)
    yield from closed(folder, scan)
    for what, path in list(NAMES.items())[: 1 if quick else None]:
        yield named(what, path, folder, scan)
    yield too_long(folder, scan)
    yield linked(folder, scan)


def at_once(folder: Path, scan: Path, quick: bool) -> Iterator[Row]:
    """A run that is under way, another one into its place, then the same after a kill."""
    out, settings = folder / "at once", folder / "slow.toml"
    out.mkdir()
    settings.write_text(SLOW_SETTINGS)
    first = Started(scan, "-o", out / "mesh.ply", "--settings", settings, "--device", "cpu")
    try:
        first.wait_for(out / "mesh.run" / "lock")
        time.sleep(0.5)
        for option in ("", "--overwrite", "--resume"):
            second = ran(scan, "-o", out / "mesh.ply", *SMALL, *filter(None, [option]))
            wrong = second.unlike(2, "another run is writing", "mesh.ply", str(first.process.pid))
            case = f"two runs into one place{f', the second with {option}' if option else ''}"
            yield row(case, "the second refused", wrong, second, "refused")
        if not quick:
            other = ran(scan, "-o", out / "other.ply", *SMALL)
            wrong = other.unlike(0) or unsound(out / "other.ply")
            yield row("two runs into one folder, of two meshes", "both go on", wrong, other, "both went on")
    finally:
        first.signal(signal.SIGKILL)
        first.ended()
    after = ran(scan, "-o", out / "mesh.ply", *SMALL, "--overwrite")
    left = [name for name in names(out) if not name.startswith("other")]
    wrong = after.unlike(0) or unsound(out / "mesh.ply")
    if not wrong and left != WHOLE:
        wrong = f"left behind: {left}"
    yield row("a run after another one was killed there", "solid", wrong, after, "solid")


def closed(folder: Path, scan: Path) -> Iterator[Row]:
    """Folders that can't be written to: for another user, and for everyone."""
    out = folder / "closed"
    out.mkdir()
    attempts: dict[str, tuple[tuple[str, ...], Callable[[], object]]] = {}
    if hasattr(os, "geteuid") and os.geteuid():
        attempts["a folder that may not be written to"] = ((), lambda: out.chmod(0o555))
    elif shutil.which("setpriv"):
        attempts["a folder that may not be written to"] = (NOBODY, lambda: out.chmod(0o755))
    if shutil.which("chattr") and not subprocess.run(["chattr", "+i", out], capture_output=True, check=False).returncode:
        subprocess.run(["chattr", "-i", out], check=True)
        attempts["a folder that nobody, not even root, may change"] = ((), lambda: subprocess.run(["chattr", "+i", out], check=True))
    if not attempts:
        yield Row("a folder that may not be written to", "refused", "left out: this user may write everywhere", True)
    folder.chmod(0o755)
    for case, (before, close) in attempts.items():
        close()
        try:
            ended = ran(scan, "-o", out / "mesh.ply", *SMALL, before=before)
            wrong = ended.unlike(2, str(out))
            if not wrong and names(out):
                wrong = f"left behind: {names(out)}"
        finally:
            if shutil.which("chattr"):
                subprocess.run(["chattr", "-i", out], capture_output=True, check=False)
            out.chmod(0o755)
        yield row(case, "refused", wrong, ended, "refused")


def named(what: str, path: str, folder: Path, scan: Path) -> Row:
    """A run from and to a path, from within the folder where it begins."""
    root = folder / "named"
    target = root / path
    (root / os.path.normpath(os.path.dirname(path))).mkdir(parents=True, exist_ok=True)
    if "/../" in path:
        (root / path.partition("/")[0]).mkdir()
    given = path if not path.startswith("-") else f"./{path}"
    copy = os.path.join(os.path.dirname(given), f"scan{'y' * 232 if len(path) > 200 else os.path.basename(path)[:-4]}.ply")
    shutil.copy(scan, root / copy)
    ended = ran(copy, "-o", given, *SMALL, cwd=root)
    made = names(target.parent)
    wanted = {os.path.basename(copy), target.name, *(f"{target.stem}.run/{Path(name).name}" for name in WHOLE[1:])}
    wrong = f"code {ended.code}: {ended.last}" if ended.code else unsound(target)
    if not wrong and set(made) != wanted:
        wrong = f"the folder holds {made}"
    shutil.rmtree(root)
    return row(f"a path with {what}", "solid", wrong, ended, "solid")


def too_long(folder: Path, scan: Path) -> Row:
    out = folder / "long"
    out.mkdir()
    ended = ran(scan, "-o", out / ("z" * 251 + ".ply"), *SMALL)
    wrong = ended.unlike(2, "name") or (f"left behind: {names(out)}" if names(out) else "")
    return row("a name that leaves no room for .open.ply and .run", "refused", wrong, ended, "refused")


def linked(folder: Path, scan: Path) -> Row:
    """The scan, and the folder of the result, through links."""
    (folder / "real").mkdir()
    (folder / "link").symlink_to(folder / "real")
    (folder / "link.ply").symlink_to(scan)
    ended = ran(folder / "link.ply", "-o", folder / "link" / "mesh.ply", *SMALL)
    wrong = ended.unlike(0) or unsound(folder / "real" / "mesh.ply")
    return row("scan and folder through links", "solid", wrong, ended, "solid")
