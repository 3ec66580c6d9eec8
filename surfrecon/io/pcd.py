"""PCD, the point clouds of PCL and ROS: in text, binary and compressed, in only.

Colours are packed into one field `rgb` or `rgba`, a whole number 0xAARRGGBB or a float of the same bits. VIEWPOINT is where the sensor
stood, in the frame of the points; the one that writers put where they know none, the origin without rotation, is passed over. A field of
several numbers (histograms, padding) has no place in a scan and is left out.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.io import attributes
from surfrecon.io.lzf import decompressed, most_inflated
from surfrecon.io.numbers import parse_numbers

log = logging.getLogger("surfrecon")

HEADER_LINES, LONGEST_LINE = 100, 2**16  # bytes and lines that a header may have
KINDS = {"F": (4, 8), "I": (1, 2, 4, 8), "U": (1, 2, 4, 8)}  # type -> sizes in bytes
MOST_COUNT = 2**16  # numbers of one field
UNKNOWN_VIEWPOINT = [0, 0, 0, 1, 0, 0, 0]  # x y z, then the quaternion, w first
PACKED = ("rgb", "rgba")
PADDING = "_"


@dataclass(frozen=True)
class _Header:
    """What a header says, held against the size of the file."""

    fields: tuple[tuple[str, np.dtype, int], ...]
    points: int
    organised: bool
    viewpoint: tuple[float, ...]
    data: str

    @property
    def stride(self) -> int:
        """Bytes of a point."""
        return sum(dtype.itemsize * count for _, dtype, count in self.fields)


def read_scan(path: Path) -> PointCloud:
    """The points with all their fields; those that an organised cloud has no distance for are left out."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        header = _header(file)
        left = size - file.tell()
        least = header.points * (2 * sum(count for *_, count in header.fields) if header.data == "ascii" else header.stride)
        if header.data != "binary_compressed" and least > left + 1:  # the last line may lack its end
            raise InputError(f"its header promises {header.points} points, but {left} bytes follow: it was cut short")
        columns = {"ascii": _text, "binary": _binary, "binary_compressed": _compressed}[header.data](file, header, left)
    if left_out := sorted({name for name, _, count in header.fields if count != 1 and name != PADDING}):
        log.info("%s: left out the fields of several numbers: %s", path.name, ", ".join(left_out))
    parts = attributes.from_columns({name: column for name, column in columns.items() if name not in PACKED})
    if "points" not in parts:
        raise InputError(f"it has no fields x, y and z (it has {', '.join(columns) or 'none'})")
    packed = next((columns[name] for name in PACKED if name in columns), None)
    if packed is not None:
        parts["colors"] = _unpacked(packed)
    if header.organised:
        parts = _measured(path, parts)
    if list(header.viewpoint) != UNKNOWN_VIEWPOINT:
        log.info("%s: its VIEWPOINT is taken as the place of the sensor", path.name)
        parts["origins"] = np.broadcast_to(np.array(header.viewpoint[:3]), parts["points"].shape)
    return attributes.scan(path, **parts)


def _header(file: BinaryIO) -> _Header:
    known: dict[str, list[str]] = {}
    for number in range(HEADER_LINES):
        line = file.readline(LONGEST_LINE)
        if not line.endswith(b"\n") or b"\0" in line:
            raise InputError("its header does not end with a line DATA: it is damaged or no PCD file")
        words = line.split(b"#")[0].decode("ascii", "replace").split()
        if not words:
            continue
        known.setdefault(words[0].upper(), words[1:])
        if words[0].upper() == "DATA":
            break
        if number == 0 and words[0].upper() not in ("VERSION", "FIELDS", "COLUMNS"):
            raise InputError(f"it begins with {words[0][:40]!r} in place of a PCD header")
    names = known.get("FIELDS", known.get("COLUMNS", []))
    sizes, counts = _whole(known, "SIZE"), _whole(known, "COUNT") or [1] * len(names)
    kinds = [kind.upper() for kind in known.get("TYPE", [])]
    if not names or not len(names) == len(sizes) == len(kinds) == len(counts):
        counted = f"{len(names)} fields, {len(sizes)} sizes, {len(kinds)} types, {len(counts)} counts"
        raise InputError(f"its header names {counted}: it is damaged")
    for name, size, kind, count in zip(names, sizes, kinds, counts):
        if size not in KINDS.get(kind, ()) or not 0 <= count <= MOST_COUNT:
            raise InputError(f"its field {name[:40]!r} has type {kind[:9]!r}, size {size} and count {count}, which PCD does not know")
    single = [name for name, count in zip(names, counts) if count == 1 and name != PADDING]
    if len(set(single)) < len(single):
        raise InputError("two of its fields have one name")
    points, width, height = (_whole(known, word, [0])[0] for word in ("POINTS", "WIDTH", "HEIGHT"))
    if known.get("POINTS") and known.get("WIDTH") and known.get("HEIGHT") and width * height != points:
        raise InputError(f"its header promises {points} points, but {width} x {height} of them")
    points = points or width * max(height, 1)
    if points == 0:
        raise InputError("it holds no points")
    viewpoint = _viewpoint(known.get("VIEWPOINT"))
    data = (known.get("DATA") or [""])[0].lower()
    if data not in ("ascii", "binary", "binary_compressed"):
        raise InputError(f"its points are stored as {data[:40]!r}: expected ascii, binary or binary_compressed")
    dtypes = (np.dtype(f"<{kind.lower()}{size}") for kind, size in zip(kinds, sizes))
    return _Header(tuple(zip(names, dtypes, counts)), points, height > 1, viewpoint, data)


