"""Reads many damaged copies of files, in a process of its own with little memory: a reader must refuse each or give finite points.

Usage: python mutations.py COUNT FILE... (those named scan... are scans, the others meshes). Prints what went wrong, one line each. The copy
of each file that was read last stays beside it.
"""

import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np

from surfrecon.errors import InputError
from surfrecon.io import read_mesh, read_scan

MEMORY = 2**28  # bytes that reading a few kilobytes may take beyond those of the undamaged ones
LONGEST = 5.0  # seconds that reading a copy may take; hundredths are usual
HEAD = 400  # bytes: half of all damage is done here, where headers are
EXTREMES = [0, 1, 2**7, 2**15, 2**31 - 1, 2**31, 2**32 - 1]


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes cut short, or with some overwritten, removed, repeated or made an extreme number."""
    at = int(rng.integers(min(len(data), HEAD) if rng.random() < 0.5 else len(data)))
    length = int(rng.integers(1, 17))
    match int(rng.integers(6)):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[at + length :]
        case 2:
            return data[:at] + data[at : at + length] * int(rng.integers(2, 50)) + data[at + length :]
        case 3:
            return data[:at] + int(rng.choice(EXTREMES)).to_bytes(4, "little") + data[at + 4 :]
        case 4:  # a digit, a sign or a separator: what text files stumble over
            return data[:at] + bytes(rng.choice(list(b'0123456789-+.,;#/ \n"{}[]eE'), int(rng.integers(1, 4)))) + data[at + 1 :]
    copy = bytearray(data)
    for place in rng.integers(at, min(at + 64, len(data)), int(rng.integers(1, 5))):
        copy[place] = rng.integers(256)
    return bytes(copy)


def complaint(path: Path, read) -> str | None:
    """What a reader did wrong with a file, if anything."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            item = read(path)
        except InputError as error:
            text = str(error)
            return None if text.startswith(f"{path}: ") and "\n" not in text else f"no single line that names the file: {text!r}"
        except BaseException as error:  # a panic of native code is no Exception
            return f"{type(error).__name__}: {error}"
    if caught:
        return f"warns: {caught[0].message}"
    points = item.vertices if read is read_mesh else item.points
    return None if len(points) and np.isfinite(points).all() else "points are missing or not finite"


def limit_memory() -> None:
    with suppress(ImportError, OSError, ValueError):  # where the system has no such limit, the tests only take longer to fail
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))


def main(count: str, *sources: str) -> None:
    readers = {path: read_scan if path.stem.startswith("scan") else read_mesh for path in map(Path, sources)}
    for path, read in readers.items():
        read(path)
    limit_memory()
    for path, read in readers.items():
        original, copy = path.read_bytes(), path.with_name(f"damaged_{path.name}")
        for seed in range(int(count)):
            copy.write_bytes(damaged(original, np.random.default_rng(seed)))
            start = time.perf_counter()
            words = complaint(copy, read)
            if not words and (seconds := time.perf_counter() - start) > LONGEST:
                words = f"it takes {seconds:.1f} s"
            if words:
                print(f"{path.name}, seed {seed}: {words}")


if __name__ == "__main__":
    main(*sys.argv[1:])
