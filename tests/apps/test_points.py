"""Scans out of folders of depth maps, and what files and folders can't be named together."""

import json
from pathlib import Path

import numpy as np
import pytest
from arc import AXES, CENTRE, ellipsoid

from surfrecon.data_tools.view_writers import write_views
from surfrecon.io import read_mesh
from surfrecon.repair import inspect


@pytest.fixture(scope="module")
def depths(tmp_path_factory) -> Path:
    """A folder of 14 depth maps of an ellipsoid, with poses."""
    folder = tmp_path_factory.mktemp("depths") / "views"
    write_views(ellipsoid(14), folder)
    return folder


def test_a_folder_of_depth_maps_is_a_scan_that_knows_its_sensors(depths, surfrecon):
    facts = surfrecon("info", depths, "--json").json
    assert (facts["kind"], facts["origins"], facts["normals"], facts["colors"]) == ("scan", True, True, True)
    assert np.abs(np.array(facts["bounds"]) - [CENTRE - AXES, CENTRE + AXES]).max() < 0.05 and facts["points"] > 2000
    assert facts["bytes"] == sum(file.stat().st_size for file in depths.rglob("*") if file.is_file())


def test_a_folder_of_depth_maps_becomes_a_solid_in_the_frame_of_its_poses(depths, quick, folder, surfrecon):
    ended = surfrecon("scan", depths, "-o", folder / "mesh.ply", *quick, "--voxel", "0.03", "--units", "m", "--no-open", "--json")
    assert ended.code == 0 and ended.json["input"]["units"] == "m" and ended.json["input"]["selection"]["voxel"] == 0.03
    mesh = read_mesh(folder / "mesh.ply")
    assert inspect(mesh).solid and mesh.volume() == pytest.approx(4 / 3 * np.pi * AXES.prod(), rel=0.03)


def test_a_folder_is_named_alone(depths, sphere, folder, surfrecon):
    ended = surfrecon("scan", depths, sphere.file, "-o", folder / "mesh.ply")
    assert ended.code == 2 and "a folder of depth maps is a scan of its own" in ended.err and not [*folder.iterdir()]


def test_photographs_without_depth_maps_are_sent_to_the_other_command(depths, tmp_path, surfrecon):
    capture = json.loads((depths / "transforms.json").read_text())
    for frame in capture["frames"]:
        frame.pop("depth_file_path")
        frame["file_path"] = str(Path("images", Path(frame["file_path"]).name))
    (tmp_path / "images").mkdir()
    for picture in depths.rglob("*.png"):
        (tmp_path / "images" / picture.name).write_bytes(picture.read_bytes())
    (tmp_path / "transforms.json").write_text(json.dumps(capture))
    ended = surfrecon("info", tmp_path)
    assert ended.code == 2 and "surfrecon images makes a mesh of them" in ended.err
