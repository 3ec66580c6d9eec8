"""COPC files of our own making, held against laspy's reader of them: parts and thinned clouds read little, and lose nothing."""

import io
import struct
from pathlib import Path

import laspy
import lazrs
import numpy as np
import pytest

from surfrecon.io import copc, read_scan
from surfrecon.selection import Selection, selected

CENTRE, HALF, STEP = np.array([8e5, 5.8e6, 100.0]), 64.0, 0.001
SPACING, LEVELS = 8.0, 4  # of level 0; levels 0 to 3
HEADER, RECORD, PER_NODE = 375, 54, 60


def write_copc(path: Path, count: int = 6000, seed: int = 0) -> np.ndarray:
    """A file whose octree holds up to PER_NODE points a node, the deepest ones what is left; the points as stored, in its order."""
    generator = np.random.default_rng(seed)
    form = laspy.PointFormat(6)
    points = np.zeros(count, form.dtype())
    for axis in "XYZ":
        points[axis] = generator.integers(-HALF / STEP, HALF / STEP, count)
    points["intensity"], points["classification"] = generator.integers(1, 9999, count), generator.integers(1, 7, count)
    local = np.stack([points[axis] for axis in "XYZ"], axis=1) * STEP + HALF
    level, free, nodes = np.full(count, LEVELS - 1), np.ones(count, bool), {}
    for depth in range(LEVELS):
        cells = np.floor(local / (2 * HALF / 2**depth)).astype(int)
        for cell in np.unique(cells, axis=0):
            rows = np.flatnonzero(free & (cells == cell).all(axis=1))[: PER_NODE if depth < LEVELS - 1 else None]
            free[rows], level[rows] = False, depth
            if len(rows):
                nodes[(depth, *cell.tolist())] = rows
    vlr = lazrs.LazVlr.new_for_compression(6, 0, True)
    body = io.BytesIO()
    compressor = lazrs.LasZipCompressor(body, vlr)
    start = HEADER + RECORD + 160 + RECORD + len(vlr.record_data())
    chunks = [points[rows].tobytes() for rows in nodes.values()]
    compressor.compress_chunks([np.frombuffer(chunk, np.uint8) for chunk in chunks])
    compressor.done()
    data = bytearray(body.getvalue())
    (table,) = struct.unpack_from("<q", data)
    if 0 < table < len(data):
        struct.pack_into("<q", data, 0, table + start)  # the place of the chunk table counts from the beginning of the file
    sizes = [size for _, size in lazrs.read_chunk_table(Whole(start, bytes(data)), vlr) if size]
    offsets = start + 8 + np.cumsum([0, *sizes[:-1]])
    entries = np.array(
        [(*key, offset, size, len(rows)) for (key, rows), offset, size in zip(nodes.items(), offsets, sizes)], copc.ENTRY
    ).tobytes()
    place = start + len(data)
    info = copc.INFO.pack(*CENTRE, HALF, SPACING, place + 60, len(entries), 0, 0) + bytes(88)
    header = laspy.LasHeader(version="1.4", point_format=6)
    head = bytearray(HEADER)
    struct.pack_into("<4s20xBB68xHIIBH", head, 0, b"LASF", 1, 4, HEADER, start, 2, 6 | 0x80, header.point_format.size)
    struct.pack_into("<6d", head, 131, STEP, STEP, STEP, *CENTRE)
    for axis, (low, high) in enumerate(zip(CENTRE - HALF, CENTRE + HALF)):
        struct.pack_into("<2d", head, 179 + 16 * axis, high, low)
    struct.pack_into("<QIQ", head, 235, place, 1, count)
    record = lambda user, number, data: struct.pack("<2x16sHH32x", user, number, len(data)) + data
    extended = struct.pack("<2x16sHQ32x", b"copc", 1000, len(entries)) + entries
    path.write_bytes(head + record(b"copc", 1, info) + record(b"laszip encoded", 22204, bytes(vlr.record_data())) + data + extended)
    return points[np.concatenate(list(nodes.values()))]


class Whole(io.BytesIO):
    """Bytes that stand behind a beginning that isn't there yet."""

    def __init__(self, start: int, data: bytes):
        super().__init__(bytes(start) + data)
        self.seek(start)


@pytest.fixture
def file(tmp_path) -> Path:
    write_copc(tmp_path / "scan.copc.laz")
    return tmp_path / "scan.copc.laz"


def rows(points: np.ndarray) -> np.ndarray:
    return points[np.lexsort(points.T)]


def test_it_is_read_whole_as_any_laz_file(tmp_path):
    points = write_copc(tmp_path / "scan.copc.laz")
    cloud = read_scan(tmp_path / "scan.copc.laz")
    assert np.allclose(cloud.points, np.stack([points[axis] for axis in "XYZ"], axis=1) * STEP + CENTRE, rtol=0, atol=1e-9)
    assert np.array_equal(cloud.scalars["intensity"], points["intensity"])


def test_a_crop_reads_the_chunks_it_needs_and_gives_what_laspy_gives(file, caplog):
    low, high = CENTRE + np.array([[-20, -30, 5], [15, 20, 60]])
    with caplog.at_level("INFO", "surfrecon"):
        part = read_scan(file, Selection(crop=[*low, *high]))
    with laspy.CopcReader.open(str(file)) as reader:
        other = reader.query(laspy.copc.Bounds(low, high))
    assert 100 < len(part) and np.abs(rows(part.points) - rows(np.column_stack([other.x, other.y, other.z]))).max() < 1e-9
    assert np.array_equal(rows(part.points), rows(selected(read_scan(file), Selection(crop=[*low, *high])).points))
    skipped = int(caplog.text.split(" of its 6000 points were not read")[0].split()[-1])
    assert 2000 < skipped < 6000 - len(part)


@pytest.mark.parametrize("voxel, levels", [(100.0, 1), (16.0, 1), (15.0, 2), (8.0, 2), (4.0, 3), (1.0, 4)])
def test_voxels_read_the_levels_that_are_twice_as_fine(file, voxel, levels, monkeypatch):
    read = []
    monkeypatch.setattr("surfrecon.io.selected", lambda cloud, selection: read.append(cloud) or selected(cloud, selection))
    thin = read_scan(file, Selection(voxel=voxel))
    with laspy.CopcReader.open(str(file)) as reader:
        other = reader.query(level=range(0, levels))
    assert len(read[0]) == len(other) and len(thin) <= len(other)


LIES = {  # place in the file, what is put there
    "no octree": (copc.USER_PLACE, b"else"),
    "a centre that is no number": (copc.INFO_PLACE, struct.pack("<d", np.nan)),
    "a root without size": (copc.INFO_PLACE + 24, struct.pack("<d", 0)),
    "pages elsewhere": (copc.INFO_PLACE + 40, struct.pack("<Q", 2**62)),
    "pages without end": (copc.INFO_PLACE + 48, struct.pack("<Q", 2**62)),
    "a page that is none": (copc.INFO_PLACE + 40, struct.pack("<Q", 700)),
}


@pytest.mark.parametrize("at, data", LIES.values(), ids=LIES.keys())
def test_an_octree_that_lies_is_passed_over(file, at, data):
    selection = Selection(crop=[*(CENTRE - 20), *(CENTRE + 20)])
    wanted = read_scan(file, selection)
    content = bytearray(file.read_bytes())
    content[at : at + len(data)] = data
    file.write_bytes(content)
    assert np.array_equal(rows(read_scan(file, selection).points), rows(wanted.points))
