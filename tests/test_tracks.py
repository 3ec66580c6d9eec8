"""Links chain to tracks; a chain with two keypoints of one view, or against the geometry, is none."""

import numpy as np
import pytest
from arc import CENTRE, ellipsoid

from surfrecon.keypoints import Keypoints
from surfrecon.run import Run
from surfrecon.tracks import Links, Tracks


@pytest.fixture(scope="module")
def views():
    return ellipsoid(8, focal=480.0, size=(320, 240))


@pytest.fixture(scope="module")
def seen(views) -> tuple[Keypoints, ...]:
    """Twenty points in each of the first three views."""
    points = CENTRE + np.random.default_rng(0).normal(scale=0.3, size=(20, 3))
    return tuple(Keypoints(views.project(view, points)[0], np.zeros((20, 128), np.float32)) for view in range(3))


def chained(views, seen, *pairs) -> Tracks:
    links = Links(seen, tuple((pair, np.array(rows, int).reshape(-1, 2)) for pair, rows in pairs))
    return links.tracks(views.intrinsics[:3], views.cam_from_world[:3], np.full(3, 2.0))


def test_links_over_three_views_are_one_track(views, seen):
    tracks = chained(views, seen, ((0, 1), [[4, 4]]), ((1, 2), [[4, 4], [7, 7]]))
    assert len(tracks) == 2 and sorted(np.bincount(tracks.points)) == [2, 3]
    np.testing.assert_array_equal(tracks.pixels[tracks.points == 0], [seen[view].pixels[4] for view in range(3)])


def test_chain_with_two_keypoints_of_one_view_is_dropped(views, seen):
    twice = Keypoints(np.concatenate([seen[1].pixels, seen[1].pixels[:1] + 0.2]), np.zeros((21, 128), np.float32))
    assert len(chained(views, (seen[0], twice, seen[2]), ((0, 1), [[0, 0], [5, 5]]), ((0, 2), [[0, 0]]), ((1, 2), [[20, 0]]))) == 1


def test_links_off_their_epipolar_lines_are_dropped(views, seen):
    tracks = chained(views, seen, ((0, 1), [[i, (i + 1) % 20] for i in range(20)]))
    assert len(tracks) < 6  # a few lie near by chance
    assert len(chained(views, seen, ((0, 1), []))) == 0


def test_observations_are_left_out_with_points_that_only_one_view_still_shows(views, seen):
    tracks = chained(views, seen, ((0, 1), [[4, 4]]), ((1, 2), [[4, 4], [7, 7]]))
    assert len(tracks[tracks.views != 2]) == 1 and len(tracks[tracks.views == 0]) == 0


def test_keypoints_keep_away_from_the_rim_of_masks(views):
    links = Links.between(views[:2], [np.array([1]), np.array([0])], Run())
    for item, mask in zip(links.features, views.masks):
        column, row = item.pixels.astype(int).T
        assert len(column) > 20 and mask[row, column].all()
