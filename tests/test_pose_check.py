"""Right cameras pass; each common mistake is refused and named."""

import logging
import re
from dataclasses import replace

import numpy as np
import pytest
from arc import ellipsoid

from surfrecon.conventions import CAMERA_TO_WORLD, CAMERA_TO_WORLD_OPENGL, CONVENTIONS, WORLD_TO_CAMERA
from surfrecon.errors import InputError
from surfrecon.geometry import Similarity
from surfrecon.pose_check import Pair, check_poses, epipolar_residuals, examine, readings
from surfrecon.views import Views


@pytest.fixture(scope="module")
def views() -> Views:
    return ellipsoid(20, focal=480.0, size=(320, 240))


def poses(views: Views) -> np.ndarray:
    return np.concatenate([views.cam_from_world, np.tile([[[0, 0, 0, 1.0]]], (len(views), 1, 1))], axis=1)


def scaled_intrinsics(views: Views, scale: float, centre: bool) -> Views:
    intrinsics = views.intrinsics.copy()
    intrinsics[:, :2, : 3 if centre else 2] *= scale
    return replace(views, intrinsics=intrinsics)


@pytest.mark.parametrize("masks", [True, False], ids=["masks", "no masks"])
def test_right_cameras_pass_with_room_to_spare(views, masks):
    verdict = examine(views if masks else replace(views, masks=None), CAMERA_TO_WORLD_OPENGL)
    assert verdict.refused is None and verdict.matches > 200
    assert verdict.residual < 0.5 < verdict.best[1] and verdict.good > 0.8


@pytest.mark.parametrize("truth", CONVENTIONS, ids=str)
@pytest.mark.parametrize("read_as", CONVENTIONS, ids=str)
def test_poses_read_in_a_wrong_convention_are_refused_and_the_right_one_named(views, truth, read_as):
    wrong = replace(views, masks=None, cam_from_world=read_as.cam_from_world(truth.matrices(poses(views)))[:, :3])
    if truth == read_as:
        check_poses(wrong, read_as)
        return
    with pytest.raises(InputError, match=re.escape(f"the poses look {truth}, where {read_as} is expected")):
        check_poses(wrong, read_as)


@pytest.mark.parametrize("scale", [0.5, 2.0, 0.62])
def test_intrinsics_of_images_of_another_size_are_refused(views, scale):
    wrong = scaled_intrinsics(replace(views, masks=None), scale, centre=True)
    with pytest.raises(InputError, match=rf"the intrinsics look like those of images {scale:.2g}\d* times this size"):
        check_poses(wrong, WORLD_TO_CAMERA)


@pytest.mark.parametrize(("scale", "words"), [(2.0, "2 times too long.*scale them by 0.5"), (0.5, "2 times too short.*scale them by 2")])
@pytest.mark.parametrize("masks", [True, False], ids=["masks", "no masks"])
def test_wrong_focal_lengths_alone_are_refused(views, scale, words, masks):
    wrong = scaled_intrinsics(views if masks else replace(views, masks=None), scale, centre=False)
    with pytest.raises(InputError, match=f"the focal lengths look {words}"):
        check_poses(wrong, WORLD_TO_CAMERA)


def test_masks_alone_tell_a_wrong_focal_length():
    blank = ellipsoid(20)
    blank = replace(blank, images=tuple(np.full_like(image, 90) for image in blank.images))
    check_poses(blank, WORLD_TO_CAMERA)
    with pytest.raises(InputError, match=r"the intrinsics look like .*the masks' hull leaves \d+\.\d% of them open; read so, 0.\d%"):
        check_poses(scaled_intrinsics(blank, 2.0, centre=True), WORLD_TO_CAMERA)


def test_cameras_in_utm_are_judged_alike(views):
    far = replace(views, masks=None).transformed(Similarity(1.0, [8e5, 5.8e6, 100]))
    near = examine(replace(views, masks=None), WORLD_TO_CAMERA)
    assert examine(far, WORLD_TO_CAMERA).residual == pytest.approx(near.residual, abs=0.1)  # equally near neighbours may change places


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_views_pass(views, count):
    check_poses(replace(views[:count], masks=None), CAMERA_TO_WORLD)


def test_what_cannot_be_checked_is_told_and_passes(views, caplog):
    blank = replace(views, masks=None, images=tuple(np.zeros_like(image) for image in views.images))
    with caplog.at_level(logging.INFO, "surfrecon"):
        check_poses(blank, WORLD_TO_CAMERA)
    assert "poses are not checked" in caplog.text


def test_poses_that_no_mistake_explains_are_doubted_in_the_log(views, caplog):
    rng = np.random.default_rng(0)
    shuffled = replace(views, masks=None, cam_from_world=views.cam_from_world[rng.permutation(len(views))])
    with caplog.at_level(logging.INFO, "surfrecon"):
        check_poses(shuffled, WORLD_TO_CAMERA)
    assert "the poses hardly fit the images" in caplog.text or "poses are not checked" in caplog.text


def test_residuals_are_zero_on_true_matches_infinite_behind_and_grow_with_the_error(views):
    rng = np.random.default_rng(0)
    points = views.depth_points(0)[rng.integers(0, 9000, 50)]
    pixels = [views.project(v, points)[0] for v in (0, 1)]
    given, *others = readings(views, WORLD_TO_CAMERA)
    assert epipolar_residuals(Pair((0, 1), tuple(pixels)), given).max() < 1e-6
    flipped = next(reading for reading in others if "OpenGL" in reading.says and "world-to-camera" in reading.says.split(",")[0])
    assert np.isinf(epipolar_residuals(Pair((0, 1), tuple(pixels)), flipped)).any()
    aside = epipolar_residuals(Pair((0, 1), (pixels[0], pixels[1] + [0, 3.0])), given)
    assert 1.0 < np.median(aside) <= 3.0  # shared between both images, along the lines nothing
