"""Files in and out: what may be written, and by whom, is settled before the work begins, and all of it appears at once or not at all."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from surfrecon.errors import InputError, ResourceError
from surfrecon.io.atomic import FULL

if TYPE_CHECKING:
    from surfrecon.geometry import Mesh, PointCloud

log = logging.getLogger("surfrecon")

LOCK = "lock"  # in a run's folder; what is in it tells people who holds it
HELD = (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)  # what systems say of a lock that another process holds
LOCKED_BYTE = 2**30  # Windows lets nobody read what is locked, so that the text must lie elsewhere
STAGE = ".surfrecon."  # begins the names of hidden folders, in which a result is made


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
    try:
        if not path.parent.is_dir():
            raise InputError(f"{path}: the folder {path.parent} doesn't exist; create it first")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise InputError(f"{path}: no permission to write into the folder {path.parent}")
        for file in taken:
            if file.is_dir():
                raise InputError(f"{file} is a folder; name another file with -o")
            if file.exists() and not overwrite:
                raise InputError(f"{file} exists; add --overwrite to replace it, or name another file with -o")
    except OSError as error:
        raise InputError(f"{error.filename or path} can't be written: {error.strerror or error}; name another file with -o") from error


@contextmanager
def claimed(folder: Path, output: Path) -> Iterator[bool]:
    """A run's folder, made if need be, for this process alone; gives whether an earlier run had it and was killed.

    The system holds the lock and drops it with the process, however that ends: a file that stays behind locks nothing. Where the file
    system knows no locks (some network drives) the folder is taken all the same.

    Args:
        folder: removed at the end if nothing is in it.
        output: that the run writes, for the message.
    Raises:
        InputError: another run has it, or it can't be written to. ResourceError: the disk is full.
    """
    try:
        file, killed = _locked(folder / LOCK, output)
    except OSError as error:
        kind = ResourceError if error.errno in FULL else InputError
        raise kind(f"{folder} can't be taken for the run's files: {error.strerror or error}") from error
    with file:
        try:
            yield killed
        finally:
            with suppress(OSError):
                if os.name == "nt":
                    file.close()  # or it can't be removed
                (folder / LOCK).unlink()
            with suppress(OSError):
                folder.rmdir()  # if it is empty


def _locked(path: Path, output: Path) -> tuple[BinaryIO, bool]:
    """The file of a lock that is ours until it is closed, and whether it was there before."""
    while True:
        path.parent.mkdir(exist_ok=True)
        killed = path.exists()
        try:
            file = open(path, "a+b", buffering=0)  # on a full disk nothing must be left to write when it is closed
        except FileNotFoundError:  # whoever had it has just removed the folder
            continue
        try:
            if not _lock(file):
                file.seek(0)
                who = f" (process {text})" if (text := file.read(100).decode(errors="replace").strip()) else ""
                raise InputError(f"another run is writing {output}{who}; wait for its end, or name another file with -o")
            if os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(file.fileno())):
                with suppress(OSError):
                    file.truncate(0)
                    file.write(b"%d" % os.getpid())
                return file, killed
        except BaseException:
            file.close()
            raise
        file.close()  # of a run that has ended in between


def _lock(file: BinaryIO) -> bool:
    """Lock an open file; whether it is ours now."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            return False
        log.debug("%s can't be locked: %s", file.name, error)
    return True


@contextmanager
def staged(folder: Path, name: str | None = None) -> Iterator[Path]:
    """A hidden folder beside the target, whose files move to `folder` when the block ends well; nothing is left of it when it doesn't.

    Files in subfolders move first, then the others by name, so that who sees the last of them may rely on the rest. What the log says of a
    staged file names its final place.

    Args:
        name: of a result that this process has claimed: what a killed run has left of the same one is removed.
    """
    prefix = STAGE
    if name is not None:
        prefix += f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}."  # names of files may be as long as names may be
        for left in [path for path in folder.iterdir() if path.name.startswith(prefix)]:
            shutil.rmtree(left, ignore_errors=True)
    stage = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))

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
