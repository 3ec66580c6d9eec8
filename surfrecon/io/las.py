"""LAS and LAZ (airborne and terrestrial laser scans), through laspy and lazrs.

Coordinates are world units in float64: integer * scale + offset. Points are decoded some chunks at a time, on all processors, and what is
not wanted of them goes before the next ones come.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.io import attributes
from surfrecon.io.copc import unwanted
from surfrecon.io.las_header import Header, read_header
from surfrecon.selection import CLASS, NothingSelectedError, Selection

if TYPE_CHECKING:
    import laspy

log = logging.getLogger("surfrecon")

BATCH = 2**20  # points decoded at a time
COLORS = ("red", "green", "blue")


def read_scan(path: Path, selection: Selection | None = None) -> PointCloud:
    """World coordinates, RGB, and every dimension that isn't zero throughout (intensity, classification, extra bytes ...) as scalars.

    Args:
        selection: points outside of its crop and of other classes are dropped as they come, which takes less memory, and chunks of COPC
            files that hold nothing else aren't read; means over its voxels are left to the caller.
    """
    import laspy

    size = path.stat().st_size
    with open(path, "rb") as file:
        header = read_header(file, size)
        file.seek(0)
        selection, passed_over = selection or Selection(), []
        with laspy.open(file, closefd=False, laz_backend=laspy.LazBackend.Lazrs, read_evlrs=False) as reader:
            skipped = unwanted(file, size, selection) if header.chunked and header.variable_chunks else set()
            plain = (chunk.array for chunk in reader.chunk_iterator(BATCH))
            batches = _decoded(file, header, size, skipped, passed_over) if header.chunked else plain
            columns, found, classes = _columns(batches, header.points, reader.header, selection)
            span = " to ".join(str(corner.round(3).tolist()) for corner in (reader.header.mins, reader.header.maxs))
    if found + sum(passed_over) != header.points:
        raise InputError(f"its header promises {header.points} points, but it holds {found}: it was cut short")
    if passed_over:
        log.info("%s: %d of its %d points were not read, as its octree tells", path.name, sum(passed_over), header.points)
    if not len(columns["points"]):
        there = f"they span {span}" + (f" and are of class {', '.join(map(str, classes))}" if selection.classes is not None else "")
        raise NothingSelectedError(f"none of its {header.points} points is {_wanted(selection)}: {there}")
    points = columns.pop("points")
    parts = attributes.from_columns(columns)
    return attributes.scan(path, **parts | {"points": points}, crs=header.crs)


def _wanted(selection: Selection) -> str:
    words = [] if selection.classes is None else [f"of class {', '.join(map(str, selection.classes))}"]
    words += [] if selection.crop is None else [f"in the crop from {selection.crop[0].tolist()} to {selection.crop[1].tolist()}"]
    return " and ".join(words)


def _decoded(file: BinaryIO, header: Header, size: int, skipped: set[int], passed_over: list[int]) -> Iterator[np.ndarray]:
    """The bytes (N, point size) of points, some chunks at a time.

    lazrs decodes chunks on all processors at once, and believes their table: it is held against the file first.

    Args:
        skipped: bytes of the file at which chunks begin that are not wanted; how many points each has goes to `passed_over`.
    """
    import lazrs

    file.seek(header.start)
    table = [chunk for chunk in lazrs.read_chunk_table(file, lazrs.LazVlr(header.laszip)) if any(chunk)]
    counts, sizes = [count for count, _ in table], [length for _, length in table]
    if table and not header.variable_chunks:
        counts[-1] -= sum(counts) - header.points  # the last one is not full
    if sum(counts) != header.points or min(counts, default=1) < 1 or sum(sizes) > size - header.start - 8:
        raise InputError(f"its table of chunks holds {sum(counts)} points in {sum(sizes)} bytes, which does not fit: it is damaged")
    starts = list(accumulate(sizes, initial=header.start + 8))[:-1]
    chunks = [chunk for chunk in zip(starts, counts, sizes) if chunk[0] not in skipped]
    passed_over += [count for start, count in zip(starts, counts) if start in skipped]
    first, ends = 0, list(accumulate(count for _, count, _ in chunks))
    while first < len(chunks):
        done = ends[first] - chunks[first][1]
        last = next((i + 1 for i in range(first, len(chunks)) if ends[i] - done >= BATCH), len(chunks))
        part = chunks[first:last]
        rows = np.empty((ends[last - 1] - done, header.point_size), np.uint8)
        table = [(count, length) for _, count, length in part]
        lazrs.decompress_points_with_chunk_table(_bytes(file, part), header.laszip, rows.reshape(-1), table)
        yield rows
        first = last


def _bytes(file: BinaryIO, chunks: list[tuple[int, int, int]]) -> bytes:
    """The compressed bytes of chunks (start, points, length), one after the other."""
    start, _, length = chunks[-1]
    if start + length - chunks[0][0] == sum(length for *_, length in chunks):  # nothing lies between them
        file.seek(chunks[0][0])
        return file.read(start + length - chunks[0][0])
    parts = []
    for start, _, length in chunks:
        file.seek(start)
        parts.append(file.read(length))
    return b"".join(parts)


def _columns(batches: Iterator[np.ndarray], points: int, header: laspy.LasHeader, selection: Selection) -> tuple[dict, int, list[int]]:
    """The columns that aren't zero throughout, and `points` (N, 3), of what is wanted; how many points and which classes there are."""
    from laspy.point.dims import COMPOSED_FIELDS

    form = header.point_format
    dtype, composed = form.dtype(), COMPOSED_FIELDS[form.id]
    raw = {name: np.empty(points, dtype[name]) for name in dtype.names if name not in "XYZ" and not dtype[name].shape}
    xyz, kept, found, seen = np.empty((points, 3)), 0, 0, np.zeros(256, bool)
    holder, mask, shift = _place(CLASS, composed)
    for batch in batches:
        batch = batch.view(dtype).reshape(-1) if batch.dtype == np.uint8 else batch
        found += len(batch)
        if found > points:
            break
        here = xyz[kept : kept + len(batch)]
        for axis, name in enumerate("XYZ"):
            np.multiply(batch[name], header.scales[axis], out=here[:, axis])
            here[:, axis] += header.offsets[axis]
        keep = slice(None)
        if selection.classes is not None:
            classes = (batch[holder] & mask) >> shift
            seen[classes] = True
            keep = np.isin(classes, list(selection.classes))
        if selection.crop is not None:
            inside = ((here >= selection.crop[0]) & (here <= selection.crop[1])).all(axis=1)
            keep = inside if isinstance(keep, slice) else keep & inside
        if not isinstance(keep, slice):
            keep = np.flatnonzero(keep)
            xyz[kept : kept + len(keep)] = here[keep]
        end = kept + (len(batch) if isinstance(keep, slice) else len(keep))
        for name, column in raw.items():
            column[kept:end] = batch[name][keep]
        kept = end
    columns = _scalars({name: column[:kept] for name, column in raw.items()}, header, composed)
    return columns | {"points": xyz[:kept]}, found, np.flatnonzero(seen).tolist()


