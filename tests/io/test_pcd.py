"""PCD as Open3D writes it and as a slow loop reads it, and headers that lie."""

import struct

import numpy as np
import pytest

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.io import read_scan
from surfrecon.io.lzf import decompressed

FIELDS = [("x", "f4"), ("y", "f4"), ("z", "f4"), ("rgb", "f4"), ("normal_x", "f4"), ("normal_y", "f4"), ("normal_z", "f4")]
FIELDS += [("intensity", "u2"), ("label", "i1"), ("time", "f8")]
DATA = pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])


@pytest.fixture
def rows(rng):
    """300 points with all fields, as records; the bits of rgb hold the colours."""
    table = np.zeros(300, FIELDS)
    for name in "xyz":
        table[name] = rng.uniform(-9, 9, 300)
    normals = rng.normal(size=(300, 3))
    for name, column in zip("xyz", (normals / np.linalg.norm(normals, axis=1, keepdims=True)).T):
        table[f"normal_{name}"] = column
    table["rgb"] = rng.integers(0, 2**23, 300).astype("<u4").view("<f4")
    table["intensity"], table["label"], table["time"] = rng.integers(0, 65536, 300), rng.integers(-5, 5, 300), 1e9 + rng.random(300)
    return table


def lzf(data: bytes) -> bytes:
    """The same bytes in LZF: copies of what a table of triples remembers, else as they are."""
    out, literal, seen, at = bytearray(), bytearray(), {}, 0

    def flush():
        for start in range(0, len(literal), 32):
            part = literal[start : start + 32]
            out.append(len(part) - 1)
            out.extend(part)
        literal.clear()

    while at < len(data):
        before, triple = seen.get(data[at : at + 3]), data[at : at + 3]
        seen[triple] = at
        if before is None or at - before > 8192 or len(triple) < 3:
            literal.append(data[at])
            at += 1
            continue
        length = 3
        while length < 264 and at + length < len(data) and data[before + length] == data[at + length]:
            length += 1
        flush()
        back = at - before - 1
        out.extend([(min(length - 2, 7) << 5) | (back >> 8)] + ([length - 9] if length >= 9 else []) + [back & 255])
        at += length
    flush()
    return bytes(out)


def pcd(rows: np.ndarray, data: str, *, height: int = 1, viewpoint: str = "0 0 0 1 0 0 0", points: int | None = None) -> bytes:
    names = rows.dtype.names
    shapes = [(rows.dtype[name].base, int(np.prod(rows.dtype[name].shape))) for name in names]
    points = len(rows) if points is None else points
    header = ["# .PCD v0.7 - Point Cloud Data file format", "VERSION 0.7", f"FIELDS {' '.join(names)}"]
    header += [f"SIZE {' '.join(str(kind.itemsize) for kind, _ in shapes)}", f"TYPE {' '.join(kind.kind.upper() for kind, _ in shapes)}"]
    header += [f"COUNT {' '.join(str(count) for _, count in shapes)}", f"WIDTH {points // height}", f"HEIGHT {height}"]
    header += [f"VIEWPOINT {viewpoint}", f"POINTS {points}", f"DATA {data}", ""]
    if data == "ascii":
        text = lambda row: " ".join(f"{value:.17g}" for name in names for value in np.ravel(row[name]))
        body = "".join(f"{text(row)}\n" for row in rows).encode()
    elif data == "binary":
        body = rows.tobytes()
    else:
        plain = b"".join(np.ascontiguousarray(rows[name]).tobytes() for name in names)
        packed = lzf(plain)
        body = struct.pack("<II", len(packed), len(plain)) + packed
    return "\n".join(header).encode() + body


def scan_of(tmp_path, content: bytes) -> PointCloud:
    (tmp_path / "scan.pcd").write_bytes(content)
    return read_scan(tmp_path / "scan.pcd")


@DATA
def test_every_field_keeps_its_value(tmp_path, rows, data):
    cloud = scan_of(tmp_path, pcd(rows, data))
    assert np.array_equal(cloud.points, np.column_stack([rows[name] for name in "xyz"]))
    bits = rows["rgb"].view("<u4")
    assert np.array_equal(np.round(cloud.colors * 255), np.column_stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255]))
    assert np.allclose(cloud.normals, np.column_stack([rows[f"normal_{name}"] for name in "xyz"]), atol=1e-6)
    assert [*cloud.scalars] == ["intensity", "label", "time"] and cloud.origins is None
    assert all(np.array_equal(cloud.scalars[name], rows[name]) and cloud.scalars[name].dtype == rows.dtype[name] for name in cloud.scalars)


