"""E57 as pye57's library writes it: poses, coordinates of both kinds, invalid points; files that lie; pye57 missing."""

import importlib.util
import sys

import numpy as np
import pytest
from e57_files import rewrite_xml, write_e57

from surfrecon.errors import InputError, MissingDependencyError
from surfrecon.io import e57_process, read_scan

HALF = np.sqrt(0.5)
TURN = ((HALF, 0, 0, HALF), (8e5, 5.8e6, 100))  # x becomes y, then far away
AXES = ("cartesianX", "cartesianY", "cartesianZ")
PLACES = {"rowIndex": np.arange(40), "columnIndex": np.zeros(40, int)}


@pytest.fixture
def points(rng) -> np.ndarray:
    return rng.uniform(-9, 9, (40, 3))


def cartesian(points: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(AXES, points.T))


def refused(path, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read_scan(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_several_scans_stand_where_their_poses_put_them_and_know_their_scanner(tmp_path, points):
    scans = [cartesian(points) | PLACES, cartesian(points) | {"pose": TURN}]
    cloud = read_scan(write_e57(tmp_path / "scan.e57", scans))
    turned = np.column_stack([-points[:, 1], points[:, 0], points[:, 2]]) + TURN[1]
    assert np.abs(cloud.points - np.vstack([points, turned])).max() < 1e-9
    assert np.abs(cloud.origins - np.repeat([[0, 0, 0], TURN[1]], 40, axis=0)).max() < 1e-9
    assert cloud.scalars["scan"].tolist() == [0] * 40 + [1] * 40 and [*cloud.scalars] == ["scan"]


def test_a_scan_of_unknown_making_has_no_origin(tmp_path, points):
    shifted = {"pose": ((1, 0, 0, 0), (5, 6, 7))}  # how programs store clouds of many scans far from zero
    cloud = read_scan(write_e57(tmp_path / "scan.e57", [cartesian(points) | shifted]))
    assert cloud.origins is None and np.abs(cloud.points - points - [5, 6, 7]).max() < 1e-12 and not cloud.scalars


def test_spherical_coordinates_are_about_the_scanner(tmp_path, points):
    reach = np.linalg.norm(points, axis=1)
    angles = {"sphericalAzimuth": np.arctan2(points[:, 1], points[:, 0]), "sphericalElevation": np.arcsin(points[:, 2] / reach)}
    cloud = read_scan(write_e57(tmp_path / "scan.e57", [{"sphericalRange": reach, **angles}]))
    assert np.abs(cloud.points - points).max() < 1e-12 and (cloud.origins == 0).all()


def test_invalid_points_are_left_out_with_all_that_they_carry(tmp_path, points, caplog):
    state = np.arange(40) % 3
    scan = cartesian(points) | {"cartesianInvalidState": state, "intensity": np.arange(40) / 40}
    with caplog.at_level("INFO", "surfrecon"):
        cloud = read_scan(write_e57(tmp_path / "scan.e57", [scan]))
    assert np.array_equal(cloud.points, points[state == 0]) and "left out 26 of 40" in caplog.text
    assert np.allclose(cloud.scalars["intensity"], np.flatnonzero(state == 0) / 40)


@pytest.mark.parametrize("limit, scale", [(255, 255), (1000, 1000), (None, 65535)])
def test_colours_are_scaled_by_their_limits_or_else_by_their_range(tmp_path, points, limit, scale):
    values = np.round(np.linspace(0, 1, 40) * (limit or 65535)).astype(int)
    scan = cartesian(points) | {"colorRed": values, "colorGreen": values // 2, "colorBlue": values * 0}
    cloud = read_scan(write_e57(tmp_path / "scan.e57", [scan | ({"limit": limit} if limit else {})]))
    assert np.allclose(cloud.colors, np.column_stack([values, values // 2, values * 0]) / scale, atol=1e-6)


def test_normals_turn_with_their_scan(tmp_path, points):
    normals = {"nor:normalX": np.full(40, 0.6), "nor:normalY": np.zeros(40), "nor:normalZ": np.full(40, 0.8)}
    cloud = read_scan(write_e57(tmp_path / "scan.e57", [cartesian(points) | normals | {"pose": TURN}]))
    assert np.allclose(cloud.normals, [0, 0.6, 0.8], atol=1e-7)


def test_the_coordinate_system_is_the_text_of_the_file(tmp_path, points):
    assert read_scan(write_e57(tmp_path / "scan.e57", [cartesian(points)], crs="EPSG:25832")).crs == "EPSG:25832"
    assert read_scan(write_e57(tmp_path / "other.e57", [cartesian(points)])).crs is None


def test_attributes_that_some_scans_lack_are_dropped_and_so_are_scans_without_points(tmp_path, points):
    scans = [cartesian(points) | PLACES | {"intensity": np.ones(40)}, cartesian(points)]
    scans.append(cartesian(points) | {"cartesianInvalidState": np.full(40, 2)})
    cloud = read_scan(write_e57(tmp_path / "scan.e57", scans))
    assert len(cloud) == 80 and cloud.origins is None and [*cloud.scalars] == ["scan"]


def test_a_scan_of_invalid_points_alone_is_refused(tmp_path, points):
    write_e57(tmp_path / "scan.e57", [cartesian(points) | {"cartesianInvalidState": np.full(40, 2)}])
    refused(tmp_path / "scan.e57", "none of its 1 scans holds a valid point")


def test_real_scan(data):
    path = data("coloured/pump_tls.e57")
    pye57 = pytest.importorskip("pye57", reason="reads the file")
    with pye57.E57(str(path)) as file:
        other = file.read_scan(0, intensity=True, colors=True, ignore_missing_fields=True)
    cloud = read_scan(path)
    assert len(cloud) == 155_201 and np.array_equal(cloud.points, np.column_stack([other[name] for name in AXES]))
    assert np.allclose(cloud.colors * 255, np.column_stack([other[f"color{name}"] for name in ("Red", "Green", "Blue")]), atol=1e-4)
    assert np.array_equal(cloud.scalars["intensity"], other["intensity"]) and (cloud.origins == 0).all()


def test_without_pye57_the_install_line_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "scan.e57").write_bytes(b"ASTM-E57")
    with pytest.raises(MissingDependencyError, match=r"pip install surfrecon\[e57\]") as caught:
        read_scan(tmp_path / "scan.e57")
    assert caught.value.exit_code == 4


# Lies. Where the XML part is rewritten its checksums are right.

XML = {
    "a billion points": (b'recordCount="40"', b'recordCount="99999999999"', "promises 99999999999 points of 192 bits"),
    "a few points more": (b'recordCount="40"', b'recordCount="44"', "promises 44 points, which do not decode"),
    "fewer points than none": (b'recordCount="40"', b'recordCount="-1"', "promises -1 points"),
    "points that take no bits": (b'<cartesianX type="Float"/>', b'<cartesianX type="Integer" minimum="0" maximum="0"/>', "decode|damaged"),
    "points elsewhere": (b'points type="CompressedVector" fileOffset="48"', b'points type="CompressedVector" fileOffset="900"', "decode"),
    "points behind the end": (b'fileOffset="48"', b'fileOffset="999999999"', "which do not decode"),
    "no coordinates": (b"<cartesianZ ", b"<cartesianQ ", "neither Cartesian nor spherical"),
    "a bomb of entities": (b"<e57Root", b'<!DOCTYPE a [<!ENTITY b "b">]><e57Root', "defines entities"),
    "no XML": (b"</e57Root>", b"</e57Boot>", "XML part is damaged"),
    "a quaternion of nothing": (b'<w type="Float">1</w>', b'<w type="Float">0</w>', "quaternion of its scan 0 must be finite and not zero"),
    "a place that is no number": (b'<w type="Float">1</w>', b'<w type="Float">nan</w>', "number nan"),
}


@pytest.mark.parametrize("old, new, reason", XML.values(), ids=XML.keys())
def test_a_lying_file_is_refused(tmp_path, points, old, new, reason):
    path = write_e57(tmp_path / "scan.e57", [cartesian(points) | {"pose": ((1, 0, 0, 0), (5, 6, 7))}])
    if b"cartesianX" in old:
        for name in AXES[1:]:
            rewrite_xml(path, old.replace(b"X", name[-1:].encode()), new.replace(b"X", name[-1:].encode()))
    rewrite_xml(path, old, new)
    refused(path, reason)


def test_a_file_cut_or_changed_anywhere_is_refused(tmp_path, points):
    path = write_e57(tmp_path / "scan.e57", [cartesian(points)])
    whole = path.read_bytes()
    for size in (0, 5, 47, 48, 1023, 1024, len(whole) - 1024, len(whole) - 1):
        path.write_bytes(whole[:size])
        refused(path, "it")
    for at in (0, 9, 20, 30, 40, 600):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
        refused(path, "it")


ENDS = {"dies": ("import os; os.abort()", "the decoder ended"), "hangs": ("import time; time.sleep(99)", "took too long")}


@pytest.mark.parametrize("start, reason", ENDS.values(), ids=ENDS.keys())
def test_a_decoder_that_dies_or_hangs_ends_in_a_sentence(tmp_path, points, start, reason, monkeypatch):
    path = write_e57(tmp_path / "scan.e57", [cartesian(points)])
    monkeypatch.setattr(e57_process, "START", start)
    monkeypatch.setattr(e57_process, "PATIENCE", 2.0)
    refused(path, reason)


@pytest.mark.skipif(sys.platform != "linux", reason="only there memory is limited")
def test_a_decoder_has_little_memory(tmp_path, points, monkeypatch):
    path = write_e57(tmp_path / "scan.e57", [cartesian(points)])
    hungry = "import numpy; from surfrecon.io import e57_points as e; e._limit_memory(); numpy.ones(2**31)"
    monkeypatch.setattr(e57_process, "START", hungry)
    refused(path, "Unable to allocate")
