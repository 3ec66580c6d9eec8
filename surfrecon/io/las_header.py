"""What the header of a LAS or LAZ file says, refused where it contradicts itself or the file's size.

laspy and lazrs believe it: on a damaged one they spin for minutes, take all memory, end the process, or give no points.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from surfrecon.errors import InputError

HEADER = struct.Struct("<94xHIIBHI20x6d48x")  # LAS 1.0 to 1.2, 227 bytes; later versions append
HEADER_1_4 = struct.Struct("<8xQIQ")  # what 1.4 has behind it: waveforms, then start and number of extended records, points
POINT_SIZE = (20, 28, 26, 34, 57, 63, 30, 36, 38, 59, 67)  # bytes of point formats 0 to 10, without extra bytes
COMPRESSED = 0x80  # set in the point format's byte by LAZ
RECORD, EXTENDED_RECORD = struct.Struct("<2x16sHH32x"), struct.Struct("<2x16sHQ32x")  # user, number, length of a variable length record
MAX_RECORDS = 10_000
MAX_RATIO = 1000  # of LAZ: 5 to 20 is usual, a scan of equal points reaches hundreds
LASZIP_RECORD = struct.Struct("<H10xI16xH")  # compressor, points per chunk, number of items; then type, size and version of each
UNCHUNKED = 1  # the compressor of the first LAZ files
LAYERS = {10: 9, 11: 1, 12: 2, 13: 1, 14: 0}  # of the items of point formats 6 to 10
EXTRA_BYTES = 14  # the item that has a layer for each of its bytes
WKT, GEO_KEYS, GEO_TEXT, LASZIP = 2112, 34735, 34737, 22204  # numbers of the records that we read
PROJECTED, GEOGRAPHIC, USER_DEFINED = 3072, 2048, 32767  # GeoTIFF keys, and the value that is no EPSG code


@dataclass(frozen=True)
class Header:
    """What is needed of it to read the points.

    Attributes:
        start: byte where the points begin. point_size: bytes of one.
        laszip: the record that says how they are compressed; empty where they aren't.
    """

    points: int
    crs: str | None
    start: int
    point_size: int
    laszip: bytes

    @property
    def chunked(self) -> bool:
        """Whether the points are compressed in chunks that can be decoded one by one."""
        return bool(self.laszip) and LASZIP_RECORD.unpack_from(self.laszip)[0] != UNCHUNKED

    @property
    def variable_chunks(self) -> bool:
        return LASZIP_RECORD.unpack_from(self.laszip)[1] == 2**32 - 1


def read_header(file: BinaryIO, size: int) -> Header:
    """The public header, refused where it contradicts itself or the file's size."""
    head = file.read(HEADER.size)
    if head[:4] != b"LASF":
        raise InputError("it does not begin with 'LASF', so it is no LAS or LAZ file")
    if len(head) < HEADER.size:
        raise InputError("the file ends within its header: it was cut short")
    length, start, records, form, point_size, points, *numbers = HEADER.unpack(head)
    extended, extended_records = 0, 0
    if head[25] >= 4:
        extended, extended_records, points = HEADER_1_4.unpack(_exactly(file, HEADER_1_4.size))
    form, compressed = form & 0x3F, bool(form & COMPRESSED)
    if not np.isfinite(numbers).all() or not all(numbers[:3]):
        raise InputError(f"its header has the scale {numbers[:3]} and offset {numbers[3:]}: expected finite numbers, the scale not zero")
    if form >= len(POINT_SIZE) or point_size < POINT_SIZE[form]:
        raise InputError(f"its header names point format {form} with {point_size} bytes per point, which LAS does not know")
    if not HEADER.size <= length <= start <= size or records > MAX_RECORDS or extended_records > MAX_RECORDS:
        raise InputError(f"its header puts the points behind byte {start} and {records} records of a file of {size} bytes: it is damaged")
    if points == 0:
        raise InputError("it holds no points")
    if points * point_size > (size - start) * (MAX_RATIO if compressed else 1):
        raise InputError(f"its header promises {points} points of {point_size} bytes, but the file holds {size} bytes: it was cut short")
    found = _records(file, length, start, records, RECORD)
    laszip = found.get(("laszip encoded", LASZIP), b"") if compressed else b""
    if compressed:
        _check_laszip(file, start, size, laszip, points, point_size)
    if head[25] >= 4 and extended_records:
        found |= _records(file, extended, size, extended_records, EXTENDED_RECORD)
    crs = _crs({number: data for (user, number), data in found.items() if user == "LASF_Projection"})
    return Header(points, crs, start, point_size, laszip)


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise InputError("the file ends within its header: it was cut short")
    return data