def _place(name: str, composed: dict) -> tuple[str, int, int]:
    """The stored field that holds a field, its bits there, and how far up they lie."""
    for holder, parts in composed.items():
        for part in parts:
            if part.name == name:
                return holder, part.mask, (part.mask & -part.mask).bit_length() - 1
    return name, 0xFF, 0


def _scalars(raw: dict[str, np.ndarray], header: laspy.LasHeader, composed: dict) -> dict[str, np.ndarray]:
    """Fields by the names of the format, those of a few bits taken apart, scaled ones scaled; colours where one of the three isn't zero."""
    scaled = {dim.name: dim for dim in header.point_format.extra_dimensions if dim.scales is not None}
    colored = any(raw[name].any() for name in COLORS if name in raw)
    columns, empty = {}, []
    for name, column in raw.items():
        if not column.any() and not (colored and name in COLORS):
            empty.append(name)
        elif name in composed:
            for part in composed[name]:
                values = (column & part.mask) >> ((part.mask & -part.mask).bit_length() - 1)
                if values.any():
                    columns[part.name] = values
        elif name in scaled:
            columns[name] = column * scaled[name].scales[0] + scaled[name].offsets[0]
        else:
            columns[name] = column
    log.debug("left out what is zero throughout: %s", ", ".join(empty))
    return columns