@DATA
@pytest.mark.parametrize("kind", ["u4", "i4", "f4"])
def test_a_colour_with_alpha_is_the_same_colour(tmp_path, data, kind):
    table = np.zeros(3, [*FIELDS[:3], ("rgba", kind)])
    table["x"] = [1, 2, 3]
    table["rgba"] = np.array([0x3CFF0000, 0x3C00FF33, 0x3C000001], "<u4").view(f"<{kind}")
    expected = np.array([[255, 0, 0], [0, 255, 51], [0, 0, 1]]) / 255
    assert np.allclose(scan_of(tmp_path, pcd(table, data)).colors, expected, atol=1e-6)


def test_an_opaque_colour_whose_float_is_no_number_keeps_its_bits(tmp_path):
    table = np.zeros(2, FIELDS[:4])
    table["x"], table["rgb"] = [1, 2], np.array([0xFFFF8000, 0xFF0000FF], "<u4").view("<f4")
    assert np.allclose(scan_of(tmp_path, pcd(table, "binary")).colors * 255, [[255, 128, 0], [0, 0, 255]])


@DATA
def test_the_viewpoint_is_the_origin_of_every_point(tmp_path, rows, data, caplog):
    with caplog.at_level("INFO", "surfrecon"):
        cloud = scan_of(tmp_path, pcd(rows, data, viewpoint="1.5 -2 800000.125 0.7071068 0 0.7071068 0"))
    assert (cloud.origins == [1.5, -2, 800000.125]).all() and "VIEWPOINT" in caplog.text


@DATA
def test_pixels_without_distance_are_left_out_of_an_organised_cloud(tmp_path, rows, data):
    rows["z"][:200] = np.nan
    cloud = scan_of(tmp_path, pcd(rows, data, height=10))
    assert np.array_equal(cloud.points[:, 2], rows["z"][200:]) and np.array_equal(cloud.scalars["label"], rows["label"][200:])


@DATA
def test_fields_of_several_numbers_and_padding_are_passed_over(tmp_path, rng, data, caplog):
    table = np.zeros(20, [("_", "u1", 4), ("x", "f8"), ("histogram", "f4", 7), ("y", "f4"), ("z", "i2"), ("empty", "u1", 0)])
    table["x"], table["y"], table["z"] = 800000.1 + np.arange(20), rng.random(20), np.arange(20)
    with caplog.at_level("INFO", "surfrecon"):
        cloud = scan_of(tmp_path, pcd(table, data))
    assert np.array_equal(cloud.points, np.column_stack([table[name] for name in "xyz"])) and not cloud.scalars
    assert "histogram" in caplog.text


def test_a_short_header_of_an_old_version(tmp_path):
    text = b"COLUMNS x y z\r\nSIZE 4 4 4\r\nTYPE F F F\r\nWIDTH 2\r\nDATA ascii\r\n1 2 3\r\n4 5 6"
    assert scan_of(tmp_path, text).points.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("options", [{"write_ascii": True}, {}, {"compressed": True}], ids=["ascii", "binary", "compressed"])
def test_we_read_what_open3d_writes(tmp_path, rng, options):
    try:
        import open3d
    except (ImportError, OSError) as error:
        pytest.skip(f"open3d does not load: {error}")
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(rng.uniform(-9, 9, (1000, 3)).astype("f4")))
    cloud.normals = open3d.utility.Vector3dVector(np.tile([0.6, 0, 0.8], (1000, 1)))
    cloud.colors = open3d.utility.Vector3dVector(rng.integers(0, 256, (1000, 3)) / 255)
    assert open3d.io.write_point_cloud(str(tmp_path / "scan.pcd"), cloud, **options)
    back = read_scan(tmp_path / "scan.pcd")
    assert np.allclose(back.points, np.asarray(cloud.points), atol=1e-6) and np.allclose(back.normals, [0.6, 0, 0.8], atol=1e-6)
    assert np.allclose(back.colors, np.asarray(cloud.colors), atol=1e-6)


# LZF


@pytest.mark.parametrize("plain", [b"", b"a", b"abc" * 300, bytes(5000), bytes(range(256)) * 40, b"ab" * 5 + b"c"])
def test_lzf_gives_back_what_was_compressed(plain):
    assert decompressed(lzf(plain), len(plain)) == plain


def test_lzf_copies_may_reach_into_themselves():
    assert decompressed(bytes([1]) + b"ab" + bytes([(5 << 5), 1]), 9) == b"ababababa"
    assert decompressed(bytes([0]) + b"x" + bytes([7 << 5, 255, 0]), 265) == b"x" * 265


