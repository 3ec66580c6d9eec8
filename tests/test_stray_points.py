"""Strays of a cloud: points that views look through, and patches too small to be part of anything."""

from dataclasses import replace

import numpy as np
import torch
from bow import BOW, DISTANCE, drawn, plane, sphere

from surfrecon.stray_points import CRUMB, crumbs, patches, seen_through


def maps(views) -> list[torch.Tensor]:
    return [torch.as_tensor(np.where(depth > 0, 1 / np.where(depth > 0, depth, 1), 0)) for depth in views.depths]


def test_points_in_front_of_what_views_see_are_seen_through_and_those_on_it_or_behind_are_not():
    views = drawn(BOW, plane)
    rng = np.random.default_rng(0)
    on = np.concatenate([views.depth_points(2, step=50)])
    toward = views.centres[2] - on
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    lengths = rng.uniform(0.2, 1.0, len(on))[:, None]
    middle = (np.abs(on) < 0.7).all(axis=1)  # in every frame
    assert not seen_through(views, maps(views), on).any()
    assert not seen_through(views, maps(views), on - lengths * toward).any()
    assert seen_through(views, maps(views), on + lengths * toward)[middle].all()


def test_outlines_of_an_object_are_not_seen_through():
    views = drawn(BOW, sphere)
    for view in range(len(views)):
        assert not seen_through(views, maps(views), views.depth_points(view)).any()


def test_one_view_alone_contradicts_nothing():
    views = drawn(BOW, plane)
    near = views.depth_points(2, step=50) * 0 + views.centres[2] * 0.5
    silent = [w if view == 2 else torch.zeros_like(w) for view, w in enumerate(maps(views))]
    assert not seen_through(views, silent, near).any()


def test_patches_are_what_gaps_part():
    line = np.zeros((50, 3))
    line[:, 0] = np.arange(50) * 0.3
    points = np.concatenate([line, line + np.array([0, 5, 0]), line[:1] - (7, 8, 9)])
    found = patches(points, 0.5)
    assert len(np.unique(found)) == 3
    assert all(len(set(part)) == 1 for part in (found[:50], found[50:100]))
    shuffled = np.random.default_rng(0).permutation(len(points))
    np.testing.assert_array_equal(found[shuffled][:, None] == found[shuffled], (lambda p: p[:, None] == p)(patches(points[shuffled], 0.5)))


def test_crumbs_are_small_patches_and_around_an_object_its_surroundings():
    rng = np.random.default_rng(1)
    sizes = 20 * CRUMB, CRUMB // 2, CRUMB * 3 // 4 * 2
    places = np.array([[0, 0, 0], [5, 0, 0], [0, 5, 0]])
    points = np.concatenate([place + rng.uniform(-0.3, 0.3, (size, 3)) for place, size in zip(places, sizes)])
    from_one_side = drawn(BOW, sphere)
    all_around = drawn([0.0, 90.0, 180.0, 270.0], sphere)
    owner = np.repeat([0, 1, 2], sizes)
    for views, small in ((from_one_side, [1]), (all_around, [1])):
        np.testing.assert_array_equal(crumbs(views, points, 0.05), np.isin(owner, small))
    many = np.concatenate([points, rng.uniform(-0.3, 0.3, (20 * CRUMB, 3))])
    assert np.isin(owner, [1, 2]).tolist() == crumbs(all_around, many, 0.05)[: len(owner)].tolist()
    assert np.isin(owner, [1]).tolist() == crumbs(from_one_side, many, 0.05)[: len(owner)].tolist()


def test_a_small_patch_beside_an_object_is_part_of_it_and_one_further_off_is_not():
    square = lambda count: 0.01 * np.column_stack([*np.indices((count, count)).reshape(2, -1), np.zeros(count**2)])
    sheet, piece = square(101), square(10)  # the sheet's diagonal is 1.41
    beside, off, few = piece + np.array([1.03, 0, 0]), piece + np.array([0, 1.1, 0]), square(5) - np.array([0.075, 0, 0])
    points = np.concatenate([sheet, beside, off, few])
    owner = np.repeat([0, 1, 2, 3], [len(sheet), len(beside), len(off), len(few)])
    views = drawn([0.0, 90.0, 180.0, 270.0], sphere)
    np.testing.assert_array_equal(crumbs(views, points, 0.003), np.isin(owner, [2, 3]))


def test_the_largest_patch_stays_however_small():
    views = replace(drawn(BOW, sphere), masks=None)
    points = np.random.default_rng(2).uniform(-0.1, 0.1, (10, 3)) + DISTANCE / 9
    assert not crumbs(views, points, 0.1).any()
