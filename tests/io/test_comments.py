"""What files say of their coordinates: reference system and unit come back from every format that has a place for them."""

import json

import numpy as np
import pytest

from surfrecon.geometry import UNITS, Mesh, PointCloud
from surfrecon.io import MESH_WRITERS, SCAN_WRITERS, read_mesh, read_scan, write_mesh, write_scan
from surfrecon.io.comments import heard, said

CRS = 'PROJCS["two\nlines",UNIT["metre",1]]'
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])


def test_what_is_said_is_heard():
    for unit in (None, *UNITS):
        for crs in (None, CRS, "EPSG:25832"):
            assert heard(said(PointCloud(CORNERS, crs=crs, unit=unit))) == {"crs": crs, "unit": unit}


@pytest.mark.parametrize(
    ("lines", "crs", "unit"),
    [
        (["crs EPSG:25832", "unit mm"], "EPSG:25832", "mm"),
        (["crs 25832"], "25832", None),
        (['unit "parsec"', 'unit "ft"', 'unit "m"'], None, "ft"),
        (["united", "crs", "unit", "the unit mm", ""], None, None),
    ],
)
def test_what_others_write(lines, crs, unit):
    assert heard(lines) == {"crs": crs, "unit": unit}


@pytest.mark.parametrize("suffix", [suffix for suffix in MESH_WRITERS if suffix != ".stl"])
@pytest.mark.parametrize("unit", [None, "m", "cm"])
def test_mesh_keeps_crs_and_unit(suffix, unit, tmp_path):
    write_mesh(Mesh(CORNERS, FACES, crs=CRS, unit=unit), tmp_path / f"mesh{suffix}")
    mesh = read_mesh(tmp_path / f"mesh{suffix}")
    assert mesh.crs == CRS and mesh.unit == (unit or ("mm" if suffix == ".3mf" else None))  # 3MF can't do without
    assert np.array_equal(mesh.vertices, CORNERS)


@pytest.mark.parametrize("suffix", list(SCAN_WRITERS))
@pytest.mark.parametrize("unit", [None, "us-ft"])
def test_scan_keeps_crs_and_unit(suffix, unit, tmp_path):
    write_scan(PointCloud(CORNERS, scalars={"unit": np.arange(4)}, crs=CRS, unit=unit), tmp_path / f"scan{suffix}")
    scan = read_scan(tmp_path / f"scan{suffix}")
    assert (scan.crs, scan.unit) == (CRS, unit) and len(scan.scalars) == 1
    assert np.array_equal(scan.points, CORNERS)


def test_numbers_named_unit_are_a_field_of_npz(tmp_path):
    np.savez(tmp_path / "scan.npz", points=CORNERS, unit=np.arange(4))
    scan = read_scan(tmp_path / "scan.npz")
    assert scan.unit is None and np.array_equal(scan.scalars["unit"], np.arange(4))


def test_stl_says_what_it_leaves_out_and_its_sidecar_tells(tmp_path, caplog):
    write_mesh(Mesh(CORNERS + np.array([8e5 + 0.1, 5.8e6 + 0.1, 0]), FACES, crs=CRS, unit="m"), tmp_path / "mesh.stl")
    about = json.loads((tmp_path / "mesh.stl.origin.json").read_text())
    assert (about["crs"], about["unit"]) == (CRS, "m")
    assert any("no place for the coordinate reference system, unit" in line for line in caplog.messages)


def test_glb_in_another_unit_than_metres_says_what_programs_will_take_it_for(tmp_path, caplog):
    for unit, said_so in ((None, False), ("m", False), ("mm", True)):
        caplog.clear()
        write_mesh(Mesh(CORNERS, FACES, unit=unit), tmp_path / "mesh.glb")
        assert any("metres by its standard: these stay as they are, in mm" in line for line in caplog.messages) == said_so