def _whole(known: dict[str, list[str]], word: str, default: list[int] | None = None) -> list[int]:
    """The whole numbers behind a word of the header."""
    words = known.get(word)
    if not words:
        return default or []
    if not all(number.isascii() and number.isdigit() and len(number) < 19 for number in words):
        raise InputError(f"its header says {word} {' '.join(words)[:60]!r} where whole numbers should be")
    return [int(number) for number in words]


def _viewpoint(words: list[str] | None) -> tuple[float, ...]:
    numbers = parse_numbers(" ".join(words or []).encode()) if words else np.array(UNKNOWN_VIEWPOINT, float)
    if len(numbers) not in (3, 7) or not np.isfinite(numbers).all():
        raise InputError(f"its VIEWPOINT is {' '.join(words or [])[:80]!r}: expected x y z and a quaternion")
    return (*numbers.tolist(), 1.0, 0.0, 0.0, 0.0)[:7]


def _text(file: BinaryIO, header: _Header, left: int) -> dict[str, np.ndarray]:
    numbers = parse_numbers(file.read())
    width = sum(count for *_, count in header.fields)
    if len(numbers) != header.points * width:
        promised = f"{header.points} points of {width} numbers"
        raise InputError(f"its header promises {promised}, but {len(numbers)} numbers follow: it was cut short")
    table, columns, at = numbers.reshape(header.points, width), {}, 0
    for name, dtype, count in header.fields:
        if count == 1 and name != PADDING:
            column = table[:, at]
            if dtype.kind != "f":
                limits = np.iinfo(dtype)
                if not ((column >= limits.min) & (column <= limits.max) & (column == np.floor(column))).all():
                    raise InputError(f"its field {name!r} holds numbers that its type {dtype} cannot: it is damaged")
            columns[name] = column if name in "xyz" else column.astype(dtype)
        at += count
    return columns


def _binary(file: BinaryIO, header: _Header, left: int) -> dict[str, np.ndarray]:
    kept = [(name if count == 1 and name != PADDING else "", dtype, count) for name, dtype, count in header.fields]
    offsets = np.cumsum([0, *(dtype.itemsize * count for _, dtype, count in kept)])
    rows = np.frombuffer(file.read(header.points * header.stride), np.uint8).reshape(header.points, header.stride)
    return {
        name: np.ascontiguousarray(rows[:, at : at + dtype.itemsize]).view(dtype)[:, 0]
        for (name, dtype, _), at in zip(kept, offsets.tolist())
        if name
    }


def _compressed(file: BinaryIO, header: _Header, left: int) -> dict[str, np.ndarray]:
    sizes = np.frombuffer(file.read(8).ljust(8, b"\0"), "<u4")
    packed, size = sizes.tolist()
    expected = header.points * header.stride
    if size != expected or packed > left - 8 or size > most_inflated(packed):
        raise InputError(f"its header promises {expected} bytes of points, but {packed} compressed ones of {size} follow: it was cut short")
    data, columns, at = decompressed(file.read(packed), size), {}, 0
    for name, dtype, count in header.fields:  # one field after the other
        if count == 1 and name != PADDING:
            columns[name] = np.frombuffer(data, dtype, header.points, at)
        at += header.points * dtype.itemsize * count
    return columns


def _unpacked(packed: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 of colours packed into 32 bits."""
    bits = packed.astype("<f4").view("<u4") if packed.dtype.kind == "f" else packed.astype("<i8").astype("<u4")
    return np.stack([(bits >> shift) & 255 for shift in (16, 8, 0)], axis=1).astype(np.uint8)


def _measured(path: Path, parts: dict) -> dict:
    """Without the points that aren't finite, as many as they may be: a grid of pixels keeps the place of those that measured nothing."""
    rows = np.isfinite(parts["points"]).all(axis=1)
    if not rows.any():
        raise InputError(f"none of its {len(rows)} pixels has a finite position")
    log.info("%s: %d of its %d pixels hold a point", path.name, rows.sum(), len(rows))
    vectors = {name: value[rows] for name, value in parts.items() if name != "scalars"}
    return vectors | {"scalars": {name: value[rows] for name, value in parts["scalars"].items()}}
