"""The points of E57 scans out of a process of its own, which decodes them natively: what happens to that one doesn't happen to us."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from surfrecon.errors import InputError
from surfrecon.io.e57_points import TYPES

START = "import sys; sys.path[:] = sys.argv[3:]; from surfrecon.io.e57_points import main; main(sys.argv[1], sys.argv[2])"
PATIENCE, SECONDS_PER_BYTE = 60.0, 2e-6  # seconds: 50 MB/s are usual, a hundredth of that is waited for
OTHER_TYPE = "f4"


def decoded(path: Path, scans: Sequence[tuple[int, int, Sequence[str]]]) -> Iterator[dict[str, np.ndarray]]:
    """The columns of each scan, all in one process.

    Args:
        scans: number, points and fields of each.
    Raises:
        InputError: the process failed, died, took too long, or gave fewer points than promised.
    """
    orders = ";".join(f"{number}:{','.join(fields)}" for number, _, fields in scans)
    command = [sys.executable, "-c", START, str(path), orders, *sys.path]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        late = threading.Event()
        timer = threading.Timer(PATIENCE + SECONDS_PER_BYTE * path.stat().st_size, lambda: (late.set(), process.kill()))
        timer.daemon = True
        timer.start()
        said: list[bytes] = []
        listener = threading.Thread(target=lambda: said.append(process.stderr.read()), daemon=True)  # else a talkative one would wait
        listener.start()
        try:
            for number, points, fields in scans:
                columns = _columns(process.stdout, points, fields)
                if columns is None:
                    process.kill()
                    process.wait()
                    listener.join()
                    raise InputError(_reason(number, points, late.is_set(), b"".join(said)))
                yield columns
        finally:
            timer.cancel()
            process.kill()


def _columns(pipe: BinaryIO, points: int, fields: Sequence[str]) -> dict[str, np.ndarray] | None:
    """What one scan holds, chunk by chunk; None where it ends early. Memory grows with what comes, not with what was promised."""
    chunks: dict[str, list[np.ndarray]] = {name: [] for name in fields}
    left = points
    while left:
        head = pipe.read(4)
        count = int.from_bytes(head, "little")
        if len(head) < 4 or not 0 < count <= left:
            return None
        for name in fields:
            dtype = np.dtype(TYPES.get(name, OTHER_TYPE))
            data = pipe.read(count * dtype.itemsize)
            if len(data) < count * dtype.itemsize:
                return None
            chunks[name].append(np.frombuffer(data, dtype))
        left -= count
    return {name: np.concatenate(parts) for name, parts in chunks.items()}


def _reason(number: int, points: int, late: bool, said: bytes) -> str:
    if late:
        return f"the {points} points of its scan {number} took too long to decode: it is damaged, or its disk very slow"
    words = (said.decode(errors="replace").strip().splitlines() or ["the decoder ended"])[-1][:200]
    return f"its scan {number} promises {points} points, which do not decode ({words}): it was cut short or is damaged"
