"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from surfrecon.errors import InputError, ResourceError, SurfreconError

FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}  # disk full, file size limit, quota


@contextmanager
def replacing(path: Path | str) -> Iterator[BinaryIO]:
    """A binary file that takes the place of `path` when the block ends well, and leaves no trace when it doesn't.

    It is written beside `path` (through a link: beside the file that the link names), brought to the disk, then renamed over it; a file
    that was there stays intact until then.

    Raises:
        ResourceError: the disk or a quota is full.
        InputError: the folder is missing or closed to us, or `path` is a folder.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise InputError(f"{path} cannot be written: it is a folder")
    part = target.with_name(f".surfrecon-{secrets.token_hex(8)}.tmp")
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
        _sync_folder(target.parent)
    except OSError as error:
        if error.filename not in (None, str(part)):  # about some other file that the block touched
            raise
        raise _explained(path, error) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Bring the new name itself to the disk, where the system can."""
    if os.name == "posix":
        with suppress(OSError):  # some network file systems refuse; the file is in place all the same
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _explained(path: Path | str, error: OSError) -> SurfreconError:
    if error.errno in FULL:
        return ResourceError(f"{path} cannot be written: the disk is full or a size limit reached ({error.strerror}), free some space")
    if error.errno == errno.ENOENT:
        return InputError(f"{path} cannot be written: its folder does not exist, create it first")
    return InputError(f"{path} cannot be written: {error.strerror or error}")
