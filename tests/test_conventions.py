"""Pose matrices of every convention."""

import numpy as np
import pytest
from arc import poses

from surfrecon.conventions import CAMERA_TO_WORLD_OPENGL, CONVENTIONS, WORLD_TO_CAMERA


def cam_from_world() -> np.ndarray:
    return np.concatenate([poses(5), np.tile([[[0, 0, 0, 1.0]]], (5, 1, 1))], axis=1)


@pytest.mark.parametrize("convention", CONVENTIONS, ids=str)
def test_reading_what_was_written_gives_the_same_poses(convention):
    np.testing.assert_allclose(convention.cam_from_world(convention.matrices(cam_from_world())), cam_from_world(), atol=1e-12)


def test_an_opengl_camera_looks_along_its_negative_z_axis_with_y_up():
    matrix = CAMERA_TO_WORLD_OPENGL.matrices(cam_from_world())[0]
    right, down, forward = WORLD_TO_CAMERA.matrices(cam_from_world())[0, :3, :3]
    np.testing.assert_allclose(matrix[:3, :3], np.stack([right, -down, -forward], axis=1), atol=1e-12)
    np.testing.assert_allclose(matrix[:3, 3], -np.linalg.inv(cam_from_world()[0, :3, :3]) @ cam_from_world()[0, :3, 3])


def test_the_four_conventions_differ():
    given = [convention.matrices(cam_from_world()) for convention in CONVENTIONS]
    assert all(np.abs(a - b).max() > 0.1 for i, a in enumerate(given) for b in given[:i])
