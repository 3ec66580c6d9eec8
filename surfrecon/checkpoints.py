"""Checkpoints: the states that an interrupted run leaves in `run.folder`/checkpoints, for the next one to continue from.

State N is two files: N.safetensors, its tensors, and N.json, written after it, which makes it whole: format, fingerprint of what is
computed, facts, SHA-256 of all that. Two generations are kept, so that a damaged one costs an interval, not the run.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from surfrecon.errors import InputError, ResourceError, SurfreconError, is_out_of_memory
from surfrecon.io.atomic import replacing
from surfrecon.io.tensors import serialized
from surfrecon.run import Run, Stop

# safetensors is imported where checkpoints are read: a fit that reads none does without.

log = logging.getLogger("surfrecon")

ROOT = "checkpoints"  # folder of them all
FORMAT = 1  # of the files; another one can't be continued from
GENERATIONS = 2
INTERVAL = 30.0  # seconds between two that are written: what a crash costs at most; writing 144 MB takes one
AGAIN = "repeat the interrupted command with --resume, or leave --resume out to start again"


class Checkpoints:
    """The states of one run; where it has no folder, nothing is written and nothing found.

        checkpoints = Checkpoints(run)
        found = checkpoints.newest()         # None unless the run resumes
        with checkpoints.left_behind():
            for part in ...:
                ...
                checkpoints.keep(tensors, {"parts": done})
    """

    def __init__(self, run: Run, part: str = ""):
        """Args: part: of the work, that has states of its own beside those of the fit."""
        self.run = run
        self.folder = run.folder / ROOT / part if run.folder else None
        self.kept: tuple[Mapping[str, Tensor], Mapping[str, Any]] | None = None
        self._written = True
        self._whole: list[int] = []  # numbers known to be good, the newest last
        self._due = time.monotonic() + INTERVAL

    def exist(self) -> bool:
        """Whether an interrupted run has left any, whole or not, of any part."""
        return self.folder is not None and any(self.folder.rglob("*.json"))

    def newest(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors, on the CPU, and facts of the newest whole state; None in a run that doesn't resume. A damaged one is warned about.

        Raises:
            InputError: there is none, of any part, or it belongs to another scan, method, settings or seed.
        """
        if self.folder is None or not self.run.resume:
            return None
        from safetensors import SafetensorError

        for number in sorted(self._numbers(), reverse=True):
            try:
                fingerprint, tensors, facts = self._read(number)
            except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
                reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
                self.run.warn(f"{self._file(number, 'json')} is damaged and skipped ({reason})")
                continue
            if fingerprint != self.run.fingerprint:
                raise InputError(f"{self.folder} belongs to another scan, method, settings or seed; {AGAIN}")
            self._whole = [number]
            self.kept = tensors, facts
            return tensors, facts
        if self.folder.name != ROOT or any(file.parent != self.folder for file in self.folder.rglob("*.json")):
            return None  # it was interrupted in another part
        raise InputError(f"{self.folder} holds no whole checkpoint to continue from; leave --resume out to start again")

    def keep(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Take a state as the newest; it is written if INTERVAL has passed, else when the run is interrupted.

        Args:
            tensors: by name, on any device; they must stay as they are from now on.
            facts: whatever else the fit needs to continue, as JSON knows it.
        """
        self.kept, self._written = (tensors, facts), False
        if time.monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Bring the state kept last to the disk. Where that fails the run goes on, with a warning: it can still end well."""
        if self.folder is None or self.kept is None or self._written or self.run.follows:
            return
        tensors, facts = self.kept
        number = max(self._numbers(), default=0) + 1
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
            manifest = {"version": FORMAT, "fingerprint": self.run.fingerprint, "facts": dict(facts)}
            manifest["sha256"] = _digest(serialized(arrays), manifest)
            with replacing(self._file(number, "safetensors")) as file:
                file.writelines(serialized(arrays))
            with replacing(self._file(number, "json")) as file:
                file.write(json.dumps(manifest, indent=2).encode())
            self._written = True
            self._whole = [*self._whole, number][-GENERATIONS:]
            for file in self.folder.iterdir():  # older ones, and what other runs and crashes left
                if file.is_file() and file.stem not in map(str, self._whole):
                    file.unlink()
        except Exception as error:
            if not (isinstance(error, (OSError, SurfreconError)) or is_out_of_memory(error)):
                raise
            self.run.warn(f"no checkpoint could be left, the run goes on without: {str(error) or 'out of memory'}")
            with suppress(OSError):
                self.folder.rmdir()  # if it is empty
        self._due = time.monotonic() + INTERVAL

    @contextmanager
    def left_behind(self) -> Iterator[None]:
        """A block whose interruption, or want of memory, leaves the state kept last on the disk.

        A Stop only ends the block, and sets `run.stopped`, if a state was kept: what follows goes on with the best so far.
        """
        try:
            yield
        except BaseException as error:
            if not (isinstance(error, (KeyboardInterrupt, ResourceError)) or is_out_of_memory(error)):
                raise
            self.write()
            if self.folder is not None and self._whole:
                log.info("a checkpoint is left in %s, to resume from", self.folder)
            if self.kept is None or not isinstance(error, Stop):
                raise
            self.run.stopped = True
            self.run.warn("interrupted: the result is the best so far")

    def clear(self) -> None:
        """Remove them all: for whoever has brought the result to safety."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _numbers(self) -> list[int]:
        return [int(file.stem) for file in self.folder.glob("*.json") if file.stem.isdecimal()]

    def _file(self, number: int, suffix: str) -> Path:
        return self.folder / f"{number}.{suffix}"

    def _read(self, number: int) -> tuple[str, dict[str, Tensor], dict[str, Any]]:
        from safetensors.torch import load

        manifest = json.loads(self._file(number, "json").read_bytes())
        if manifest["version"] != FORMAT:
            raise ValueError(f"its format is {manifest['version']}, this surfrecon's is {FORMAT}")
        data = self._file(number, "safetensors").read_bytes()
        if manifest.pop("sha256") != _digest([data], manifest):
            raise ValueError("its SHA-256 is another one")
        return manifest["fingerprint"], load(data), manifest["facts"]


def remembered(run: Run, part: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays that are costly to make: from the interrupted run that this one resumes, else made, and left for one that may resume."""
    checkpoints = Checkpoints(run, part)
    found = checkpoints.newest()
    if found is not None:
        return {name: tensor.numpy() for name, tensor in found[0].items()}
    arrays = make()
    checkpoints.keep({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}, {})
    checkpoints.write()
    return arrays


def restore(tensors: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    """Give tensors, in place, the values that those of the same names had.

    Raises:
        InputError: they aren't of the same shapes.
    """
    for name, tensor in tensors.items():
        if name not in saved or saved[name].shape != tensor.shape:
            raise InputError(f"the checkpoint doesn't fit this fit, which needs {name} of shape {tuple(tensor.shape)}; {AGAIN}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(saved[name])


def _digest(data: Iterable[bytes | memoryview], manifest: Mapping[str, Any]) -> str:
    """SHA-256 of the tensors' file and of what the manifest says beside it."""
    digest = hashlib.sha256()
    for piece in data:
        digest.update(piece)
    digest.update(json.dumps(manifest, sort_keys=True).encode())
    return digest.hexdigest()
