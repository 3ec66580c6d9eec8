"""Keypoints find the same places again after a turn, a change of size and of light."""

import numpy as np
import pytest
from scipy.ndimage import affine_transform, gaussian_filter

from surfrecon.keypoints import keypoints, matches


def texture(size: int = 200) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(size, size)), 2.5)
    return ((noise - noise.min()) / (noise.max() - noise.min())).astype(np.float32)


def warped(image: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """The image with the pixel at p moved to linear @ (p - middle) + middle, (x, y)."""
    middle = np.array(image.shape[::-1]) / 2 - 0.5
    back = np.linalg.inv(linear)[::-1, ::-1]  # rows, columns
    return np.maximum(affine_transform(image, back, middle[::-1] - back @ middle[::-1], order=3, mode="reflect"), 0)


def turn(degrees: float, scale: float = 1.0) -> np.ndarray:
    angle = np.radians(degrees)
    return scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize(
    ("linear", "share"),
    [(turn(0), 0.99), (turn(30), 0.7), (turn(180), 0.95), (turn(20, 1.2), 0.5), (np.array([[0.9, 0.15], [0, 1.05]]), 0.6)],
    ids=["none", "30 degrees", "180 degrees", "20 degrees and 1.2 x", "sheared"],
)
def test_most_keypoints_are_found_again_within_a_pixel(linear, share):
    image = texture()
    one, other = keypoints(image), keypoints(warped(image, linear))
    rows = matches(one, other)
    moved = (one.pixels[rows[:, 0]] - 100) @ linear.T + 100
    right = np.linalg.norm(moved - other.pixels[rows[:, 1]], axis=1) < 1.0
    inside = (np.abs((one.pixels - 100) @ linear.T) < 80).all(axis=1).sum()
    assert right.mean() > 0.9 and right.sum() > share * inside


def test_the_light_does_not_matter():
    image = texture()
    bright, dark = keypoints(255 * image), keypoints(5 * image)
    np.testing.assert_allclose(bright.pixels, dark.pixels, atol=1e-2)  # float32
    np.testing.assert_allclose(bright.descriptors, dark.descriptors, atol=1e-2)


def test_a_blob_is_found_at_its_middle_and_descriptors_have_unit_length():
    y, x = np.indices((60, 80)) + 0.5
    blob = 0.1 + np.exp(-((x - 41.3) ** 2 + (y - 22.8) ** 2) / (2 * 4.0**2))
    found = keypoints(blob)
    assert np.linalg.norm(found.pixels - [41.3, 22.8], axis=1).min() < 0.1
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("image", [np.zeros((50, 60)), np.full((50, 60), 200.0), np.zeros((1, 1)), np.zeros((3, 200))])
def test_images_without_anything_have_no_keypoints_and_no_matches(image):
    found = keypoints(image)
    assert found.pixels.shape == (0, 2) and found.descriptors.shape == (0, 128)
    assert matches(found, keypoints(texture())).shape == (0, 2)


def test_unlike_images_hardly_match():
    other = gaussian_filter(np.random.default_rng(7).normal(size=(200, 200)), 2.5)
    one, other = keypoints(texture()), keypoints(other - other.min())
    assert len(matches(one, other)) < 0.03 * len(one.pixels)
