"""Plain backdrops: found where there are some, and left alone where they may be something else."""

from dataclasses import replace

import numpy as np
from arc import ellipsoid

from surfrecon.backdrop import object_masks


def views_on(level: int, *, noise: int = 0, count: int = 4):
    """An ellipsoid on a backdrop of one grey with a little noise, and its true masks."""
    views = ellipsoid(count)
    rng = np.random.default_rng(0)
    images = []
    for image, mask in zip(views.images, views.masks):
        backdrop = level + rng.integers(0, noise + 1, mask.shape)
        images.append(np.where(mask[..., None], np.maximum(image, 60), backdrop[..., None]).astype(np.uint8))
    return replace(views, images=tuple(images), masks=None, depths=None), views.masks


def test_black_backdrop_is_all_that_is_left_out():
    for noise in (0, 8):
        views, truth = views_on(0, noise=noise)
        for found, mask in zip(object_masks(views), truth):
            np.testing.assert_array_equal(found, mask)


def test_dark_parts_within_the_object_stay():
    views, truth = views_on(0)
    images = [image.copy() for image in views.images]
    for image in images:
        image[58:62, 78:84] = 0
    for found, mask in zip(object_masks(replace(views, images=tuple(images))), truth):
        np.testing.assert_array_equal(found, mask)


def test_photographs_without_a_plain_border_have_no_backdrop():
    views, _ = views_on(0, noise=120)
    assert object_masks(views) is None


def test_dim_photographs_have_no_backdrop():
    views, _ = views_on(0)
    assert object_masks(replace(views, images=tuple(image // 4 for image in views.images))) is None


def test_a_view_without_a_backdrop_among_others_stays_whole():
    views, truth = views_on(0)
    busy = np.random.default_rng(1).integers(0, 255, views.images[0].shape, dtype=np.uint8)
    found = object_masks(replace(views, images=(busy, *views.images[1:])))
    assert found[0].all() and (found[1] == truth[1]).all()
