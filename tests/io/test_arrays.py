"""NPY and NPZ: tables, records and named arrays; nothing unpickled, nothing believed."""

import logging
import pickle
import zipfile

import numpy as np
import pytest

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.io import read_scan, write_scan


class Trap:
    """Unpickling it runs code: here, code that fails the test."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


def npy_of(tmp_path, array: np.ndarray, **options) -> PointCloud:
    np.save(tmp_path / "scan.npy", array, **options)
    return read_scan(tmp_path / "scan.npy")


def npz_of(tmp_path, **arrays) -> PointCloud:
    np.savez(tmp_path / "scan.npz", **arrays)
    return read_scan(tmp_path / "scan.npz")


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", ">f4", "<f2", "<i4", ">i2", "u1", "<i8", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_table_of_any_type_and_order(tmp_path, rng, dtype, order):
    table = np.asarray(rng.integers(0, 100, (30, 3)), dtype, order=order)
    cloud = npy_of(tmp_path, table)
    assert cloud.points.dtype == np.float64 and np.array_equal(cloud.points, table.astype(float))


def test_columns_of_a_table_are_known_by_their_values(tmp_path, cloud):
    colors = np.round(cloud.colors * 255)
    back = npy_of(tmp_path, np.column_stack([cloud.points, cloud.normals, colors, cloud.scalars["intensity"]]))
    assert np.array_equal(back.points, cloud.points) and np.array_equal(back.normals, cloud.normals)
    assert np.array_equal(back.colors, cloud.colors) and np.array_equal(back.scalars["column_10"], cloud.scalars["intensity"])


def test_named_fields_of_records_keep_their_types(tmp_path):
    kinds = [("label", ">i2"), ("z", "<f8"), ("y", ">f8"), ("x", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("time", ">f8")]
    records = np.array([(-7, 3, 2, 1, 255, 0, 51, 0.1), (9, 6, 5, 4, 0, 0, 0, 1e300)], kinds)
    cloud = npy_of(tmp_path, records)
    assert cloud.points.tolist() == [[1, 2, 3], [4, 5, 6]] and np.allclose(cloud.colors, [[1, 0, 0.2], [0, 0, 0]])
    assert {name: (column.dtype, column.tolist()) for name, column in cloud.scalars.items()} == {
        "label": (np.dtype("i2"), [-7, 9]),
        "time": (np.dtype("f8"), [0.1, 1e300]),
    }
    assert npy_of(tmp_path, records.reshape(2, 1)).points.tolist() == cloud.points.tolist()


def test_fields_that_are_not_one_number_each_are_left_out_and_the_log_says_so(tmp_path, caplog):
    records = np.zeros(4, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("name", "U5"), ("rows", "f4", 2), ("day", "M8[D]")])
    with caplog.at_level(logging.INFO, "surfrecon"):
        assert npy_of(tmp_path, records).scalars == {}
    assert "day, name, rows" in caplog.text


BAD_TABLES = {
    "one dimension": (np.zeros(9), r"shape \(9,\)"),
    "three dimensions": (np.zeros((2, 3, 3)), r"shape \(2, 3, 3\)"),
    "two columns": (np.zeros((5, 2)), r"shape \(5, 2\)"),
    "a single number": (np.zeros(()), r"shape \(\)"),
    "no points": (np.zeros((0, 3)), "no points"),
    "complex": (np.zeros((4, 3), complex), "complex128"),
    "text": (np.full((4, 3), "1.0"), "<U3"),
    "records without x": (np.zeros(4, [("xyz", "f4", 3), ("t", "f8")]), "no fields x, y and z .*xyz, t"),
    "empty records": (np.zeros(0, [("x", "f4"), ("y", "f4"), ("z", "f4")]), "no points"),
    "half NaN": (np.array([[1, 2, 3], [np.nan] * 3]), "1 of its 2 points"),
}


@pytest.mark.parametrize("table, reason", BAD_TABLES.values(), ids=BAD_TABLES.keys())
def test_a_bad_table_is_refused_in_one_sentence_that_names_it(tmp_path, table, reason):
    with pytest.raises(InputError, match=reason) as caught:
        npy_of(tmp_path, table)
    assert str(caught.value).startswith(f"{tmp_path / 'scan.npy'}: ") and "\n" not in str(caught.value)


def test_objects_are_refused_without_being_unpickled(tmp_path):
    trap = np.array([[Trap(), 0, 0]] * 4, object)
    with pytest.raises(InputError, match="Python objects"):
        npy_of(tmp_path, trap, allow_pickle=True)
    with pytest.raises(InputError, match="Python objects"):
        npz_of(tmp_path, points=np.zeros((4, 3)), label=trap)
    records = np.array([(0, 0, 0, Trap())], [("x", "f4"), ("y", "f4"), ("z", "f4"), ("o", object)])
    with pytest.raises(InputError, match="Python objects"):
        npy_of(tmp_path, records, allow_pickle=True)
    (tmp_path / "scan.npy").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match="no NPY file"):
        read_scan(tmp_path / "scan.npy")


def test_a_file_cut_anywhere_is_refused(tmp_path, rng):
    np.save(tmp_path / "whole.npy", rng.random((20, 3)))
    whole = (tmp_path / "whole.npy").read_bytes()
    for size in (0, 3, 6, 8, 9, 10, 60, 127, 128, 129, len(whole) - 1):
        (tmp_path / "scan.npy").write_bytes(whole[:size])
        with pytest.raises(InputError):
            read_scan(tmp_path / "scan.npy")


def npy_header(shape: str, kind: str = "<f8", version: bytes = b"\x01\x00") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode()


LIES = ["(1000000000000, 3)", "(2305843009213693953, 3)", "(-1, 3)", "(9, -3)", "(10, 3)"]


@pytest.mark.parametrize("shape", LIES)
def test_a_lying_shape_is_refused_before_memory_is_taken(tmp_path, shape):
    lie = npy_header(shape) + bytes(9 * 3 * 8)
    (tmp_path / "scan.npy").write_bytes(lie)
    with pytest.raises(InputError, match="promises an array of shape"):
        read_scan(tmp_path / "scan.npy")
    with zipfile.ZipFile(tmp_path / "scan.npz", "w") as archive:
        archive.writestr("points.npy", lie)
    with pytest.raises(InputError, match="promises an array of shape"):
        read_scan(tmp_path / "scan.npz")


def test_an_unknown_version_of_the_format_is_named(tmp_path):
    (tmp_path / "scan.npy").write_bytes(npy_header("(1, 3)", version=b"\x09\x01") + bytes(24))
    with pytest.raises(InputError, match=r"version 9\.1"):
        read_scan(tmp_path / "scan.npy")


def test_an_archive_that_inflates_beyond_reason_is_refused_before_it_does(tmp_path):
    with zipfile.ZipFile(tmp_path / "scan.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", npy_header("(1000000, 3)") + bytes(24_000_000))
    assert (tmp_path / "scan.npz").stat().st_size < 30_000
    with pytest.raises(InputError, match="inflate"):
        read_scan(tmp_path / "scan.npz")


def test_scan_round_trip_keeps_every_bit(tmp_path, cloud):
    assert write_scan(cloud, tmp_path / "scan.npz") == []
    back = read_scan(tmp_path / "scan.npz")
    for name in ("points", "normals", "colors", "origins"):
        assert getattr(back, name).dtype == getattr(cloud, name).dtype and np.array_equal(getattr(back, name), getattr(cloud, name))
    assert back.scalars.keys() == cloud.scalars.keys() and back.crs == cloud.crs
    for name, column in cloud.scalars.items():
        assert back.scalars[name].dtype == column.dtype and np.array_equal(back.scalars[name], column)


def test_the_same_scan_gives_the_same_bytes_and_numpy_reads_them(tmp_path, cloud):
    write_scan(cloud, tmp_path / "one.npz")
    write_scan(read_scan(tmp_path / "one.npz"), tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz", allow_pickle=False) as other:
        assert np.array_equal(other["points"], cloud.points) and str(other["crs"]) == cloud.crs


def test_fields_named_like_our_arrays_do_not_replace_them(tmp_path):
    fields = {"points": np.array([7, 8]), "crs": np.array([True, False]), "a/b": np.array([1.5, 2])}
    write_scan(PointCloud(np.eye(3)[:2], scalars=fields), tmp_path / "scan.npz")
    back = read_scan(tmp_path / "scan.npz")
    assert np.array_equal(back.points, np.eye(3)[:2]) and back.crs is None
    assert {name: column.tolist() for name, column in back.scalars.items()} == {
        "scalar_points": [7, 8],
        "scalar_crs": [True, False],
        "a_b": [1.5, 2],
    }


def test_a_compressed_archive_and_what_has_no_place_in_a_scan(tmp_path, caplog):
    points = np.arange(12.0).reshape(4, 3)
    np.savez_compressed(tmp_path / "scan.npz", points=points, label=np.arange(4, dtype=">i8"), pose=np.eye(4), names=np.full(4, "a"))
    with caplog.at_level(logging.INFO, "surfrecon"):
        cloud = read_scan(tmp_path / "scan.npz")
    assert np.array_equal(cloud.points, points) and cloud.scalars["label"].tolist() == [0, 1, 2, 3] and "names, pose" in caplog.text


BAD_ARRAYS = {
    "no points": ({"xyz": np.zeros((4, 3))}, "no array named 'points' .*xyz"),
    "flat points": ({"points": np.zeros(12)}, r"'points' has shape \(12,\)"),
    "two coordinates": ({"points": np.zeros((4, 2))}, r"'points' has shape \(4, 2\)"),
    "another number of normals": ({"points": np.zeros((4, 3)), "normals": np.zeros((5, 3))}, r"'normals' has shape \(5, 3\)"),
    "colours in words": ({"points": np.zeros((4, 3)), "colors": np.full((4, 3), "red")}, "'colors' has .*<U3"),
    "empty": ({"points": np.zeros((0, 3))}, "no points"),
}


@pytest.mark.parametrize("arrays, reason", BAD_ARRAYS.values(), ids=BAD_ARRAYS.keys())
def test_bad_arrays_are_refused_in_one_sentence_that_names_the_file(tmp_path, arrays, reason):
    with pytest.raises(InputError, match=reason) as caught:
        npz_of(tmp_path, **arrays)
    assert str(caught.value).startswith(f"{tmp_path / 'scan.npz'}: ") and "\n" not in str(caught.value)


def test_an_archive_cut_short_or_changed_is_refused(tmp_path, cloud):
    write_scan(cloud, tmp_path / "scan.npz")
    whole = (tmp_path / "scan.npz").read_bytes()
    at = whole.index(cloud.points.tobytes()) + 1000
    for broken in (b"", whole[:100], whole[: len(whole) // 2], whole[:-1], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]):
        (tmp_path / "scan.npz").write_bytes(broken)
        with pytest.raises(InputError, match="damaged or no NPZ file"):
            read_scan(tmp_path / "scan.npz")
