"""surfrecon evaluate: figures of known shapes, against a mesh and against points."""

import numpy as np
import pytest

from surfrecon import metrics
from surfrecon.apps.evaluate import EXACT, PROTOCOLS
from surfrecon.geometry import Mesh
from surfrecon.io import read_mesh, write_mesh


def test_protocols_in_the_help_are_those_of_metrics():
    assert PROTOCOLS == (EXACT, *metrics.PROTOCOLS)


def test_a_moved_mesh_is_as_far_off_as_it_was_moved(result, tmp_path, surfrecon):
    mesh = read_mesh(result)
    write_mesh(Mesh(mesh.vertices + np.array([0.5, 0, 0]), mesh.faces), tmp_path / "moved.ply")
    found = surfrecon("evaluate", tmp_path / "moved.ply", "--truth", result, "--samples", 5000, "--json").json
    assert found["protocol"] == EXACT and found["mesh"]["solid"] and found["truth"]["solid"]
    assert found["hausdorff"] == pytest.approx(0.5, abs=0.05)
    assert found["volume_ratio"] == pytest.approx(1, abs=1e-4) and 0.6 < found["iou"] < 0.8


def test_against_points_a_result_is_as_near_as_their_noise(sphere, result, surfrecon):
    found = surfrecon("evaluate", result, "--truth", sphere.file, "--samples", 5000, "--json").json
    assert found["to_mesh"]["mean"] < 0.01 and found["truth"] is None and found["iou"] is None
    shown = surfrecon("evaluate", result, "--truth", sphere.file, "--samples", 5000).out
    assert "sampling alone makes" in shown and "solid, genus 0, pieces 1" in shown and "IoU" not in shown


@pytest.mark.parametrize("protocol", metrics.PROTOCOLS)
def test_protocols_of_papers(protocol, result, surfrecon):
    arguments = ("evaluate", result, "--truth", result, "--protocol", protocol, "--samples", 2000)
    ended = surfrecon(*arguments, "--json")
    assert ended.code == 0 and ended.json["protocol"] == protocol
    known = set(ended.json) - {"protocol", "mesh_file", "truth_file"}
    assert all(name in surfrecon(*arguments).out for name in known)


def test_samples_come_from_the_seed(sphere, result, surfrecon):
    figures = [surfrecon("evaluate", result, "--truth", sphere.file, "--samples", 100, "--seed", seed, "--json").out for seed in (1, 1, 2)]
    assert figures[0] == figures[1] != figures[2]


def test_an_open_mesh_is_called_not_solid(result, tmp_path, surfrecon):
    mesh = read_mesh(result)
    write_mesh(Mesh(mesh.vertices, mesh.faces[np.arange(len(mesh.faces)) > 9]), tmp_path / "open.ply")
    assert "NOT solid, pieces 1" in surfrecon("evaluate", tmp_path / "open.ply", "--truth", result, "--samples", 1000).out


def test_points_are_no_mesh_to_be_measured(sphere, result, surfrecon):
    ended = surfrecon("evaluate", sphere.file, "--truth", result)
    assert (ended.code, ended.out) == (2, "") and "sphere.xyz" in ended.err
