"""Clouds of plane-sweep stereo against closed forms: a sphere and an ellipsoid drawn ray by ray with textures fixed in space."""

from dataclasses import replace

import numpy as np
import pytest
from arc import AXES, CENTRE, ellipsoid
from bow import BOW, drawn, sphere

from surfrecon.errors import InputError
from surfrecon.run import Run
from surfrecon.stereo import Stereo, neighbours, stereo_cloud


@pytest.mark.parametrize("color", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("offset", [0.0, 5.8e6], ids=["origin", "far"])
def test_cloud_of_a_sphere_lies_on_it_with_its_normals(color, offset):
    views = replace(drawn(BOW, sphere, color=color, offset=offset), depths=None)
    cloud = stereo_cloud(views, Stereo(hull=False), run=Run(device="cpu"))
    away = cloud.points - offset
    radius = np.linalg.norm(away, axis=1)
    assert len(cloud) > 2000
    assert np.mean(np.abs(radius - 1)) < 0.003  # a pixel is 0.015 there
    assert np.median((cloud.normals * away / radius[:, None]).sum(1)) > 0.995
    assert ((cloud.origins - cloud.points) * cloud.normals).sum(1).min() > 0
    assert 0 < cloud.scalars["confidence"].min() <= cloud.scalars["confidence"].max() <= 1
    channels = cloud.colors * 255
    assert np.abs(channels[:, 1] - (255 - channels[:, 0] / 2 if color else channels[:, 0])).max() < 1.5


def test_views_all_around_cover_an_ellipsoid():
    views = replace(ellipsoid(16), depths=None)
    cloud = stereo_cloud(views, Stereo(window=7), run=Run(device="cpu"))
    inside = ((cloud.points - CENTRE) / AXES) ** 2
    assert np.abs(np.sqrt(inside.sum(1)) - 1).mean() < 0.01
    octants = ((cloud.points > CENTRE) * [1, 2, 4]).sum(1)
    assert np.bincount(octants, minlength=8).min() > 50


def test_depths_that_views_come_with_are_taken_even_without_texture():
    views = ellipsoid(16)
    blank = replace(views, images=tuple(np.full_like(image, 90) for image in views.images))
    depths = list(blank.depths)
    depths[3] = depths[3] * 1.05  # which no other view confirms
    cloud = stereo_cloud(replace(blank, depths=tuple(depths)), Stereo(hull=False), run=Run(device="cpu"))
    off = np.abs(np.sqrt((((cloud.points - CENTRE) / AXES) ** 2).sum(1)) - 1)
    assert len(cloud) > 5000 and off.max() < 0.03 and off.mean() < 0.003


def test_same_views_give_the_same_cloud():
    views = replace(drawn(BOW[:3], sphere), depths=None)
    first, second = (stereo_cloud(views, Stereo(agreeing=1), run=Run(device="cpu")) for _ in range(2))
    np.testing.assert_array_equal(first.points, second.points)


def test_a_wrong_view_does_not_move_the_cloud():
    views = replace(drawn(BOW, sphere), depths=None)
    noise = np.random.default_rng(0).integers(0, 255, views.images[4].shape, dtype=np.uint8)
    cloud = stereo_cloud(replace(views, images=(*views.images[:4], noise)), Stereo(hull=False), run=Run(device="cpu"))
    assert np.abs(np.linalg.norm(cloud.points, axis=1) - 1).mean() < 0.003


def test_blank_photographs_are_refused():
    views = replace(drawn(BOW, sphere), depths=None)
    blank = tuple(np.full_like(image, 128) for image in views.images)
    with pytest.raises(InputError, match="too little texture"):
        stereo_cloud(replace(views, images=blank), run=Run(device="cpu"))


def test_one_view_is_refused():
    with pytest.raises(InputError, match="at least two views"):
        stereo_cloud(drawn(BOW[:1], sphere))


@pytest.mark.parametrize("wrong", [{"sources": 0}, {"agreeing": 0}, {"window": 8}, {"window": 1}, {"voxel": 0.0}])
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError):
        Stereo(**wrong)


def test_neighbours_are_those_of_fit_angle_best_first():
    views = replace(drawn([0.0, 1.0, 11.0, 35.0, 80.0], sphere), masks=None)  # the box is that of the depths
    assert neighbours(views)[0].tolist() == [2, 3, 1]


def test_progress_is_told_view_by_view():
    steps = []
    stereo_cloud(replace(drawn(BOW[:3], sphere), depths=None), Stereo(agreeing=1), run=Run(device="cpu", on_step=steps.append))
    assert [step.done for step in steps if step.stage == "stereo" and step.total] == [1, 2, 3]
    assert [step.done for step in steps if step.stage == "fuse" and step.total] == [1, 2, 3]
