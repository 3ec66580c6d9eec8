"""Motions that are known: of a shape without symmetry, with noise, and with a part that bends away."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud, Similarity
from surfrecon.rigid_motion import rigid_motion

AXES = np.array([1.0, 0.7, 0.4])


def surface(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and normals of an ellipsoid with a bump."""
    directions = np.random.default_rng(seed).normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    normals = directions / AXES
    return directions * AXES, normals / np.linalg.norm(normals, axis=1, keepdims=True)


def moved(motion: Similarity, noise: float = 0.0) -> PointCloud:
    points, normals = surface(20_000, 1)
    points = points + noise * np.random.default_rng(2).normal(size=points.shape)
    return PointCloud(motion.points(points), normals=motion.directions(normals))


def motion_of(degrees: float, shift: float) -> Similarity:
    rotation = Rotation.from_rotvec(np.radians(degrees) * np.array([0.6, -0.64, 0.48])).as_matrix()
    return Similarity(1.0, shift * np.array([0.6, 0.0, -0.8]), rotation)


@pytest.mark.parametrize("degrees", [0.0, 5.0, 20.0])
def test_motion_is_found(degrees):
    wanted = motion_of(degrees, 0.3)
    found = rigid_motion(surface(4000, 3)[0], moved(wanted, noise=0.003))
    assert found.scale == 1
    assert np.degrees(Rotation.from_matrix(found.rotation @ wanted.rotation.T).magnitude()) < 0.1
    assert np.linalg.norm(found.translation - wanted.translation) < 2e-3


def test_part_that_is_not_there_any_more_does_not_pull():
    wanted, now = motion_of(3.0, 0.05), moved(motion_of(3.0, 0.05))
    found = rigid_motion(surface(4000, 3)[0], now[wanted.inverse().points(now.points)[:, 0] < 0.75])
    assert np.degrees(Rotation.from_matrix(found.rotation @ wanted.rotation.T).magnitude()) < 0.3
    assert np.linalg.norm(found.translation - wanted.translation) < 0.01


def test_motion_far_from_the_origin_is_the_same():
    away = Similarity(1.0, [5e5, -3e6, 100.0])
    wanted = motion_of(5.0, 0.1)
    before, now = surface(4000, 3)[0], moved(wanted)
    far = rigid_motion(away.points(before), now.transformed(away))
    assert np.abs(far.points(away.points(before)) - away.points(wanted.points(before))).max() < 5e-3


def test_same_seed_same_motion_and_no_points_are_refused():
    before, now = surface(9000, 3)[0], moved(motion_of(2.0, 0.1))
    assert (rigid_motion(before, now).matrix() == rigid_motion(before, now).matrix()).all()
    with pytest.raises(InputError, match="points with normals"):
        rigid_motion(np.empty((0, 3)), now)
    with pytest.raises(InputError, match="points with normals"):
        rigid_motion(before, PointCloud(now.points))
