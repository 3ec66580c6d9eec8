"""surfrecon images on rendered photographs: files that read back closed, held-out views foreseen, bad input in one sentence."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from surfrecon.data_tools.cameras import cameras_around, ring_directions
from surfrecon.data_tools.motion import Motion
from surfrecon.data_tools.scanner import directions_around
from surfrecon.data_tools.shapes import mesh_of, named
from surfrecon.data_tools.textures import stone
from surfrecon.data_tools.view_writers import write_views
from surfrecon.data_tools.views import render
from surfrecon.errors import InputError
from surfrecon.extract import marching_cubes
from surfrecon.geometry import Mesh, Similarity
from surfrecon.io import read_mesh
from surfrecon.metrics import compare
from surfrecon.repair import inspect
from surfrecon.run import Run, Step

COARSE = ("--preset", "fast", "--resolution", 64)
QUICK = "[neus2]\nsteps = 120\nrays = 1024\nlevels = 6\nlog2_entries = 14\n"


@pytest.fixture(scope="module")
def blob(tmp_path_factory) -> tuple[Path, Mesh]:
    """Photographs of a painted blob far from the origin, with others in `others`, and its mesh."""
    folder = tmp_path_factory.mktemp("blob") / "photos"
    mesh = mesh_of(named("blob"), 96)
    mesh = mesh.transformed(Similarity(translation=np.array([8e5, 5.8e6, 300.0])))
    texture = stone(mesh.bounds(), 0)
    for place, count in ((folder, 14), (folder / "others", 3)):
        cameras = cameras_around(mesh.vertices, directions_around(count), size=(96, 96))
        write_views(replace(render(mesh, cameras, texture=texture, samples=2).views, depths=None), place)
    (folder.parent / "quick.toml").write_text(QUICK)
    return folder, mesh


class Seen:
    """In place of a window: the surface of the last step that had one."""

    surface: Mesh | None = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __call__(self, step: Step):
        if step.surface is not None and step.done == step.total:
            Seen.surface = marching_cubes(step.surface, resolution=32)


@pytest.fixture(scope="module")
def made(blob, tmp_path_factory):
    from surfrecon.apps.cli import main

    folder, _ = blob
    target = tmp_path_factory.mktemp("made") / "mesh.glb"
    more = ["--settings", str(folder.parent / "quick.toml"), "--hold-out", str(folder / "others"), "--view"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("surfrecon.apps.preview.Preview", Seen)
        assert main(["images", str(folder), "-o", str(target), *more]) == 0
    return target, json.loads((target.parent / "mesh.run" / "report.json").read_text())


def test_mesh_is_closed_and_near_the_truth_in_the_cameras_frame(made, blob):
    mesh = read_mesh(made[0])
    assert inspect(mesh).solid
    against = compare(mesh, blob[1], samples=3000)
    assert against.distance < 0.005 * against.diagonal


def test_surface_is_shown_while_it_is_fitted(made):
    assert inspect(Seen.surface).solid


def test_texture_is_in_the_file_as_others_read_it(made):
    scene = trimesh.load(made[0])
    (item,) = scene.geometry.values()
    image = item.visual.material.baseColorTexture
    assert min(image.size) >= 64 and item.visual.uv.shape == (len(item.vertices), 2)


def test_report_tells_how_well_others_were_foreseen(made):
    report = made[1]
    assert report["views"]["held_out"]["psnr"] > 24 and report["views"]["held_out"]["views"] == 3
    assert report["views"]["silhouettes"]["iou"] > 0.97 and report["views"]["bad_views"] == []
    assert report["input"]["views"] == 14 and report["result"]["method"] == "neus2"
    assert (made[0].parent / "mesh.run" / "photographs.png").stat().st_size > 1000
    assert str(made[0].parent / "mesh.run" / "photographs.png") in report["files"]


def test_stereo_alone_is_a_method_as_well_and_vertices_are_coloured(blob, surfrecon, tmp_path):
    words = ("--method", "gridpull", "--json", "--hold-out", 4, "--refine-poses", *COARSE)
    ended = surfrecon("images", blob[0], "-o", tmp_path / "mesh.ply", *words)
    assert ended.code == 0, ended.err
    poses = ended.json["facts"]["poses"]
    assert poses["refined"] is False and poses["says"].startswith("the given cameras are kept") and poses["suspects"] == []
    assert ended.json["result"]["method"] == "gridpull" and ended.json["input"]["views"] == 10
    mesh = read_mesh(tmp_path / "mesh.ply")
    assert inspect(mesh).solid and mesh.colors is not None and {"views", "confidence"} <= set(mesh.scalars)


def test_refined_cameras_are_left_for_a_run_that_resumes_and_belong_to_their_photographs(blob, tmp_path, monkeypatch):
    from surfrecon import pose_refinement
    from surfrecon.apps.cameras import photographs

    options = argparse.Namespace(sfm=False, refine_poses=True, dry_run=False, folder=blob[0], masks=None, longest_side=None)
    first = Run(folder=tmp_path)
    views = photographs(options, first)
    monkeypatch.setattr(pose_refinement, "refined", None)  # not called again
    again = Run(folder=tmp_path, resume=True)
    assert photographs(options, again).cam_from_world.tobytes() == views.cam_from_world.tobytes()
    assert again.facts["poses"]["says"] == first.facts["poses"]["says"]
    options.folder = blob[0] / "others"
    with pytest.raises(InputError, match="belongs to another scan"):
        photographs(options, Run(folder=tmp_path, resume=True))


def test_photographs_alone_are_enough_with_structure_from_motion(surfrecon, tmp_path):
    pytest.importorskip("pycolmap", reason="structure from motion needs pycolmap")
    (tmp_path / "photos").mkdir()
    mesh = mesh_of(named("blob"), 64)
    cameras = cameras_around(mesh.vertices, ring_directions(60, [0.3])[:9], size=(320, 240))
    for number, image in enumerate(render(mesh, cameras, texture=stone(mesh.bounds(), 0), samples=2).views.images):
        Image.fromarray(image).save(tmp_path / "photos" / f"{number}.png")
    ended = surfrecon("images", tmp_path / "photos", "-o", tmp_path / "mesh.ply", "--sfm", "--method", "gridpull", "--json", *COARSE)
    assert ended.code == 0, ended.err
    assert ended.json["facts"]["photographs"] == 9 and 3 <= ended.json["facts"]["registered"] == ended.json["input"]["views"]
    assert (tmp_path / "mesh.run" / "sparse" / "images.bin").exists() and inspect(read_mesh(tmp_path / "mesh.ply")).solid


def test_dry_run_tells_the_cost_and_writes_nothing(blob, surfrecon, tmp_path):
    ended = surfrecon("images", blob[0], "-o", tmp_path / "mesh.ply", "--dry-run", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["input"]["masks"] and ended.json["estimate"]["seconds"] > 1
    assert "14 photographs of up to 96 x 96 pixels, with masks" in surfrecon("images", blob[0], "-o", tmp_path / "m.ply", "--dry-run").out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-o", "mesh.ply", "--texture"], "holds no texture"),
        (["-o", "mesh.ply", "--hold-out", "1"], "whole number"),
        (["-o", "mesh.glb", "--hold-out", "2", "--masks", "nowhere"], "nowhere"),
        (["-o", "mesh.docx"], "docx"),
        (["-o", "mesh.ply", "--sfm", "--hold-out", "others"], "another frame"),
    ],
)
def test_what_can_not_be_is_refused_in_a_sentence(blob, surfrecon, tmp_path, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path)
    ended = surfrecon("images", blob[0], *options)
    assert ended.code == 2 and says in ended.err and "Traceback" not in ended.err
    assert not list(tmp_path.iterdir())


def test_folder_without_cameras_and_points_for_photographs_are_refused(surfrecon, sphere, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no cameras" in surfrecon("images", tmp_path / "empty", "-o", tmp_path / "mesh.ply").err
    ended = surfrecon("scan", sphere.file, "-o", tmp_path / "mesh.ply", "--method", "neus2")
    assert ended.code == 2 and "photographs" in ended.err


@pytest.fixture(scope="module")
def moving(tmp_path_factory) -> tuple[Path, list[Mesh]]:
    """Photographs of a blob that turns and bends, in frame_0 and frame_1, and its meshes."""
    folder = tmp_path_factory.mktemp("moving") / "frames"
    folder.mkdir()
    still = mesh_of(named("blob"), 96)
    motion, texture = Motion.of(still), stone(still.bounds(), 0)
    meshes = [motion.mesh(still, t) for t in (0.0, 0.15)]
    cameras = cameras_around(np.concatenate([mesh.vertices for mesh in meshes]), directions_around(14), size=(96, 96))
    for number, mesh in enumerate(meshes):
        views = render(mesh, cameras, texture=texture, rest=still.vertices, samples=2).views
        write_views(replace(views, depths=None), folder / f"frame_{number}")
    (folder.parent / "quick.toml").write_text(QUICK)
    return folder, meshes


def test_frames_of_a_sequence_get_a_mesh_each_the_later_ones_from_the_one_before(moving, surfrecon, tmp_path):
    folder, meshes = moving
    settings = "--settings", folder.parent / "quick.toml"
    ended = surfrecon("images", folder, "-o", tmp_path / "mesh.ply", *settings)
    assert ended.code == 0, ended.err
    for number, truth in enumerate(meshes):
        mesh = read_mesh(tmp_path / f"mesh_{number:03d}.ply")
        against = compare(mesh, truth, samples=3000)
        assert inspect(mesh).solid and against.distance < 0.005 * against.diagonal
    report = json.loads((tmp_path / "mesh_001.run" / "report.json").read_text())
    assert 3 < report["facts"]["motion"]["degrees"] < 9  # 0.15 of 0.6 radians, and it twists
    first = json.loads((tmp_path / "mesh_000.run" / "report.json").read_text())
    assert "motion" not in first["facts"] and report["timings"]["fit"] < first["timings"]["fit"] / 2
    (tmp_path / "mesh_001.run" / "report.json").unlink()
    (tmp_path / "mesh_001.ply").unlink()
    again = surfrecon("images", folder, "-o", tmp_path / "mesh.ply", *settings, "--resume")
    assert again.code == 0 and "mesh_000.ply is finished" in again.err and (tmp_path / "mesh_001.ply").exists()


def test_masks_of_frames_lie_in_their_folders(moving, surfrecon, tmp_path):
    ended = surfrecon("images", moving[0], "-o", tmp_path / "mesh.ply", "--masks", moving[0] / "frame_0")
    assert ended.code == 2 and "masks in their own folders" in ended.err and not list(tmp_path.iterdir())