def _records(file: BinaryIO, at: int, end: int, count: int, kind: struct.Struct) -> dict[tuple[str, int], bytes]:
    """The variable length records between two bytes of the file, by user and number; only those we read are loaded."""
    found = {}
    for _ in range(count):
        if at + kind.size > end:
            raise InputError(f"its header promises {count} variable length records, more than there is room for: it is damaged")
        file.seek(at)
        user, number, length = kind.unpack(_exactly(file, kind.size))
        at += kind.size
        if at + length > end:
            raise InputError(f"a variable length record of {length} bytes reaches beyond its part of the file: it is damaged")
        if number in (WKT, GEO_KEYS, GEO_TEXT, LASZIP):
            found.setdefault((user.split(b"\0")[0].decode("ascii", "replace"), number), _exactly(file, length))
        at += length
    return found


def _check_laszip(file: BinaryIO, start: int, size: int, record: bytes, points: int, point_size: int) -> None:
    """Refuse compressed points whose description, chunks or layers don't fit: the decoder takes all the memory that they ask for.

    Args:
        start: where the points begin.
        record: the LASzip record: how points are cut into items, items (of the later formats) into layers.
    """
    damaged = InputError("its compressed points do not fit their LASzip record or table of chunks: it was cut short or is damaged")
    if len(record) < LASZIP_RECORD.size:
        raise damaged
    compressor, chunk_size, count = LASZIP_RECORD.unpack_from(record)
    items = (
        list(struct.iter_unpack("<HH2x", record[LASZIP_RECORD.size :][: 6 * count]))
        if len(record) == LASZIP_RECORD.size + 6 * count
        else []
    )
    layered = [kind in LAYERS for kind, _ in items]
    if chunk_size == 0 or sum(width for _, width in items) != point_size or all(layered) != any(layered):
        raise damaged
    if compressor == UNCHUNKED and not any(layered):
        return
    file.seek(start)
    table = int.from_bytes(_exactly(file, 8), "little", signed=True)
    if table == -1:  # written as a stream: the place of the table stands at the end
        file.seek(size - 8)
        table = int.from_bytes(_exactly(file, 8), "little", signed=True)
    if not start + 8 <= table <= size - 8:
        raise damaged
    file.seek(table + 4)
    chunks = int.from_bytes(_exactly(file, 4), "little")
    if chunks * point_size > table - start or chunks * chunk_size < points:  # each begins with one point as it is
        raise damaged
    if all(layered):
        layers, at = sum(width if kind == EXTRA_BYTES else LAYERS[kind] for kind, width in items), start + 8
        for _ in range(chunks):  # one point, the number of points, the size of each layer, the layers
            if at == table:  # some writers end with a chunk of nothing
                break
            file.seek(at + point_size)
            count, *sizes = np.frombuffer(_exactly(file, 4 * (1 + layers)), "<u4").tolist()
            points -= count
            at += point_size + 4 * (1 + layers) + sum(sizes)
            if at > table:
                raise damaged
        if points > 0:
            raise damaged


def _crs(records: dict[int, bytes]) -> str | None:
    """WKT as it stands, else the EPSG code among the GeoTIFF keys, else their text."""
    if wkt := _text(records.get(WKT, b"")):
        return wkt
    keys = np.frombuffer(records.get(GEO_KEYS, b"")[: len(records.get(GEO_KEYS, b"")) // 8 * 8], "<u2").reshape(-1, 4)[1:]
    codes = {int(key): int(value) for key, place, _, value in keys if place == 0}
    code = codes.get(PROJECTED, codes.get(GEOGRAPHIC, USER_DEFINED))
    return f"EPSG:{code}" if 0 < code < USER_DEFINED else _text(records.get(GEO_TEXT, b"")) or None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").rstrip("\0 ").strip()
