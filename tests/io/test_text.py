"""Points as text: separators, decimal commas, headers and what stands in columns that nothing names."""

import logging

import numpy as np
import pytest

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.io import read_scan, write_scan

POINTS = [[0.5, 1.25, 3], [-2, 4, 5.75], [1e-3, -7.5, 800000.125]]


def scan_of(tmp_path, text: str | bytes, suffix: str = "xyz") -> PointCloud:
    path = tmp_path / f"scan.{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_scan(path)


def lines(rows, separator: str = " ", decimal: str = ".", end: str = "\n") -> str:
    return "".join(separator.join(f"{x:.9g}".replace(".", decimal) for x in row) + end for row in rows)


@pytest.mark.parametrize("suffix", ["xyz", "XYZ", "txt", "asc", "csv", "pts"])
@pytest.mark.parametrize("separator", [" ", "\t", "  \t ", ",", ", ", ";", " ; "])
def test_any_separator_under_any_suffix(tmp_path, suffix, separator):
    assert scan_of(tmp_path, lines(POINTS, separator), suffix).points.tolist() == POINTS


@pytest.mark.parametrize("separator", [" ", "\t", ";", "; "])
@pytest.mark.parametrize("first", [[], [[1, 2, 3]]], ids=["", "whole numbers first"])
def test_decimal_commas(tmp_path, separator, first):
    assert scan_of(tmp_path, lines(first + POINTS, separator, ",")).points.tolist() == first + POINTS


@pytest.mark.parametrize("separator", [", ", ",\t", " , "])
def test_decimal_commas_between_separating_ones(tmp_path, separator):
    assert scan_of(tmp_path, lines(POINTS, separator, ","), "csv").points.tolist() == POINTS


def test_whole_numbers_between_commas_are_three_coordinates(tmp_path):
    assert scan_of(tmp_path, "1,2,3\n4,5,6\n", "csv").points.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", " \n", "\n\n", " # a note, with 1 comma\n", ";\n", "\t\n"])
def test_line_ends_blank_lines_notes_and_trailing_separators(tmp_path, end):
    separator = ";" if end[0] == ";" else " "
    text = "// made by a test\n\n# twice\n" + lines(POINTS, separator, end=end)
    assert scan_of(tmp_path, text).points.tolist() == POINTS
    assert scan_of(tmp_path, text.rstrip()).points.tolist() == POINTS  # no line end at the end
    assert scan_of(tmp_path, b"\xef\xbb\xbf" + text.encode()).points.tolist() == POINTS  # a byte order mark


@pytest.mark.parametrize("text", ["1 2 3\n", "1,2,3", "1;2;3\r\n"])
def test_one_point(tmp_path, text):
    assert scan_of(tmp_path, text).points.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize("columns", range(3, 11))
def test_columns_of_no_known_range_become_numbered_fields(tmp_path, rng, columns):
    table = np.round(rng.uniform(300, 400, (20, columns)), 3)
    cloud = scan_of(tmp_path, lines(table))
    assert np.array_equal(cloud.points, table[:, :3]) and cloud.normals is None and cloud.colors is None
    assert [*cloud.scalars] == [f"column_{i + 1}" for i in range(3, columns)]
    assert np.array_equal([*cloud.scalars.values()], table[:, 3:].T) or columns == 3


NORMALS, COLORS, FIELD = [[0.6, 0, 0.8], [0, -1, 0], [0, 0, 0]], [[255, 0, 51], [0, 128, 7], [1, 2, 3]], [[1200.5], [0], [31]]


@pytest.mark.parametrize("order", ["n", "c", "nc", "cn", "fn", "fc", "ncf", "cnf", "fnc", "nfc"])
def test_normals_and_colours_are_known_by_their_values_in_any_order(tmp_path, caplog, order):
    table = np.hstack([POINTS, *({"n": NORMALS, "c": COLORS, "f": FIELD}[part] for part in order)])
    with caplog.at_level(logging.INFO, "surfrecon"):
        cloud = scan_of(tmp_path, lines(table))
    assert (cloud.normals is not None) == ("n" in order) and (cloud.colors is not None) == ("c" in order)
    assert "n" not in order or cloud.normals.tolist() == NORMALS
    assert "c" not in order or np.allclose(cloud.colors, np.array(COLORS) / 255, atol=1e-7)
    assert [column.tolist() for column in cloud.scalars.values()] == ([[1200.5, 0, 31]] if "f" in order else [])
    assert ("normals" in caplog.text) == ("n" in order) and ("colors" in caplog.text) == ("c" in order)


def test_classes_and_counts_are_no_colours(tmp_path):
    table = np.hstack([POINTS, [[1, 2, 0], [3, 5, 1], [2, 2, 2]]])
    assert scan_of(tmp_path, lines(table)).colors is None


