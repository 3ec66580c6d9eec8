"""NumPy files: NPY holds one table of points, NPZ named arrays.

Nothing in them is ever unpickled, and sizes are checked before memory is taken: the array header's against what the file or the archive
says, the archive's against what its compressed bytes can reasonably hold.
"""

from __future__ import annotations

import logging
import math
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from surfrecon.errors import InputError
from surfrecon.geometry import UNITS, PointCloud
from surfrecon.io import attributes
from surfrecon.io.atomic import replacing
from surfrecon.io.guess import guessed

log = logging.getLogger("surfrecon")

MAX_INFLATION = 200  # times the archive's size: points compress to a half, labels to a hundredth, bombs to a thousandth
FREE_INFLATION = 2**24  # bytes that any archive may inflate to
VECTORS = ("points", "normals", "colors", "origins")


def read_npy(path: Path) -> PointCloud:
    """A table (N, 3 or more): x, y, z, then what its columns look like (see guess.py); or records with named fields."""
    with open(path, "rb") as file:
        table = read_array(file, path.stat().st_size)
    if table.dtype.names:
        return attributes.scan(path, **_parts(path, table.reshape(-1)))
    if table.ndim != 2 or table.shape[1] < 3 or table.dtype.kind not in "iufb":
        raise InputError(f"it holds an array of shape {table.shape} and type {table.dtype}: expected numbers of shape (N, 3) or wider")
    return attributes.scan(path, **guessed(path, table))


def _parts(path: Path, records: np.ndarray) -> dict:
    """What the named fields of (N,) records are; those that aren't one number each are left out."""
    fields = {name: records[name] for name in records.dtype.names}
    columns = {name: column for name, column in fields.items() if column.ndim == 1 and column.dtype.kind in "iufb"}
    if left := sorted(fields.keys() - columns.keys()):
        log.info("%s: left out the fields that are not one number per point: %s", path.name, ", ".join(left))
    parts = attributes.from_columns(columns)
    if "points" not in parts:
        raise InputError(f"its records have no fields x, y and z (they have {', '.join(fields)})")
    return parts


def read_npz(path: Path) -> PointCloud:
    """`points`, and where there `normals`, `colors`, `origins` (N, 3), texts `crs` and `unit`; every other array (N,) is a scalar field."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist() if info.filename.endswith(".npy")}
        total = sum(info.file_size for info in members.values())
        if total > max(FREE_INFLATION, MAX_INFLATION * size):
            raise InputError(f"it would inflate from {size} to {total} bytes, which is no plausible scan")
        arrays = {}
        for name, info in members.items():
            with archive.open(info) as file:
                arrays[name] = read_array(file, info.file_size)
    if "points" not in arrays:
        raise InputError(f"it holds no array named 'points' (it has {', '.join(sorted(arrays)[:20]) or 'none'})")
    known = {name: str(arrays.pop(name)) for name in ("crs", "unit") if name in arrays and _is_text(arrays[name])}
    known["unit"] = known["unit"] if known.get("unit") in UNITS else None
    parts = {name: arrays.pop(name) for name in VECTORS if name in arrays}
    rows = len(parts["points"]) if parts["points"].ndim else 0
    for name, array in parts.items():
        if array.shape != (rows, 3) or array.dtype.kind not in "iufb":
            raise InputError(f"its array {name!r} has shape {array.shape} and type {array.dtype}: expected numbers of shape ({rows}, 3)")
    scalars = {name: array for name, array in arrays.items() if array.shape == (rows,) and array.dtype.kind in "iufb"}
    if left := sorted(arrays.keys() - scalars.keys()):
        log.info("%s: left out the arrays that are not one number per point: %s", path.name, ", ".join(left))
    return attributes.scan(path, **parts, scalars=scalars, **known)


def _is_text(array: np.ndarray) -> bool:
    return array.dtype.kind == "U" and not array.ndim


def read_array(file: BinaryIO, size: int) -> np.ndarray:
    """One array from a file of `size` bytes, its header checked before its data are read."""
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise InputError(f"it is written in version {version[0]}.{version[1]} of the NPY format: expected 1.0 or 2.0")
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = header(file)
    if dtype.hasobject:
        raise InputError("it holds Python objects, which could run code on loading: save plain numbers instead")
    if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize > size - file.tell():
        raise InputError(f"its header promises an array of shape {shape} and type {dtype}, more than the file's {size} bytes hold")
    data = file.read(math.prod(shape) * dtype.itemsize)
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def write_npz(cloud: PointCloud, path: Path) -> list[str]:
    """Store a scan without loss, in the types it has in memory."""
    arrays = {name: getattr(cloud, name) for name in VECTORS if getattr(cloud, name) is not None}
    arrays |= {name: np.array(text) for name in ("crs", "unit") if (text := getattr(cloud, name)) is not None}
    arrays |= dict(zip(attributes.free_names(cloud.scalars, taken={*VECTORS, "crs", "unit"}), cloud.scalars.values()))
    with replacing(path) as target, zipfile.ZipFile(target, "w") as archive:
        for name, array in arrays.items():
            # ZipInfo's fixed date, not today's: the same scan gives the same bytes.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                npy.write_array(file, array, allow_pickle=False)
    return []
