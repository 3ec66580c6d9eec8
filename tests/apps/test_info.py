"""surfrecon info: facts of scans and meshes, and units read from CRS texts."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from surfrecon.apps.info import scan_facts
from surfrecon.apps.units import units_of
from surfrecon.geometry import PointCloud
from surfrecon.io import write_scan
from surfrecon.settings import presets

DATUM = 'DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0]'
GEOGRAPHIC = f'GEOGCS["WGS 84",{DATUM},UNIT["degree",0.0174532925199433]]'
PROJECTED = f'PROJCS["UTM 32N",{GEOGRAPHIC},PROJECTION["Transverse_Mercator"],PARAMETER["false_easting",500000],UNIT["metre",1]]'
IN_FEET = PROJECTED.replace("metre", "US survey foot")
WKT2 = (
    'PROJCRS["x",BASEGEOGCRS["y",DATUM["z",ELLIPSOID["e",6378137,298.25,LENGTHUNIT["metre",1]]]],'
    'CONVERSION["c",METHOD["m"],PARAMETER["p",0,ANGLEUNIT["degree",0.0174532925199433]]],'
    'CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["US survey foot",0.304800609601219]]'
)


@pytest.mark.parametrize(
    ("crs", "unit"),
    [
        (None, "not stated"),
        ("", "not stated"),
        ("EPSG:25832", "not stated"),
        (GEOGRAPHIC, "degrees"),
        (PROJECTED, "metre"),
        (IN_FEET, "US survey foot"),
        (f'COMPD_CS["both",{IN_FEET},VERT_CS["h",VERT_DATUM["d",2005],UNIT["metre",1]]]', "US survey foot"),
        (WKT2, "US survey foot"),
        (f'COMPOUNDCRS["both",{WKT2},VERTCRS["h",VDATUM["d"],CS[vertical,1],AXIS["up",up],LENGTHUNIT["metre",1]]]', "US survey foot"),
    ],
    ids=["none", "empty", "code", "geographic", "metre", "foot", "compound", "wkt2", "compound wkt2"],
)
def test_units_are_those_of_the_horizontal_axes(crs, unit):
    assert units_of(crs) == unit


def test_facts_of_a_scan():
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 2, 0.0], [0, 0, 0]])
    facts = scan_facts(PointCloud(points, normals=np.eye(3)[[0, 1, 2, 0, 1]], scalars={"b": np.arange(5), "a": np.arange(5)}))
    assert facts["points"] == 5 and facts["duplicates"] == 2
    assert facts["bounds"].tolist() == [[0, 0, 0], [1, 2, 0]] and facts["extent"].tolist() == [1, 2, 0]
    assert (facts["normals"], facts["colors"], facts["origins"], facts["scalars"]) == (True, False, False, ["a", "b"])


def test_scan_with_estimates_for_every_preset(sphere, surfrecon):
    facts = surfrecon("info", sphere.file, "--json").json
    assert (facts["kind"], facts["points"], facts["units"], facts["crs"]) == ("scan", 2000, "not stated", None)
    assert facts["spacing"] == pytest.approx(np.sqrt(4 * np.pi * sphere.radius**2 / 2000), rel=0.1)
    assert [row["preset"] for row in facts["estimates"] if row["method"] == "gridpull"] == list(presets("gridpull"))
    assert all(row["seconds"] > 0 and row["bytes"] > 0 and row["resolution"] > 1 for row in facts["estimates"])
    shown = surfrecon("info", sphere.file).out
    assert "2,000, 0 of them at the place of another" in shown and "gridpull balanced  about" in shown


def test_mesh(result, surfrecon):
    facts = surfrecon("info", result, "--json").json
    assert facts["kind"] == "mesh" and facts["solid"] and "confidence" in facts["scalars"]
    assert "solid (closed yes, manifold yes, pieces 1)" in surfrecon("info", result).out


def test_a_single_point_has_facts_and_the_reason_why_it_is_no_surface(tmp_path, surfrecon):
    (tmp_path / "one.xyz").write_text("1 2 3\n")
    ended = surfrecon("info", tmp_path / "one.xyz", "--json")
    assert ended.code == 0 and ended.json["points"] == 1 and ended.json["spacing"] is None
    assert "at one place" in ended.json["problem"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text elsewhere")
@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_a_name_that_the_terminal_can_not_show_is_no_failure(options, tmp_path):
    file = os.fsencode(tmp_path) + b"/m\xff\xc3\xa9.off"
    with open(file, "w") as mesh:
        mesh.write("OFF 3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    command = [sys.executable, "-m", "surfrecon.apps.cli", "info", file, *options]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert (done.returncode == 0 and "3 vertices" in done.stdout) or json.loads(done.stdout)["file"].endswith("/m\udcff\u00e9.off")


@pytest.mark.parametrize("name", ["nowhere.ply", "nowhere.docx"])
def test_a_missing_file_is_named(name, tmp_path, surfrecon):
    ended = surfrecon("info", tmp_path / name)
    assert (ended.code, ended.out) == (2, "") and name in ended.err and ended.err.count("\n") == 1


def test_info_of_a_part_says_what_it_would_take(sphere, surfrecon):
    low, high = sphere.centre - 2 * sphere.radius, sphere.centre + 2 * sphere.radius * np.array([1, 1, 0])
    facts = surfrecon("info", sphere.file, "--crop", *low, *high, "--voxel", sphere.radius / 10, "--units", "cm", "--json").json
    assert facts["bounds"][1][2] <= sphere.centre[2] and 100 < facts["points"] < 1000 and facts["units"] == "cm"


def test_a_unit_against_the_files_own_is_taken_with_a_warning(tmp_path, surfrecon):
    write_scan(PointCloud(np.random.default_rng(0).random((50, 3)), crs=IN_FEET), tmp_path / "scan.ply")
    ended = surfrecon("info", tmp_path / "scan.ply", "--units", "m", "--json")
    assert ended.json["units"] == "m" and "its unit is US survey foot, --units says m" in ended.err
    assert "its unit" not in surfrecon("info", tmp_path / "scan.ply", "--units", "us-ft", "--json").err
