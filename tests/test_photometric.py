"""Photometric adjustment on views of a textured ellipsoid: derivatives, poses that come back, planes alone, and views without texture."""

from dataclasses import replace

import numpy as np
import pytest
from arc import AXES, CENTRE, ellipsoid

from surfrecon.bundle import Problem as Bundle
from surfrecon.geometry import Similarity
from surfrecon.outlines import Outlines
from surfrecon.photometric import Problem, adjusted
from surfrecon.poses import Doubt, Poses, Prior
from surfrecon.run import Run
from surfrecon.stereo import Stereo, depth_maps
from surfrecon.tracks import Links, Tracks
from surfrecon.views import Views

DOUBT = Doubt()


@pytest.fixture(scope="module")
def views() -> Views:
    return replace(ellipsoid(14, focal=300.0, size=(200, 150)), depths=None)


def poses_of(views: Views) -> Poses:
    return Poses(views.cam_from_world[:, :, :3], views.centres)


def disturbed(views: Views, degrees: float) -> Views:
    generator = np.random.default_rng(0)
    sigma = np.radians(degrees) * np.sqrt(np.pi / 8)
    away = np.linalg.norm(views.centres - CENTRE, axis=1, keepdims=True)
    turns, shifts = sigma * generator.normal(size=(2, len(views), 3))
    moved = poses_of(views).stepped(np.concatenate([turns, away * shifts], axis=1))
    return replace(views, cam_from_world=moved.cam_from_world)


def misfit(views: Views, truth: Views) -> float:
    """Mean pixels by which points of the surface, seen where right cameras see them, can't be had to appear: no matter in what frame."""
    normals = np.random.default_rng(2).normal(size=(300, 3))
    points = CENTRE + AXES * normals / np.linalg.norm(normals, axis=1, keepdims=True)
    facing = np.einsum("vni,ni->nv", truth.centres[:, None] - points, (points - CENTRE) / AXES**2) > 0
    point, view = np.nonzero(facing & (facing.sum(axis=1, keepdims=True) > 1))
    pixels = np.stack([truth.project(v, points)[0] for v in range(len(truth))], axis=1)[point, view]
    tracks = Tracks(np.unique(point, return_inverse=True)[1], view, pixels)
    bundle = Bundle(Prior(poses_of(views), DOUBT), views.intrinsics, Links((), ()), Outlines.of([np.zeros((1, 1), bool)] * len(views)))
    return float(np.linalg.norm(bundle.reprojected(poses_of(views), tracks, bundle.placed(poses_of(views), tracks))[0], axis=1).mean())


@pytest.fixture(scope="module")
def problem(views) -> tuple[Problem, np.ndarray, Poses]:
    """Patches and planes of right views, and poses that are off a little."""
    unit = views.transformed(Similarity.fit(views))
    maps, partners = depth_maps(unit, Stereo(), Run(device="cpu"))
    made, planes = Problem.of(unit, maps, partners, Prior(poses_of(unit), DOUBT), Run())
    some = np.arange(len(planes)) % 20 == 0
    step = 1e-3 * np.random.default_rng(1).normal(size=(len(views), 6))
    return made.part(some), planes[some], poses_of(unit).stepped(step)


def test_derivatives_are_those_of_what_is_compared(problem):
    problem, planes, poses = problem
    _, seen, slope = problem.compared(poses, planes, slopes=True)
    patch, source = problem.pairs.T
    own, size, small = problem.views[patch], 1e-7, 1e-9  # a plane's step counts as often as there are columns
    assert seen.mean() > 0.7

    def check(axis: int, ends: list, rows: np.ndarray, size: float) -> None:
        numeric = (ends[0] - ends[1])[rows] / (2 * size)
        off = np.abs(slope[rows][..., axis] - numeric) > 1e-3 * np.abs(numeric).max()
        assert off.mean() < 0.1  # the picture has a kink where a pixel's place crosses into the next one, and all of its patch feels it

    for axis in range(6):
        for view in (0, 5):
            step = size * np.eye(6)[axis] * (np.arange(len(poses.centres)) == view)[:, None]
            ends = [problem.compared(poses.stepped(sign * step), planes)[0] for sign in (1, -1)]
            check(axis, ends, seen & (source == view), size)
            check(6 + axis, ends, seen & (own == view), size)
    for axis in range(3):
        ends = [problem.compared(poses, planes + sign * small * np.eye(3)[axis])[0] for sign in (1, -1)]
        check(12 + axis, ends, seen, small)


def test_planes_fit_poses_that_are_fixed(problem):
    problem, planes, poses = problem
    same, fitted = problem.fitted(poses, planes, fixed=True)
    assert np.array_equal(same.rotations, poses.rotations) and np.array_equal(same.centres, poses.centres)
    assert problem.disagreement(poses, fitted) < problem.disagreement(poses, planes)


def test_poses_come_back_to_a_third_of_how_far_off_they_were(views):
    given = disturbed(views, 0.15)
    found = adjusted(given, given, DOUBT, Run(device="cpu"))
    before, after = misfit(given, views), misfit(found, views)
    assert before > 0.5 and after < min(0.2, before / 3)


def test_same_photographs_give_the_same_poses(views):
    few = disturbed(views, 0.15)[:6]
    one, other = (adjusted(few, few, DOUBT, Run(device="cpu")) for _ in range(2))
    assert np.array_equal(one.cam_from_world, other.cam_from_world)


def test_views_without_texture_or_that_share_nothing_tell_nothing(views):
    plain = replace(views, images=tuple(np.full_like(image, 90) for image in views.images))
    assert adjusted(plain, plain, DOUBT, Run(device="cpu")) is None
    apart = views[[0, 7]]
    assert adjusted(apart, apart, DOUBT, Run(device="cpu")) is None