HEADERS = {
    "comment": ("# x y z nx ny nz red green blue Height\n", " "),
    "CloudCompare": ("//X Y Z Nx Ny Nz R G B Height\n10\n", " "),
    "CSV": ("X,Y,Z,NX,NY,NZ,Red,Green,Blue,Height\n", ","),
    "quoted": ('"x";"y";"z";"nx";"ny";"nz";"red";"green";"blue";"Height"\n', ";"),
    "words over commas": ("x y z nx ny nz red green blue Height\n", ","),
    "survey": ("Easting\tNorthing\tElevation\tNormal_X\tNormal_Y\tNormal_Z\tR\tG\tB\tHeight\n", "\t"),
    "another comment after it": ("# x y z nx ny nz red green blue Height\n#\n", " "),
}


@pytest.mark.parametrize("header, separator", HEADERS.values(), ids=HEADERS.keys())
def test_a_header_names_the_columns(tmp_path, rng, header, separator):
    table = np.round(rng.uniform(1, 200, (10, 10)), 3)
    cloud = scan_of(tmp_path, header + lines(table, separator))
    assert np.array_equal(cloud.points, table[:, :3]) and [*cloud.scalars] == ["Height"]
    assert np.allclose(cloud.normals, table[:, 3:6] / np.linalg.norm(table[:, 3:6], axis=1, keepdims=True))
    assert np.allclose(cloud.colors, table[:, 6:9] / 255) and cloud.scalars["Height"].tolist() == table[:, 9].tolist()


def test_a_header_in_another_order_than_ours(tmp_path):
    cloud = scan_of(tmp_path, "z,# of returns,y,x\n3,9,2,1\n6,8,5,4\n", "csv")
    assert cloud.points.tolist() == [[1, 2, 3], [4, 5, 6]] and cloud.scalars["# of returns"].tolist() == [9, 8]


def test_a_column_without_a_name_is_not_taken_for_x(tmp_path):
    cloud = scan_of(tmp_path, ",x,y,z\n0,1.5,2.5,3.5\n1,4.5,5.5,6.5\n", "csv")  # as pandas writes its row numbers
    assert cloud.points.tolist() == [[1.5, 2.5, 3.5], [4.5, 5.5, 6.5]] and cloud.scalars["column_1"].tolist() == [0, 1]


def test_colours_a_hair_above_one_are_not_taken_for_dark_bytes(tmp_path):
    cloud = scan_of(tmp_path, "# x y z red green blue\n0 0 0 1.0000001 0.5 0\n0 0 1 0.25 0.5 1\n")
    assert cloud.colors.tolist() == [[1, 0.5, 0], [0.25, 0.5, 1]]


def test_leica_pts_has_a_count_and_an_intensity(tmp_path):
    cloud = scan_of(tmp_path, "2\n1 2 3 -1200 255 0 51\n4 5 6 700 0 0 0\n", "pts")
    assert cloud.points.tolist() == [[1, 2, 3], [4, 5, 6]] and cloud.scalars["intensity"].tolist() == [-1200, 700]
    assert np.allclose(cloud.colors, [[1, 0, 0.2], [0, 0, 0]])


@pytest.mark.parametrize("columns", range(3, 11))
def test_a_pts_file_of_any_width_keeps_all_columns(tmp_path, rng, columns):
    parts = [rng.uniform(300, 400, (9, 3)), rng.integers(-2048, 2047, (9, 1)), rng.integers(0, 256, (9, 3)), np.tile([0.6, 0, 0.8], (9, 1))]
    widths = {3: [0], 4: [0, 1], 6: [0, 2], 7: [0, 1, 2], 9: [0, 2, 3], 10: [0, 1, 2, 3]}
    table = np.hstack([parts[i] for i in widths[columns]]) if columns in widths else rng.uniform(300, 400, (9, columns))
    table = np.round(table, 3)
    cloud = scan_of(tmp_path, f"{len(table)}\n" + lines(table), "pts")
    assert np.array_equal(cloud.points, table[:, :3])
    assert ("intensity" in cloud.scalars) == (columns in (4, 7, 10)) and (cloud.normals is not None) == (columns in (9, 10))
    assert (cloud.colors is not None) == (columns in (6, 7, 9, 10))
    if columns in (5, 8):
        assert [*cloud.scalars] == [f"column_{i + 1}" for i in range(3, columns)]


