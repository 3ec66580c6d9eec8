"""Files in and out: what may be written is settled before the work begins, and all of it appears at once or not at all."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from surfrecon.errors import InputError

if TYPE_CHECKING:
    from surfrecon.geometry import Mesh, PointCloud

log = logging.getLogger("surfrecon")


def load(path: Path) -> Mesh | PointCloud:
    """What a file holds: a mesh where it has faces, else a scan.

    Raises:
        InputError: it can't be read as either.
    """
    from surfrecon import io

    if path.suffix.lower() in io.MESH_READERS:
        try:
            return io.read_mesh(path)
        except InputError:  # no faces; or damaged, which the other reader will say, too
            pass
    return io.read_scan(path)


def check_output(path: Path, *, suffixes: Iterable[str], taken: Iterable[Path], overwrite: bool) -> None:
    """Refuse an output that can't be written, or that exists already.

    Args:
        path: the file that the user named.
        suffixes: what may be written (".ply" ...).
        taken: files that must not exist yet, `path` among them.
        overwrite: let them exist.
    Raises:
        InputError: unknown suffix, no such folder, no right to write there, something in the way.
    """
    suffixes = sorted(suffixes)
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: can't write {path.suffix or 'a file without suffix'}; choose one of {', '.join(suffixes)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} doesn't exist; create it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path}: no permission to write into the folder {path.parent}")
    for file in taken:
        if file.is_dir():
            raise InputError(f"{file} is a folder; name another file with -o")
        if file.exists() and not overwrite:
            raise InputError(f"{file} exists; add --overwrite to replace it, or name another file with -o")


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A hidden folder beside the target, whose files move to `folder` when the block ends well; nothing is left of it when it doesn't.

    Files in subfolders move first, then the others by name, so that who sees the last of them may rely on the rest. What the log says of a
    staged file names its final place.
    """
    stage = Path(tempfile.mkdtemp(prefix=".surfrecon.", dir=folder))

    def renamed(record: logging.LogRecord) -> bool:
        record.msg, record.args = record.getMessage().replace(str(stage), str(folder)), ()
        return True

    log.addFilter(renamed)
    try:
        yield stage
        files = [file.relative_to(stage) for file in stage.rglob("*") if file.is_file()]
        for file in sorted(files, key=lambda file: (-len(file.parts), file.name)):
            (folder / file).parent.mkdir(exist_ok=True)
            os.replace(stage / file, folder / file)
    finally:
        log.removeFilter(renamed)
        shutil.rmtree(stage, ignore_errors=True)
