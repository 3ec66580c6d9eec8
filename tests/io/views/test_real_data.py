"""Real data sets, read from what their makers left: cameras agree between formats, with truth, with images, and pass the check of poses.

Tolerances are of the files' own digits and calibrations.
"""

from dataclasses import replace

import numpy as np
import pytest

from surfrecon import pose_check
from surfrecon.conventions import CAMERA_TO_WORLD_OPENGL, FLIP
from surfrecon.errors import InputError
from surfrecon.io import read_mesh, read_scan, read_views
from surfrecon.keypoints import keypoints
from surfrecon.pose_check import check_poses
from surfrecon.views import Views

SETS = ["mv_dtu_scan24", "mv_dino_sparse_ring", "mv_epfl_fountain_p11", "mv_rgbd_7scenes", "mv_robovision_a", "mv_synth_spot"]


def same(one: Views, other: Views, pixels: float) -> None:
    """Whether points about where the cameras look project to the same pixels within so many."""
    assert [name.rsplit("/")[-1] for name in one.names] == list(other.names)
    corners = np.stack(np.meshgrid(*other.bounds().T), axis=-1).reshape(-1, 3)
    for view in range(len(one)):
        (here, near), (there, _) = one.project(view, corners), other.project(view, corners)
        assert np.abs(here - there)[near > 0].max() < pixels


@pytest.mark.parametrize(
    ("folder", "original"),
    [
        ("mv_dtu_scan24", "cameras_sphere.npz"),
        ("mv_dino_sparse_ring", "dinoSR_par.txt"),
        ("mv_epfl_fountain_p11", "original_cameras"),
    ],
)
def test_the_makers_own_cameras_are_those_of_transforms_json(data, folder, original):
    same(read_views(data(folder) / original, check=False), read_views(data(folder) / "transforms.json", check=False), 0.02)


def test_rgbd_folder_is_that_of_transforms_json(data, tmp_path):
    folder = data("mv_rgbd_7scenes")
    for name in ("camera-intrinsics.txt", "pose", "depth", "image"):
        (tmp_path / name).symlink_to((folder / name).resolve())
    views, other = read_views(tmp_path, check=False), read_views(folder / "transforms.json", check=False)
    same(views, other, 0.05)
    assert all((mine == theirs).all() for mine, theirs in zip(views.depths, other.depths))


def test_depth_maps_of_neighbouring_frames_agree_in_the_world(data):
    views = read_views(data("mv_rgbd_7scenes"), check=False)
    for one, other in ((0, 1), (20, 21)):
        points = views.depth_points(one, step=37)
        pixels, depth = views.project(other, points)
        width, height = views.sizes[other]
        inside = ((pixels > 1) & (pixels < [width - 1, height - 1])).all(axis=1)
        column, row = pixels[inside].astype(int).T
        measured = views.depths[other][row, column]
        seen = (measured > 0) & (np.abs(measured - depth[inside]) < 0.3)  # beyond it lies something in front
        assert seen.mean() > 0.6
        assert np.median(np.abs(measured - depth[inside])[seen]) < 0.03  # metres: a Kinect's noise at 2 to 3 m


def test_true_vertices_of_spot_lie_inside_every_mask_and_in_the_carved_box(data):
    views = read_views(data("mv_synth_spot"), check=False)
    vertices = read_mesh(data("mv_synth_spot/gt.ply")).vertices
    for view in range(len(views)):
        pixels, _ = views.project(view, vertices)
        column, row = pixels.astype(int).T
        mask = views.masks[view]
        near = np.any([mask[row + i, column + j] for i in (-1, 0, 1) for j in (-1, 0, 1)], axis=0)
        assert near.all() and mask[row, column].mean() > 0.95  # limbs fall into pixels whose middle is beside them
    box, truth = views.bounds(), np.stack([vertices.min(0), vertices.max(0)])
    assert (box[0] <= truth[0]).all() and (box[1] >= truth[1]).all()
    assert np.abs(box - truth).max() < 0.03 * (truth[1] - truth[0]).max()


def test_the_walnuts_reference_points_project_into_every_frame(data):
    views = read_views(data("mv_robovision_a"), check=False)
    points = read_scan(data("mv_robovision_a/reference_points.ply")).points[::50]
    for view in range(len(views)):
        pixels, depth = views.project(view, points)
        inside = ((pixels >= 0) & (pixels < views.sizes[view])).all(axis=1)
        assert inside.mean() > 0.97 and (depth > 0).all()
    box = views.bounds()
    assert ((points > box[0]) & (points < box[1])).all()


def test_dino_lies_in_its_box_by_focus(data):
    """The data set's own box, from its README."""
    box = read_views(data("mv_dino_sparse_ring"), check=False).bounds()
    assert (box[0] < [-0.061897, -0.018874, -0.057845]).all() and (box[1] > [0.010897, 0.068227, 0.015495]).all()
    assert (box[1] - box[0]).max() < 0.2


# the check of poses -------------------------------------------------------------------------------------------------------------------


FOUND: dict[int, pose_check.Keypoints] = {}  # keypoints by image: those don't change with the cameras


@pytest.fixture(params=SETS)
def views(request, data, monkeypatch) -> Views:
    def remembered(grey: np.ndarray) -> pose_check.Keypoints:
        key = hash(grey.tobytes())
        if key not in FOUND:
            FOUND[key] = keypoints(grey)
        return FOUND[key]

    monkeypatch.setattr(pose_check, "keypoints", remembered)
    return read_views(data(request.param), check=False)


def test_real_cameras_pass(views):
    check_poses(views, CAMERA_TO_WORLD_OPENGL)


def test_real_cameras_with_axes_flipped_or_inverted_are_refused(views):
    poses = np.concatenate([views.cam_from_world, np.tile([[[0, 0, 0, 1.0]]], (len(views), 1, 1))], axis=1)
    with pytest.raises(InputError, match="the poses look camera-to-world with OpenCV axes"):
        check_poses(replace(views, cam_from_world=(FLIP @ poses)[:, :3]), CAMERA_TO_WORLD_OPENGL)
    inverted = CAMERA_TO_WORLD_OPENGL.cam_from_world(np.linalg.inv(CAMERA_TO_WORLD_OPENGL.matrices(poses)))
    with pytest.raises(InputError, match="the poses look world-to-camera with OpenGL axes"):
        check_poses(replace(views, cam_from_world=inverted[:, :3]), CAMERA_TO_WORLD_OPENGL)


@pytest.mark.parametrize("centre", [True, False], ids=["intrinsics", "focal length"])
def test_real_cameras_with_intrinsics_doubled_are_refused(views, centre):
    intrinsics = views.intrinsics.copy()
    intrinsics[:, :2, : 3 if centre else 2] *= 2
    words = "like those of images (2|1.99|2.01|2.0) times this size" if centre else "2 times too long"
    with pytest.raises(InputError, match=words):
        check_poses(replace(views, intrinsics=intrinsics), CAMERA_TO_WORLD_OPENGL)