@pytest.mark.parametrize("separator", [" ", ";", "\t"])
def test_several_scans_each_behind_its_count_are_one_with_a_field_that_tells_them_apart(tmp_path, separator, caplog):
    rows = [[1, 2, 3, -7], [4, 5, 6, 8], [7, 8, 9, 10]]
    text = f"2\n{lines(rows[:2], separator)}0\n\n1\n{lines(rows[2:], separator)}"
    with caplog.at_level(logging.INFO, "surfrecon"):
        cloud = scan_of(tmp_path, text, "pts")
    assert cloud.points.tolist() == [row[:3] for row in rows] and cloud.scalars["intensity"].tolist() == [-7, 8, 10]
    assert cloud.scalars["scan"].tolist() == [0, 0, 2] and "3 scans" in caplog.text


def test_the_scan_whose_count_is_wrong_is_named(tmp_path):
    with pytest.raises(InputError, match="scan 2 promises 2 points, but 1 follow"):
        scan_of(tmp_path, "1\n1 2 3\n2\n4 5 6\n1\n7 8 9\n", "pts")


def test_points_that_are_not_finite_are_dropped_with_one_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "surfrecon"):
        cloud = scan_of(tmp_path, "1 2 3\nnan 0 0\n4 5 6\n0 -inf 0\n7 8 9\n")
    assert cloud.points.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert [record.levelname for record in caplog.records] == ["WARNING"] and "2 of 5" in caplog.text


BAD = {
    "empty": ("", "no line of numbers"),
    "only blanks and comments": ("\n# x y z\n\n", "no line of numbers"),
    "prose": ("this is\nno scan\n" * 300, "no line of numbers among its first 200"),
    "count alone": ("5\n", "no line of numbers"),
    "two columns": ("1 2\n3 4\n", "2 numbers: expected x, y and z"),
    "a line too short": ("1 2 3\n4 5\n", "not alike .*row 2"),
    "a line too long": ("1 2 3\n4 5 6 7\n", "not alike .*row 2"),
    "a word": ("1 2 3\n4 five 6\n", "'five'"),
    "a gap": ("1,2,3\n4,,6\n", "not alike"),
    "a second header": ("1 2 3\nx y z\n4 5 6\n", "not alike"),
    "too few for its count": ("3\n1 2 3\n4 5 6\n", "promises 3 points, but 2 follow"),
    "too many for its count": ("1\n1 2 3\n4 5 6\n", "promises 1 points, but 2 follow"),
    "an absurd count": ("99999999999999999999\n1 2 3\n", "promises 99999999999999999999 points, but 1 follow"),
    "zero bytes": (b"1 2 3\0\n4 5 6\n", "no text file"),
    "UTF-16": ("1 2 3\n".encode("utf-16"), "no text file"),
    "an endless line": ("1 " * 2**16, "no text file"),
    "all NaN": ("nan nan nan\n" * 3, "3 of its 3 points"),
}


@pytest.mark.parametrize("text, reason", BAD.values(), ids=BAD.keys())
def test_a_bad_file_is_refused_in_one_sentence_that_names_it(tmp_path, text, reason):
    with pytest.raises(InputError, match=reason) as caught:
        scan_of(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'scan.xyz'}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [1.0, 0.7])
def test_a_count_tells_where_a_file_was_cut_short(tmp_path, rng, keep):
    text = "100\n" + lines(rng.uniform(-9, 9, (100, 3)), "\t")
    end = text.rfind("\n", 0, int(keep * len(text))) + 1
    if keep == 1:
        assert len(scan_of(tmp_path, text, "pts")) == 100
    else:
        with pytest.raises(InputError, match="cut short"):
            scan_of(tmp_path, text[:end], "pts")


def test_scan_round_trip_keeps_everything(tmp_path, cloud):
    assert write_scan(cloud, tmp_path / "scan.xyz") == []
    back = read_scan(tmp_path / "scan.xyz")
    assert np.array_equal(back.points, cloud.points) and np.array_equal(back.origins, cloud.origins) and back.crs == cloud.crs
    assert np.abs(back.normals - cloud.normals).max() < 1e-7 and np.array_equal(back.colors, cloud.colors)
    assert all(np.array_equal(back.scalars[name], cloud.scalars[name]) for name in cloud.scalars)


def test_numpy_reads_what_we_write(tmp_path, cloud):
    write_scan(cloud, tmp_path / "scan.xyz")
    table = np.loadtxt(tmp_path / "scan.xyz")
    assert np.array_equal(table[:, :3], cloud.points) and np.array_equal(table[:, 6:9], np.round(cloud.colors * 255))


def test_a_coordinate_system_may_stand_before_or_behind_the_names(tmp_path):
    for header in ("# crs EPSG:25832\n# x y z height\n", "# x y z height\n# crs EPSG:25832\n"):
        cloud = scan_of(tmp_path, header + "1 2 3 4\n5 6 7 8\n")
        assert cloud.crs == "EPSG:25832" and cloud.scalars["height"].tolist() == [4, 8]
