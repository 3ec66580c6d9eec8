"""LAS and LAZ (airborne and terrestrial laser scans), through laspy and lazrs.

Coordinates are world units in float64: integer * scale + offset.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.io import attributes
from surfrecon.io.las_header import read_header

log = logging.getLogger("surfrecon")

CHUNK = 2**20  # points decoded at a time


def read_scan(path: Path) -> PointCloud:
    """World coordinates, RGB, and every dimension that isn't zero throughout (intensity, classification, extra bytes ...) as scalars."""
    import laspy

    with open(path, "rb") as file:
        header = read_header(file, path.stat().st_size)
        file.seek(0)
        # The sequential decoder: the parallel one takes as much memory as the file's chunk table asks for, or ends the process.
        with laspy.open(file, closefd=False, laz_backend=laspy.LazBackend.Lazrs, read_evlrs=False) as reader:
            chunks = [_columns(chunk) for chunk in reader.chunk_iterator(CHUNK)]
    columns = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}
    found = len(columns["x"])
    if found != header.points:
        raise InputError(f"its header promises {header.points} points, but it holds {found}: it was cut short")
    empty = [name for name, column in columns.items() if name not in "xyz" and not column.any()]
    log.debug("%s: left out what is zero throughout: %s", path.name, ", ".join(empty))
    if {"red", "green", "blue"} - set(empty):
        empty = [name for name in empty if name not in ("red", "green", "blue")]
    parts = attributes.from_columns({name: column for name, column in columns.items() if name not in empty})
    return attributes.scan(path, **parts, crs=header.crs)


def _columns(chunk) -> dict[str, np.ndarray]:
    columns = {"x": np.asarray(chunk.x), "y": np.asarray(chunk.y), "z": np.asarray(chunk.z)}
    for name in chunk.point_format.dimension_names:
        column = np.asarray(chunk[name])
        if name not in ("X", "Y", "Z") and column.ndim == 1:
            columns[name] = column
    return columns