@pytest.mark.parametrize(
    "packed, size",
    [(b"\x05ab", 6), (b"\x20", 3), (b"\x20\x00", 3), (b"\xe0", 9), (b"\x00a", 2), (b"\x01ab", 1), (b"\x00a\xe0\xff\x00", 20)],
    ids=["run cut", "copy cut", "copy of nothing", "length cut", "too short", "too long", "far too long"],
)
def test_lzf_that_lies_is_refused(packed, size):
    with pytest.raises(InputError, match="don't unpack"):
        decompressed(packed, size)


# Lies

XYZ = "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\n"
BAD = {
    "empty": (b"", "does not end with a line DATA"),
    "binary": (b"\0" * 500, "does not end with a line DATA"),
    "an endless header": (b"# \n" * 500, "does not end|begins|fields"),
    "another file": (b"ply\nformat ascii 1.0\n", "begins with 'ply'"),
    "no fields": (b"VERSION 0.7\nDATA ascii\n", "names 0 fields"),
    "a size too few": (b"FIELDS x y z\nSIZE 4 4\nTYPE F F F\nPOINTS 1\nDATA ascii\n1 2 3\n", "3 fields, 2 sizes"),
    "a type unknown": (b"FIELDS x y z\nSIZE 4 4 4\nTYPE F F Q\nPOINTS 1\nDATA ascii\n1 2 3\n", "field 'z' has type 'Q'"),
    "a float of two bytes": (b"FIELDS x y z\nSIZE 4 4 2\nTYPE F F F\nPOINTS 1\nDATA ascii\n1 2 3\n", "size 2"),
    "no z": (b"FIELDS x y\nSIZE 4 4\nTYPE F F\nPOINTS 1\nDATA ascii\n1 2\n", "no fields x, y and z"),
    "one name twice": (b"FIELDS x y z x\nSIZE 4 4 4 4\nTYPE F F F F\nPOINTS 1\nDATA ascii\n1 2 3 4\n", "one name"),
    "no points": (f"{XYZ}WIDTH 0\nHEIGHT 1\nPOINTS 0\nDATA ascii\n".encode(), "no points"),
    "points that are no number": (f"{XYZ}POINTS -3\nDATA ascii\n1 2 3\n".encode(), "POINTS '-3'"),
    "a shape that contradicts": (f"{XYZ}WIDTH 2\nHEIGHT 2\nPOINTS 1\nDATA ascii\n1 2 3\n".encode(), "2 x 2"),
    "a billion points": (f"{XYZ}POINTS 1000000000\nDATA binary\n".encode() + bytes(12), "promises 1000000000 points"),
    "a billion lines": (f"{XYZ}POINTS 1000000000\nDATA ascii\n1 2 3\n".encode(), "promises 1000000000 points"),
    "a line too few": (f"{XYZ}POINTS 2\nDATA ascii\n1.25 2.25 3.25\n".encode(), "2 points of 3 numbers, but 3 numbers"),
    "a word": (f"{XYZ}POINTS 1\nDATA ascii\n1 two 3\n".encode(), "'two' stands where a number"),
    "another kind": (f"{XYZ}POINTS 1\nDATA zip\n".encode(), "stored as 'zip'"),
    "a viewpoint of two": (f"{XYZ}POINTS 1\nVIEWPOINT 1 2\nDATA ascii\n1 2 3\n".encode(), "VIEWPOINT is '1 2'"),
    "all NaN": (f"{XYZ}WIDTH 1\nHEIGHT 2\nPOINTS 2\nDATA ascii\nnan nan nan\nnan nan nan\n".encode(), "none of its 2 pixels"),
    "a bomb": (f"{XYZ}POINTS 100000000\nDATA binary_compressed\n".encode() + struct.pack("<II", 9, 1200000000) + bytes(9), "cut short"),
    "a packed size that is too large": (f"{XYZ}POINTS 1\nDATA binary_compressed\n".encode() + struct.pack("<II", 99, 12), "cut short"),
}


@pytest.mark.parametrize("content, reason", BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_in_one_sentence_that_names_it(tmp_path, content, reason):
    with pytest.raises(InputError, match=reason) as caught:
        scan_of(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'scan.pcd'}: ") and "\n" not in str(caught.value)


@DATA
def test_a_file_cut_anywhere_is_refused(tmp_path, rows, data):
    whole = pcd(rows, data)
    for size in (*range(0, 300, 17), len(whole) // 2, len(whole) - 99):  # a number cut short in text is a number
        with pytest.raises(InputError):
            scan_of(tmp_path, whole[:size])
