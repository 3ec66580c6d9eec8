import json

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from surfrecon.data_tools import render_views
from surfrecon.data_tools.motion import Motion
from surfrecon.data_tools.objects import named_object
from surfrecon.geometry import Mesh
from surfrecon.io import read_mesh, read_views
from surfrecon.views import Views

SMALL = ["--views", "5", "--size", "48", "--resolution", "40", "--samples", "2"]


def outline_holds(views: Views, view: int, mesh: Mesh) -> bool:
    """Whether vertices lie in the mask, up to one pixel, all of them, and reach all of its sides."""
    pixels, _ = views.project(view, mesh.vertices)
    column, row = np.floor(pixels).astype(int).T
    filled = np.argwhere(views.masks[view])[:, ::-1]
    reaches = np.abs([filled.min(0) - pixels.min(0), filled.max(0) + 1 - pixels.max(0)]).max() < 1
    return bool(binary_dilation(views.masks[view], np.ones((3, 3)))[row, column].all() and reaches)


def test_render_views_writes_photographs_held_out_ones_and_the_truth(tmp_path):
    out, other = tmp_path / "out", tmp_path / "other"
    assert render_views.main(["relic", "-o", str(out), *SMALL, "--held-out", "2", "--truth", str(out / "truth.ply")]) == 0
    views, held, truth = read_views(out), read_views(out / "held_out"), read_mesh(out / "truth.ply")
    assert (len(views), len(held)) == (5, 2) and views.masks is not None and truth.colors is not None
    assert np.linalg.norm(views.centres[:, None] - held.centres, axis=2).min() > 1  # apart from those to train on
    for set_ in (views, held):
        assert all(outline_holds(set_, view, truth) for view in range(len(set_)))
    assert render_views.main(["relic", "-o", str(other), *SMALL, "--held-out", "2", "--truth", str(other / "truth.ply")]) == 0
    files = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(other) for path in other.rglob("*") if path.is_file())
    assert all((out / file).read_bytes() == (other / file).read_bytes() for file in files)


def test_render_views_of_a_mesh_file_in_rings(tmp_path):
    assert render_views.main(["torus", "-o", str(tmp_path / "a"), *SMALL, "--truth", str(tmp_path / "torus.ply")]) == 0
    rings = ["--rings", "-10", "40", "--focal", "70", "--plain"]
    assert render_views.main([str(tmp_path / "torus.ply"), "-o", str(tmp_path / "b"), *SMALL, *rings]) == 0
    views = read_views(tmp_path / "b", check=False)
    up = views.centres[:, 2] / np.linalg.norm(views.centres, axis=1)
    assert set(np.degrees(np.arcsin(up)).round(2)) == {-10, 40} and (views.intrinsics[:, 0, 0] == 70).all()


def test_frames_of_a_sequence_show_the_stated_motion_of_the_first(tmp_path):
    out = tmp_path / "out"
    assert render_views.main(["relic", "-o", str(out), *SMALL, "--frames", "3", "--truth", str(out / "truth.ply")]) == 0
    meshes = [read_mesh(out / f"truth_{frame:03d}.ply") for frame in range(3)]
    rest = named_object("relic").mesh(40)
    np.testing.assert_allclose(meshes[0].vertices, rest.vertices, atol=1e-6)
    for mesh, t in zip(meshes, (0, 0.5, 1)):
        np.testing.assert_allclose(mesh.vertices, Motion.of(rest).points(rest.vertices, t), atol=1e-6)
        np.testing.assert_array_equal(mesh.faces, rest.faces)
    frames = [read_views(out / f"frame_{frame:03d}", check=False) for frame in range(3)]
    for views, mesh in zip(frames, meshes):
        np.testing.assert_array_equal(views.cam_from_world, frames[0].cam_from_world)  # cameras stand still
        assert outline_holds(views, 2, mesh)
    said = json.loads((out / "motion.json").read_text())
    motion = Motion(**said["motion"])
    np.testing.assert_allclose(meshes[1].vertices, motion.points(rest.vertices, said["frames"][1]["time"]), atol=1e-6)
    np.testing.assert_allclose(said["frames"][2]["world_from_deformed"], motion.rigid(1).matrix(), atol=1e-12)


@pytest.mark.parametrize(
    "options, text",
    [
        (["cube"], "no object 'cube'"),
        (["missing.ply"], "missing.ply"),
        (["relic", "--views", "0"], "at least 1 view"),
        (["blob", "--truth", "a.doc"], "a.doc"),
    ],
)
def test_commands_refuse_in_one_sentence_and_leave_nothing(tmp_path, capsys, options, text):
    assert render_views.main([*options, "-o", str(tmp_path / "out"), "--resolution", "24"]) == 2
    said = capsys.readouterr().err
    assert text in said and said.count("\n") == 1 and not list(tmp_path.iterdir())


def test_sphere_of_neus_holds_the_object(tmp_path):
    assert (
        render_views.main(["torus", "-o", str(tmp_path / "out"), "--views", "8", "--size", "64", "--resolution", "48", "--format", "idr"])
        == 0
    )
    with np.load(tmp_path / "out/cameras_sphere.npz") as file:
        ball = file["scale_mat_3"]
    assert np.linalg.norm(ball[:3, 3]) < 0.1 and 1.4 < ball[0, 0] < 2.2  # of a torus of radii 1 and 0.4
