"""The focus of rays and the hull of silhouettes against closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from arc import AXES, CENTRE, ellipsoid

from surfrecon.bounding import Silhouettes, focus
from surfrecon.views import Views


@pytest.fixture(scope="module")
def views() -> Views:
    return ellipsoid(16)


def silhouettes(views: Views) -> Silhouettes:
    return Silhouettes.of(views.masks, views.intrinsics, views.cam_from_world)


@pytest.mark.parametrize("offset", [0, 5.8e6], ids=["origin", "far"])
def test_rays_through_a_point_have_their_focus_there(offset):
    directions = np.random.default_rng(0).normal(size=(9, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    point = np.array([1.0, 2, 3]) + offset
    np.testing.assert_allclose(focus(point - 3 * directions, directions), point, rtol=1e-14, atol=1e-12)


def test_focus_of_two_skew_rays_is_the_middle_of_their_shortest_link():
    np.testing.assert_allclose(focus(np.array([[-5.0, 0, 1], [0, -7, 2]]), np.array([[1.0, 0, 0], [0, 1, 0]])), [0, 0, 1.5])


def test_every_point_of_the_object_is_kept_and_the_hull_is_hardly_larger(views):
    found = silhouettes(views)
    ball = np.random.default_rng(0).normal(size=(3000, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    assert len(found.keep(CENTRE + AXES * ball, 0.02, 1.0)) == 3000  # a pixel's width at the object
    cells, side = found.hull()
    volume = 4 / 3 * np.pi * AXES.prod()
    assert volume < len(cells) * side**3 < 1.6 * volume  # cells that the surface crosses are in it


def test_right_cameras_fill_the_silhouettes_and_wrong_focal_lengths_do_not(views):
    found = silhouettes(views)
    right = found.covered(*found.hull(0.25))
    shorter = views.intrinsics.copy()
    shorter[:, :2, :2] *= 0.35
    wrong = silhouettes(replace(views, intrinsics=shorter))
    assert np.median(wrong.covered(*wrong.hull(0.25))) < 0.99 < 0.999 < right.min()


def test_a_few_bad_masks_do_not_carve_the_object_away():
    views = ellipsoid(24)
    masks = list(views.masks)
    masks[3], masks[9] = np.zeros_like(masks[3]), np.zeros_like(masks[9])
    masks[9][:20, :20] = True  # empty, and elsewhere
    box = replace(views, masks=tuple(masks), depths=None).bounds()
    assert np.abs(box - [CENTRE - AXES, CENTRE + AXES]).max() < 0.2


def test_an_object_beyond_the_frames_of_some_views_is_bounded_by_the_others():
    """Every third camera stands so near that the frame shows only a part."""
    far, near = ellipsoid(16), ellipsoid(8, focal=700.0)
    both = Views(
        far.images + near.images,
        np.concatenate([far.intrinsics, near.intrinsics]),
        np.concatenate([far.cam_from_world, near.cam_from_world]),
        masks=far.masks + near.masks,
    )
    assert np.abs(both.bounds() - [CENTRE - AXES, CENTRE + AXES]).max() < 0.3
