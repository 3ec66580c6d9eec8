"""How well points show their surface: against known noise, spacing and relief, everywhere alike and by region."""

import math

import numpy as np
import pytest

from surfrecon.geometry import PointCloud
from surfrecon.local_surfaces import local_surfaces
from surfrecon.quality import LEAST_SMOOTHING, SIZES, judged, quality


def plane(count: int) -> np.ndarray:
    return np.c_[np.random.default_rng(0).uniform(-1, 1, (count, 2)), np.zeros(count)]


def sphere(count: int) -> np.ndarray:
    """Points of the unit sphere: their own normals."""
    normals = np.random.default_rng(0).normal(size=(count, 3))
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def noisy(points: np.ndarray, normals: np.ndarray, spacings) -> np.ndarray:
    """The points off their surface by so many spacings, a number or one for each point."""
    height = np.reshape(spacings, (-1, 1)) * PointCloud(points).spacing() * np.random.default_rng(1).normal(size=(len(points), 1))
    return points + height * normals


@pytest.mark.parametrize("spacings", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("surface", ["plane", "sphere"])
def test_noise_is_found_within_a_fifth(surface, spacings):
    clean = plane(3000) if surface == "plane" else sphere(3000)
    normals = np.array([0.0, 0.0, 1.0]) if surface == "plane" else clean
    found = quality(noisy(clean, normals, spacings))
    assert np.median(found.noise) == pytest.approx(spacings * PointCloud(clean).spacing(), rel=0.2)


def test_noise_smoothing_and_neighbourhood_are_those_of_each_side():
    clean = sphere(12_000)
    left = clean[:, 0] < 0
    found = quality(noisy(clean, clean, np.where(left, 0.5, 0.0)))
    spacing = PointCloud(clean).spacing()
    there, here = (found.at(clean[part]) for part in (clean[:, 0] < -0.8, clean[:, 0] > 0.8))
    assert np.median(there.noise) == pytest.approx(0.5 * spacing, rel=0.2) and here.noise.max() < 0.02 * spacing
    assert there.clean.max() < 0.1 and here.clean.min() > 0.9
    assert there.smoothing.min() > 4 * here.smoothing.max() and here.smoothing.max() < 1.1 * LEAST_SMOOTHING * spacing
    assert there.neighbours.min() > here.neighbours.max()


def test_spacing_is_that_of_each_side():
    clean = sphere(16_000)
    kept = clean[(clean[:, 0] < 0) | (np.arange(len(clean)) % 4 == 0)]
    found = quality(kept)
    dense, sparse = (np.median(found.at(kept[part]).spacing) for part in (kept[:, 0] < -0.8, kept[:, 0] > 0.8))
    expected = math.sqrt(4 * math.pi / 16_000)
    assert dense == pytest.approx(expected, rel=0.1) and sparse == pytest.approx(2 * expected, rel=0.1)


def test_quality_scales_with_the_cloud_and_turns_with_it():
    points = noisy(sphere(2000), sphere(2000), 0.3)
    one, other = quality(points), quality(1e-3 * points[:, [1, 2, 0]])
    for name in ("spacing", "noise", "smoothing"):
        np.testing.assert_allclose(getattr(other, name), 1e-3 * getattr(one, name), rtol=1e-3)
    np.testing.assert_allclose(other.clean, one.clean, atol=1e-3)


def test_neighbourhood_grows_with_noise():
    clean = sphere(3000)
    found = [quality(noisy(clean, clean, spacings)) for spacings in (0.0, 0.001, 0.01, 0.1)]
    sizes = [np.median(each.neighbours) for each in found]
    assert sizes == sorted(sizes) and sizes[0] < 20 < 60 <= sizes[-1] and set(found[0].neighbours) <= set(SIZES)
    assert np.median(found[0].noise) < 1e-4 * PointCloud(clean).spacing()


@pytest.mark.parametrize("spacings", [0.7, 0.85])
def test_neighbourhood_is_wide_enough_to_see_the_surface_in_strong_noise(spacings):
    clean = sphere(3000)
    normals = local_surfaces(noisy(clean, clean, spacings)).normals
    assert np.linalg.norm(np.cross(normals, clean), axis=1).mean() < 0.15


def size(misses: dict[int, float]) -> int:
    """What is chosen where neighbourhoods of these sizes miss by so much, in spacings."""
    (chosen,) = judged(np.zeros((1, 3)), np.ones(1), np.array(list(misses)), np.array(list(misses.values()))[:, None]).neighbours
    return chosen


def test_neighbourhood_is_the_smallest_that_no_larger_one_betters_by_five_percent_of_the_square():
    assert size({8: 0.02, 12: 0.01, 18: 0.01}) == 12
    assert size({8: 0.02, 12: 0.01, 18: 0.01 / math.sqrt(1.049)}) == 12
    assert size({8: 0.02, 12: 0.01, 18: 0.01 / math.sqrt(1.051)}) == 18
    assert size({8: 0.01, 12: 0.01}) == 8 and size({8: 0.0}) == 8


def test_relief_lowers_the_smoothing_of_the_same_noise():
    misses = lambda widest: np.array([[0.5], [0.4], [widest]])
    flat, bent = (judged(np.zeros((1, 3)), np.ones(1), np.array([8, 40, 130]), misses(widest)) for widest in (0.4, 0.8))
    assert flat.noise == bent.noise and flat.smoothing > 1.5 * bent.smoothing


@pytest.mark.parametrize("count", [3, 4, 9, 20])
def test_few_points_have_a_quality(count):
    found = quality(plane(count)).at(np.zeros((2, 3)))
    for values in (found.spacing, found.noise, found.smoothing, found.clean, found.neighbours):
        assert values.shape == (2,) and np.isfinite(values).all()
    assert found.neighbours.max() <= count
