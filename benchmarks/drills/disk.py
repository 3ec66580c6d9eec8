"""A disk that is full after so many bytes: code 3, what was there stays as it was, and nothing temporary is left."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import trimesh

from drills.child import SMALL, Ended, Row, contents, names, ran, row, unsound
from drills.hostile import ball
from surfrecon.errors import ResourceError
from surfrecon.geometry import Mesh, PointCloud, TexturedMesh
from surfrecon.io import MESH_WRITERS, SCAN_WRITERS, TEXTURED_WRITERS, write_mesh, write_scan, write_textured

SHARES = (0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)  # of the largest file of a result, and all but a byte
PAGE = 4096  # bytes: what a memory disk grows by
OFFSET = (8e5, 5.8e6, 0.0)  # with which STL takes a second file


def item() -> Mesh:
    body = trimesh.creation.icosphere(subdivisions=3)
    scalars = {"confidence": np.ones(len(body.vertices), np.float32)}
    return Mesh(body.vertices + OFFSET, body.faces, colors=(body.vertices + 1) / 2, scalars=scalars, crs="EPSG:25832")


def picture(mesh: Mesh) -> TexturedMesh:
    uv = np.random.default_rng(0).random((len(mesh.faces), 3, 2))
    return TexturedMesh(mesh, uv, np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))


def writers() -> dict[str, Callable[[Path], object]]:
    """Every writer, with what it writes, by suffix and kind."""
    mesh, cloud = item(), PointCloud(ball(1000), ball(1000))
    shown = picture(mesh)
    found = {f"mesh{suffix}": lambda path: write_mesh(mesh, path) for suffix in MESH_WRITERS}
    found |= {f"scan{suffix}": lambda path: write_scan(cloud, path) for suffix in SCAN_WRITERS}
    return found | {f"textured{suffix}": lambda path: write_textured(shown, path) for suffix in TEXTURED_WRITERS}


def rows(folder: Path, quick: bool) -> Iterator[Row]:
    for number, (name, write) in enumerate(writers().items()):
        if quick and number % 3:
            continue
        for kind, limit in (("a limit on files", file_size_limit), ("a full disk", small_disk)):
            yield written(f"{name}, {kind}", name, write, folder / f"{number} {kind}", limit)
    yield from commands(folder, quick)


def written(case: str, name: str, write: Callable[[Path], object], folder: Path, limit) -> Row:
    """A writer, ten times with less room than it needs, over a file that is there already."""
    folder.mkdir()
    write(folder / name)
    largest = max(path.stat().st_size for path in folder.iterdir())
    total = sum(-(-path.stat().st_size // PAGE) * PAGE for path in folder.iterdir())
    shutil.rmtree(folder)
    folder.mkdir()
    sizes = [int(share * largest) for share in SHARES] + [largest - 1]
    wrong = []
    for size in sizes:
        try:
            with limit(folder, size, total, name) as old:
                try:
                    write(folder / name)
                    wrong.append(f"{size}: written all the same")
                except ResourceError as error:
                    if not str(error).startswith(str(folder / name.partition(".")[0])):
                        wrong.append(f"{size}: {error}")
                except Exception as error:
                    wrong.append(f"{size}: {type(error).__name__}: {error}")
                if contents(folder) != old:
                    wrong.append(f"{size}: the folder holds {sorted(contents(folder))}")
        except PermissionError as error:
            return Row(case, "code 3, the old file", f"left out: {error.strerror}", True)
    found = f"{len(sizes)} of {len(sizes)} as wanted" if not wrong else "; ".join(wrong)[:400]
    return Row(case, "code 3, the old file", found, not wrong)


@contextmanager
def file_size_limit(folder: Path, size: int, total: int, name: str) -> Iterator[dict[str, bytes]]:
    """No file grows beyond a size; what was there before."""
    import resource

    (folder / name).write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield {name: b"old"}
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def small_disk(folder: Path, size: int, total: int, name: str) -> Iterator[dict[str, bytes]]:
    """A folder with so much room and less than all that is to be written; what was there before.

    Raises:
        PermissionError: this user may not mount any.
    """
    with mounted(folder, total + 2 * PAGE):
        (folder / name).write_bytes(b"old")
        room = min(size, total - PAGE) // PAGE * PAGE
        filler = bytes(total + PAGE - room)
        (folder / "filler").write_bytes(filler)
        yield {name: b"old", "filler": filler}


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[None]:
    """A disk in memory of so many bytes in the place of a folder.

    Raises:
        PermissionError: this user may not mount any.
    """
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False) if shutil.which("mount") else None
    if done is None or done.returncode:
        raise PermissionError(1, "this user may not mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def commands(folder: Path, quick: bool) -> Iterator[Row]:
    """The whole command, over a result that is there already."""
    import resource

    scan, out = folder / "scan.ply", folder / "out"
    write_scan(PointCloud(ball()), scan)
    for suffix in list(MESH_WRITERS)[: 1 if quick else None]:
        out.mkdir()
        words = (scan, "-o", out / f"mesh{suffix}", *SMALL)
        if ran(*words).code:
            raise SystemExit(f"no mesh{suffix} to begin with")
        old, largest = contents(out), (out / f"mesh{suffix}").stat().st_size
        for size in (500, largest // 2, largest - 1)[2 if quick or suffix != ".ply" else 0 :]:
            ended = ran(*words, "--overwrite", limits={resource.RLIMIT_FSIZE: size})
            yield full(f"the command, mesh{suffix}, files limited to {size:,} bytes", ended, out, old)
        with suppress(PermissionError), mounted(out, sum(map(len, old.values())) + 16 * PAGE):
            for name, data in old.items():
                (out / name).parent.mkdir(exist_ok=True)
                (out / name).write_bytes(data)
            ended = ran(*words, "--overwrite")
            yield full(f"the command, mesh{suffix}, a disk with room for one result", ended, out, old)
        shutil.rmtree(out)
    out.mkdir()
    ended = ran(scan, "-o", out / "mesh.ply", *SMALL, limits={resource.RLIMIT_FSIZE: 0})
    wrong = f"code {ended.code}" if ended.code != 3 else f"left behind: {names(out)}" if names(out) else ""
    yield row("the command, no room for its messages either", "code 3", wrong, ended, "code 3")
    if os.path.exists("/dev/full") and not quick:
        ended = ran(scan, "-o", out / "mesh.ply", *SMALL, stdout=Path("/dev/full"))
        wrong = ended.unlike(3, "the disk is full") or unsound(out / "mesh.ply")
        yield row("the command, its output to a full disk", "code 3", wrong, ended, "code 3, the mesh is there")
    shutil.rmtree(out)
    out.mkdir()
    settings = folder / "settings.toml"
    settings.write_text('preset = "paper"\nresolution = 16\n[gridpull]\nfinest = 48\nsteps = 60\nqueries = 2000\n')
    eager = "from surfrecon import checkpoints\ncheckpoints.INTERVAL = 0.0\n"
    ended = ran(scan, "-o", out / "mesh.ply", "--settings", settings, prelude=eager, limits={resource.RLIMIT_FSIZE: 200_000})
    wrong = ended.unlike(0) or unsound(out / "mesh.ply")
    wrong = wrong or ("" if "no checkpoint could be left, the run goes on without" in ended.err else "no warning")
    yield row("the command, no room for checkpoints", "a warning, solid", wrong, ended, "a warning, solid")


def full(case: str, ended: Ended, out: Path, old: dict[str, bytes]) -> Row:
    wrong = ended.unlike(3, "the disk is full", str(out)) or ("" if contents(out) == old else f"the folder holds {sorted(contents(out))}")
    return row(case, "code 3, the old files", wrong, ended, "as wanted")
