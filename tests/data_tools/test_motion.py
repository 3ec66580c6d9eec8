from itertools import pairwise

import numpy as np
import pytest

from surfrecon.data_tools.motion import Motion, times
from surfrecon.data_tools.shapes import mesh_of, named
from surfrecon.errors import InputError
from surfrecon.repair import inspect


@pytest.fixture(scope="module")
def rest():
    return mesh_of(named("bracket"), 64)


def test_nothing_has_moved_at_time_0_and_everything_at_1(rest):
    motion = Motion.of(rest)
    np.testing.assert_array_equal(motion.points(rest.vertices, 0), rest.vertices)
    moved = np.linalg.norm(motion.points(rest.vertices, 1) - rest.vertices, axis=1)
    assert moved.min() > 0.01 * motion.diagonal


def test_a_frame_is_the_stated_motion_of_the_first(rest):
    """Slow and by hand, for one point at a time."""
    motion, t = Motion.of(rest), 0.6
    moved = motion.mesh(rest, t)
    np.testing.assert_array_equal(moved.faces, rest.faces)
    ease = (1 - np.cos(np.pi * t)) / 2
    axis = np.array(motion.axis) / np.linalg.norm(motion.axis)
    for row in range(0, len(rest.vertices), 997):
        p = 2 * (rest.vertices[row] - motion.centre) / motion.diagonal
        angle = ease * motion.twist * p[2]
        x = np.cos(angle) * p[0] - np.sin(angle) * p[1] + 2 * motion.bend * ease * p[2] ** 2
        y = np.sin(angle) * p[0] + np.cos(angle) * p[1]
        q = np.array([x, y, p[2]]) * motion.diagonal / 2
        turn = motion.turn * t
        turned = q * np.cos(turn) + np.cross(axis, q) * np.sin(turn) + axis * (axis @ q) * (1 - np.cos(turn))  # Rodrigues
        wanted = motion.centre + turned + t * motion.diagonal * np.array(motion.drift)
        np.testing.assert_allclose(moved.vertices[row], wanted, atol=1e-9)


def test_rigid_alone_keeps_distances_and_deformation_keeps_volume(rest):
    motion = Motion.of(rest)
    stiff = Motion(motion.centre, motion.diagonal, twist=0, bend=0)
    a, b = stiff.points(rest.vertices, 0.7), rest.vertices
    np.testing.assert_allclose(np.linalg.norm(a[1:] - a[:-1], axis=1), np.linalg.norm(b[1:] - b[:-1], axis=1), atol=1e-10)
    moved = motion.mesh(rest, 1.0)
    assert moved.volume() == pytest.approx(rest.volume(), rel=2e-3)
    assert inspect(moved).solid and inspect(moved).genus == inspect(rest).genus
    stretched = np.linalg.norm(np.diff(motion.points(b, 1.0), axis=0), axis=1) / np.linalg.norm(np.diff(b, axis=0), axis=1)
    assert stretched.max() - stretched.min() > 0.03  # it does deform


def test_steps_are_small_and_even(rest):
    motion = Motion.of(rest)
    frames = [motion.points(rest.vertices, t) for t in times(10)]
    steps = [np.linalg.norm(b - a, axis=1).max() / motion.diagonal for a, b in pairwise(frames)]
    assert max(steps) < 0.08 and min(steps) > 0.02


def test_a_sequence_needs_two_frames():
    with pytest.raises(InputError, match="got 1"):
        times(1)
