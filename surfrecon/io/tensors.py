"""Named arrays in safetensors files: nothing in them can run code, and they are mapped, not read, where they are large."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from surfrecon.errors import InputError
from surfrecon.io.atomic import replacing

KINDS = {"F16": np.float16, "F32": np.float32, "F64": np.float64, "U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64}
KINDS |= {"I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64, "BOOL": np.bool_}
NAMES = {np.dtype(kind): name for name, kind in KINDS.items()}
MOST_HEADER = 1 << 24  # bytes


def write_arrays(file: Path, arrays: Mapping[str, np.ndarray], notes: Mapping[str, str] | None = None) -> None:
    """Write arrays, whole or not at all.

    Args:
        notes: text that goes with them.
    """
    with replacing(file) as opened:
        opened.writelines(serialized(arrays, notes))


def serialized(arrays: Mapping[str, np.ndarray], notes: Mapping[str, str] | None = None) -> Iterator[bytes | memoryview]:
    """The bytes of a safetensors file one after another, without a copy of arrays that are contiguous.

    The library makes the whole file in memory first, and aborts the process where there isn't enough for that.
    """
    ordered = dict(sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0])))  # so that each is aligned to its items
    header: dict[str, object] = {"__metadata__": dict(notes)} if notes else {}
    end = 0
    for name, array in ordered.items():
        begin, end = end, end + array.nbytes
        header[name] = {"dtype": NAMES[array.dtype.newbyteorder("<")], "shape": array.shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little")
    yield text
    for array in ordered.values():
        little = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
        yield little.reshape(-1).view(np.uint8).data


def mapped_arrays(file: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a file as they lie on the disk, read-only, and its notes.

    Raises:
        InputError: it can't be read, or isn't such a file.
    """
    try:
        with open(file, "rb") as opened:
            total = opened.seek(0, 2)
            opened.seek(0)
            size = int.from_bytes(opened.read(8), "little")
            if not 2 <= size <= min(total - 8, MOST_HEADER):
                raise ValueError("its header is cut off")
            header = json.loads(opened.read(size))
        data = np.memmap(file, np.uint8, "r", offset=8 + size) if total > 8 + size else np.zeros(0, np.uint8)
        notes = header.pop("__metadata__", {})
        return {name: _array(data, known) for name, known in header.items()}, notes
    except OSError as error:
        raise InputError(f"{file} can't be read: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is no safetensors file that can be read ({error})") from None


def _array(data: np.ndarray, known: Mapping) -> np.ndarray:
    first, last = known["data_offsets"]
    if not 0 <= first <= last <= len(data):
        raise ValueError("it is cut off")
    return data[first:last].view(KINDS[known["dtype"]]).reshape(known["shape"])
