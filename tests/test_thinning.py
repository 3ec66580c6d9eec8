"""Thinning: what means of cells keep of a cloud, and what they must not do."""

import numpy as np
import pytest

from surfrecon.geometry import PointCloud
from surfrecon.outliers import outlying
from surfrecon.thinning import FARTHEST, MANY, gathered, thinned

RADIUS = 0.7


def sphere(count: int, *, noise: float = 0.0) -> PointCloud:
    generator = np.random.default_rng(0)
    normals = generator.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return PointCloud((RADIUS + noise * generator.normal(size=(count, 1))) * normals, normals=normals)


def off(cloud: PointCloud) -> float:
    """Root mean squared distance from the sphere."""
    return float(np.sqrt(np.mean((np.linalg.norm(cloud.points, axis=1) - RADIUS) ** 2)))


def test_a_cloud_that_is_small_enough_comes_back_as_it_is():
    cloud = sphere(100)
    assert thinned(cloud, enough=100) is cloud and thinned(cloud) is cloud


def test_means_are_those_of_a_slow_loop_where_no_cell_outweighs_its_neighbours():
    generator = np.random.default_rng(1)
    points = generator.uniform(-1, 1, (400, 3))
    cells = {}
    for point in points:
        cells.setdefault(tuple(np.floor(point / 1.0)), []).append(point)  # eight octants of about 50
    wanted = np.array(sorted(np.mean(members, axis=0).tolist() for members in cells.values()))
    got = np.array(sorted(thinned(PointCloud(points), side=1.0, enough=8).points.tolist()))
    assert len(wanted) == 8 and np.abs(got - wanted).max() < 1e-12


def test_no_more_points_than_enough_whatever_the_side():
    cloud = sphere(20_000)
    for enough in (10, 100, 1000, 5000):
        left = thinned(cloud, side=1e-4, enough=enough)
        assert 0.2 * enough < len(left) <= enough


def test_noise_of_a_third_of_a_cell_falls_by_a_third_though_it_fills_three_layers():
    noisy = sphere(200_000, noise=0.01)
    means = thinned(noisy, side=0.03, enough=100_000)
    assert off(noisy) == pytest.approx(0.01, rel=0.02) and off(means) < 0.65 * 0.01


def test_clean_points_stay_on_their_surface_up_to_its_bend_in_a_cell():
    side = 0.02
    assert off(thinned(sphere(200_000), side=side, enough=100_000)) < side**2 / (4 * RADIUS)


def test_a_light_cell_joins_its_heavy_neighbour_and_one_far_off_stays():
    points = np.concatenate([np.full((10, 3), 0.5), np.full((2, 3), [1.1, 0.5, 0.5]), [[9.5, 0.5, 0.5]]])
    left = thinned(PointCloud(points), side=1.0, enough=5).points
    assert np.allclose(left[np.argsort(left[:, 0])], [[0.6, 0.5, 0.5], [9.5, 0.5, 0.5]])
    alike = np.concatenate([np.full((10, 3), 0.5), np.full((5, 3), [1.1, 0.5, 0.5])])
    assert len(thinned(PointCloud(alike), side=1.0, enough=5)) == 2


def test_stray_points_stay_to_be_found_as_outliers():
    stray = np.random.default_rng(2).uniform(-0.95, 0.95, (100, 3))
    stray = stray[np.abs(np.linalg.norm(stray, axis=1) - RADIUS) > 0.1]
    left = thinned(PointCloud(np.concatenate([sphere(100_000).points, stray])), side=0.02, enough=50_000)
    away = np.abs(np.linalg.norm(left.points, axis=1) - RADIUS) > 0.1
    assert away.sum() == len(stray) and outlying(left.points)[away].all()


def test_points_far_beyond_the_lattice_do_not_come_near_the_object():
    far = np.array([[1e30, 0.1, 0.1], [-1e30, 0.1, 0.1], [1e30, 0.1, 0.1], [0.1, 0.1, 1e12]])
    left = thinned(PointCloud(np.concatenate([sphere(1000).points, far])), side=0.1, enough=700).points
    assert (np.abs(left).max(axis=1) > 1).sum() == 3 and np.isfinite(left).all() and 0.1 * FARTHEST < 1e12


def test_attributes_go_along():
    cloud = sphere(20_000)
    up = cloud.points[:, 2] > 0
    full = PointCloud(
        cloud.points,
        normals=cloud.normals,
        colors=np.where(up[:, None], [1.0, 0.5, 0.0], [0.0, 0.5, 1.0]),
        scalars={"height": cloud.points[:, 2].astype(np.float32), "class": up.astype(np.uint8)},
        origins=np.tile([0.0, 0.0, 5.0], (len(cloud), 1)),
        crs="EPSG:4978",
    )
    left = thinned(full, side=0.05, enough=10_000)
    assert left.crs == full.crs and len(left) < 10_000
    assert np.abs(np.linalg.norm(left.normals, axis=1) - 1).max() < 1e-12
    assert np.einsum("nd,nd->n", left.normals, left.points / RADIUS).min() > 0.99
    assert np.abs(left.scalars["height"] - left.points[:, 2]).max() < 1e-6 and left.scalars["height"].dtype == np.float32
    sure = np.abs(left.points[:, 2]) > 0.1
    assert left.scalars["class"].dtype == np.uint8 and np.array_equal(left.scalars["class"][sure] == 1, left.points[sure, 2] > 0)
    assert np.allclose(left.colors[sure, 1], 0.5) and np.allclose(left.colors[sure, 0], left.points[sure, 2] > 0)
    assert np.allclose(left.origins, [0, 0, 5])


def test_order_of_the_points_changes_nothing_but_the_last_digits():
    cloud = sphere(5000)
    other = cloud[np.random.default_rng(3).permutation(5000)]
    first, second = (thinned(item, side=0.1, enough=2000).points for item in (cloud, other))
    assert np.abs(first - second).max() < 1e-12


def test_gathered_points_are_the_same_ones_and_neighbours_in_the_list_are_near_in_space():
    cloud = sphere(MANY + 1)
    near = gathered(cloud)
    assert gathered(cloud[:MANY])[:1].points.tolist() == cloud[:1].points.tolist()
    assert np.array_equal(np.sort(near.points, axis=0), np.sort(cloud.points, axis=0))
    assert np.allclose(near.normals * RADIUS, near.points)
    steps = lambda item: np.linalg.norm(np.diff(item.points, axis=0), axis=1)
    assert np.median(steps(near)) < 0.05 < 0.5 < np.median(steps(cloud))
