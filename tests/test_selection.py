"""Which points a selection keeps, and what it says where that is none."""

import numpy as np
import pytest

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.selection import NothingSelectedError, Selection, selected

PLACE = np.array([8e5, 5.8e6, 100.0])


@pytest.fixture
def cloud() -> PointCloud:
    generator = np.random.default_rng(0)
    points = PLACE + generator.uniform(-1, 1, (2000, 3))
    scalars = {"classification": generator.integers(1, 4, 2000).astype(np.uint8), "height": points[:, 2]}
    return PointCloud(points, colors=generator.random((2000, 3)), scalars=scalars, origins=points + 5, crs="EPSG:25832", unit="m")


def test_nothing_asked_for_leaves_the_cloud_as_it_is(cloud):
    assert selected(cloud, Selection()) is cloud


def test_a_crop_keeps_what_is_in_its_box_borders_included(cloud):
    low, high = cloud.points[7], PLACE + 1
    part = selected(cloud, Selection(crop=[*low, *high]))
    inside = ((cloud.points >= low) & (cloud.points <= high)).all(axis=1)
    assert np.array_equal(part.points, cloud.points[inside]) and low.tolist() in part.points.tolist()
    assert np.array_equal(part.origins, cloud.origins[inside]) and (part.crs, part.unit) == ("EPSG:25832", "m")


def test_classes_keep_their_points_with_all_that_these_carry(cloud):
    part = selected(cloud, Selection(classes=(1, 3)))
    rows = cloud.scalars["classification"] != 2
    assert np.array_equal(part.points, cloud.points[rows]) and np.array_equal(part.scalars["height"], cloud.scalars["height"][rows])


def test_crop_and_classes_together_keep_what_both_want(cloud):
    both = selected(cloud, Selection(crop=[*(PLACE - 1), *PLACE], classes=[2]))
    one = selected(selected(cloud, Selection(classes=[2])), Selection(crop=[*(PLACE - 1), *PLACE]))
    assert np.array_equal(both.points, one.points) and 0 < len(both) < 200


def test_voxels_far_from_the_origin_are_means_of_a_slow_loop():
    corners = PLACE + np.array(np.meshgrid([-2, 0, 2], [-2, 2], [-2, 2])).reshape(3, -1).T
    points = np.repeat(corners, 4, axis=0) + np.random.default_rng(0).uniform(-0.4, 0.4, (48, 3))
    means = selected(PointCloud(points, scalars={"n": np.repeat(np.arange(12.0), 4)}), Selection(voxel=2.0))
    wanted = points.reshape(12, 4, 3).mean(axis=1)
    order = np.argsort(means.scalars["n"])
    assert len(means) == 12 and np.abs(means.points[order] - wanted).max() < 1e-8


def test_a_voxel_smaller_than_the_spacing_keeps_every_point(cloud):
    fine = selected(cloud, Selection(voxel=1e-5))
    assert len(fine) == len(cloud) and np.abs(np.sort(fine.points[:, 0]) - np.sort(cloud.points[:, 0])).max() < 1e-8


EMPTY = {
    "crop": (Selection(crop=[0, 0, 0, 1, 1, 1]), NothingSelectedError, "none of its points lies in the crop .* they span"),
    "class": (Selection(classes=[9]), NothingSelectedError, "none of its 2000 points is of class 9: it has 1, 2, 3"),
    "voxel": (Selection(voxel=1e-9), InputError, "too small"),
}


@pytest.mark.parametrize("selection, error, reason", EMPTY.values(), ids=EMPTY.keys())
def test_what_leaves_nothing_is_one_sentence(cloud, selection, error, reason):
    with pytest.raises(error, match=reason) as caught:
        selected(cloud, selection)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_classes_of_a_cloud_without_any_are_refused():
    with pytest.raises(InputError, match="no classes"):
        selected(PointCloud(np.eye(3)), Selection(classes=[2]))


@pytest.mark.parametrize(
    "options, reason",
    [({"crop": [0, 0, 0, 1, -1, 1]}, "lower to higher"), ({"crop": [0, 0, 0, 1, 1, np.nan]}, "finite"), ({"voxel": 0}, "must be > 0")],
)
def test_an_impossible_selection_is_refused(options, reason):
    with pytest.raises(InputError, match=reason):
        Selection(**options)
