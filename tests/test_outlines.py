"""Frontier points of exact silhouettes lie on each other's epipolar lines; what isn't seen whole says nothing."""

from dataclasses import replace

import numpy as np
import pytest
from arc import CENTRE, ellipsoid

from surfrecon.outlines import Outlines
from surfrecon.pose_check import Pair, Reading, epipolar_residuals
from surfrecon.views import Views


def disc(radius: float, centre: tuple[float, float] = (50.3, 39.6), size: tuple[int, int] = (100, 80)) -> np.ndarray:
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    return np.hypot(x - centre[0], y - centre[1]) < radius


@pytest.mark.parametrize("radius", [6.0, 15.0, 30.0])
def test_hull_of_a_disc_lies_on_its_circle(radius):
    (hull,) = Outlines.of([disc(radius)]).hulls
    away = np.hypot(*(hull - [50.3, 39.6]).T) - radius
    assert np.abs(away).max() < 0.45 and abs(away.mean()) < 0.2  # steps of pixels are 0.5 to either side


def test_specks_are_left_out_and_parts_are_not():
    whole, speck = disc(20), disc(20)
    speck[3:5, 3:5] = True
    np.testing.assert_array_equal(Outlines.of([speck]).hulls[0], Outlines.of([whole]).hulls[0])
    parts = disc(10, (20, 40)) | disc(10, (80, 40))
    assert np.ptp(Outlines.of([parts]).hulls[0][:, 0]) == pytest.approx(80, abs=0.5)


@pytest.mark.parametrize("mask", [np.zeros((9, 9), bool), np.ones((9, 9), bool), disc(60), np.eye(9, dtype=bool)], ids=range(4))
def test_empty_full_cut_and_degenerate_masks_have_no_hull(mask):
    assert not len(Outlines.of([mask]).hulls[0])


@pytest.fixture(scope="module")
def views() -> Views:
    return ellipsoid(8, focal=480.0, size=(320, 240))


def test_frontier_points_are_on_epipolar_lines_to_a_fraction_of_a_pixel(views):
    frontier = Outlines.of(views.masks).frontier(views.intrinsics, views.cam_from_world[:, :, :3], views.centres, CENTRE)
    assert len(frontier) > 40 and (frontier.views[:, 0] < frontier.views[:, 1]).all()
    given = Reading("", views.intrinsics, views.cam_from_world)
    miss = [
        epipolar_residuals(Pair(tuple(pair), (pixels[:1], pixels[1:])), given)[0] for pair, pixels in zip(frontier.views, frontier.pixels)
    ]
    assert np.median(miss) < 0.1 and np.max(miss) < 0.5


def test_silhouettes_cut_by_the_frame_take_no_part(views):
    masks = [mask.copy() for mask in views.masks]
    masks[2][:, 160:] |= np.arange(240)[:, None] == 120  # reaches the right border
    cut = replace(views, masks=tuple(masks))
    frontier = Outlines.of(cut.masks).frontier(views.intrinsics, views.cam_from_world[:, :, :3], views.centres, CENTRE)
    assert len(frontier) and not (frontier.views == 2).any()
