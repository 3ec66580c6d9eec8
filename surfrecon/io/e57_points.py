"""The process that decodes the points of an E57 file by pye57, with little memory, and writes them to its standard output.

For each scan chunks: the number of points (uint32), then for each field as many numbers of its type.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

CHUNK = 2**16  # points
MEMORY = 2**30  # bytes beyond what the process takes once its libraries are loaded
TYPES = {"cartesianX": "f8", "cartesianY": "f8", "cartesianZ": "f8", "sphericalRange": "f8", "sphericalAzimuth": "f8"}
TYPES |= {"sphericalElevation": "f8", "timeStamp": "f8", "cartesianInvalidState": "i1", "sphericalInvalidState": "i1"}  # others: f4


def main(path: str, orders: str) -> None:
    """Decode a file.

    Args:
        orders: number and fields of each scan: "0:cartesianX,cartesianY;1:..."
    """
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the library prints is no point
    try:
        _write(out, path, orders)
    except BaseException as error:  # the library raises its own kind
        print(" ".join(str(error).split())[:200] or type(error).__name__, file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)  # the library's destructors have nothing to save


def _write(out, path: str, orders: str) -> None:
    import numpy as np
    from pye57 import libe57

    _limit_memory()
    image = libe57.ImageFile(path, "r")
    scans = image.root()["data3D"]
    for order in orders.split(";"):
        number, _, names = order.partition(":")
        arrays = {name: np.empty(CHUNK, TYPES.get(name, "f4")) for name in names.split(",")}
        buffers = libe57.VectorSourceDestBuffer()
        for name, array in arrays.items():
            buffers.append(libe57.SourceDestBuffer(image, name, array, CHUNK, True, True))  # converted to our types, scaled
        reader = scans[int(number)]["points"].reader(buffers)
        while count := reader.read():
            out.write(count.to_bytes(4, "little"))
            for array in arrays.values():
                out.write(array[:count].data)
        reader.close()  # a file has one at a time
        out.flush()


def _limit_memory() -> None:
    with suppress(ImportError, OSError, ValueError):  # where the system has no such limit
        import resource
        from pathlib import Path

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
