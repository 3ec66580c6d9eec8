"""Outliers that must be found, and clean clouds that must keep every point."""

import numpy as np
import pytest

from surfrecon.geometry import PointCloud
from surfrecon.outliers import outlying


def plane(count: int, seed: int = 0) -> np.ndarray:
    return np.c_[np.random.default_rng(seed).uniform(-1, 1, (count, 2)), np.zeros(count)]


def sphere(count: int, seed: int = 0) -> np.ndarray:
    """Points of the unit sphere: their own normals."""
    normals = np.random.default_rng(seed).normal(size=(count, 3))
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


@pytest.mark.parametrize("share", [0.01, 0.05])
@pytest.mark.parametrize("count", [2000, 20_000])
def test_all_outliers_beyond_four_spacings_of_a_sphere_are_found_and_no_point_of_it(count, share):
    stray = np.random.default_rng(9).uniform(-1.5, 1.5, (round(share * count), 3))
    clean = sphere(count)
    found = outlying(np.concatenate([clean, stray]))
    far = np.abs(np.linalg.norm(stray, axis=1) - 1) > 4 * PointCloud(clean).spacing()
    assert found[count:][far].all() and found[:count].mean() < 0.002


def test_two_outliers_side_by_side_are_found():
    pair = np.array([[2.0, 0, 0], [2.01, 0, 0]])
    assert np.flatnonzero(outlying(np.concatenate([sphere(2000), pair]))).tolist() == [2000, 2001]


def faces(count: int, axes) -> np.ndarray:
    """Squares that meet at right angles: two at an edge, three in a corner."""
    generator = np.random.default_rng(0)
    return np.concatenate([np.insert(generator.uniform(0, 1, (count, 2)), axis, 0, axis=1) for axis in axes])


GRID = np.stack(np.meshgrid(np.arange(40.0), np.arange(40.0), [0.0]), axis=-1).reshape(-1, 3)
CLEAN = {
    "plane": plane(3000),
    "lattice": GRID,
    "sphere": sphere(3000),
    "edge": faces(1000, (0, 1)),
    "corner": faces(1000, (0, 1, 2)),
    "cube": np.concatenate([faces(1000, (0, 1, 2)), 1 - faces(1000, (0, 1, 2))]),
    "line of ten": np.linspace(0, 1, 10)[:, None] * [1.0, 2.0, 3.0],
    "uneven line": np.sort(np.random.default_rng(0).uniform(size=50))[:, None] * [1.0, 2.0, 3.0],
    "each point five times": np.repeat(plane(300), 5, axis=0),
    "a part twice": np.concatenate([sphere(3000), sphere(3000)[:500]]),
    "one place": np.zeros((100, 3)),
    "nine points in space": np.random.default_rng(0).normal(size=(9, 3)),
    "one point": np.zeros((1, 3)),
    "no point": np.zeros((0, 3)),
}


@pytest.mark.parametrize("cloud", CLEAN)
def test_clean_clouds_have_no_outlier(cloud):
    found = outlying(CLEAN[cloud])
    assert found.shape == (len(CLEAN[cloud]),) and not found.any()



def test_outliers_do_not_depend_on_frame_or_order():
    cloud = np.concatenate([sphere(2000), np.random.default_rng(9).uniform(-1.5, 1.5, (60, 3))])
    found = outlying(cloud)
    order = np.random.default_rng(1).permutation(len(cloud))
    assert np.array_equal(outlying(cloud[order]), found[order])
    assert np.array_equal(outlying(1e3 * cloud + [8e5, 5.8e6, 100.0]), found) and found.sum() > 30
