"""Local surfaces against closed forms and a slow fit; outliers that must be found, and clean clouds that must keep every point."""

import math

import numpy as np
import pytest

from surfrecon.geometry import PointCloud
from surfrecon.local_surfaces import FALLOFF, SIZES, best_size, local_surfaces, outlying

EXACT = 1e-6  # fits are made in float32, in units of the neighbourhood


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def plane(count: int, seed: int = 0) -> np.ndarray:
    return np.c_[np.random.default_rng(seed).uniform(-1, 1, (count, 2)), np.zeros(count)]


def sphere(count: int, seed: int = 0) -> np.ndarray:
    """Points of the unit sphere: their own normals."""
    return unit(np.random.default_rng(seed).normal(size=(count, 3)))


def noisy(points: np.ndarray, normals: np.ndarray, spacings: float) -> np.ndarray:
    height = spacings * PointCloud(points).spacing() * np.random.default_rng(1).normal(size=(len(points), 1))
    return points + height * normals


def sine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.cross(one, other), axis=1)


# normals and offsets -----------------------------------------------------------------------------------------------------------------


def test_plane_is_met_exactly_in_any_direction_far_from_the_origin():
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    surfaces = local_surfaces(plane(1000) @ rotation.T + [8e5, 5.8e6, 100.0])
    assert sine(surfaces.normals, rotation[:, 2]).max() < EXACT and np.abs(surfaces.offsets).max() < EXACT
    assert surfaces.noise < EXACT
    np.testing.assert_allclose(np.linalg.norm(surfaces.normals, axis=1), 1, atol=EXACT)


def bowl(count: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.random.default_rng(0).uniform(-1, 1, (2, count))
    points = np.stack([x, y, 0.6 * x * x - 0.8 * x * y - 0.3 * y * y + 0.2 * x], axis=1)
    return points, unit(np.stack([-1.2 * x + 0.8 * y - 0.2, 0.8 * x + 0.6 * y, np.ones(count)], axis=1))


def test_normals_and_offsets_converge_with_the_spacing_on_sphere_and_quadric():
    """Normals of a quadric fit err by the square of the spacing, offsets by its third power; the sphere has no third order to err in."""
    for surface, normal_order in ((lambda count: (sphere(count), sphere(count)), 3), (bowl, 2)):
        angle, height = [], []
        for count in (1000, 4000, 16000):
            points, normals = surface(count)
            surfaces = local_surfaces(points, neighbours=18)
            angle.append(np.median(sine(surfaces.normals, normals)))
            height.append(np.median(np.abs(surfaces.offsets)))
        halvings = lambda error: np.log2(np.divide(error[:-1], error[1:]))
        assert (halvings(angle) > normal_order - 0.1).all() and angle[-1] < 2e-4
        assert (halvings(height) > 2.9).all() and height[-1] < 1e-6


def slow_quadric(points: np.ndarray, row: int, neighbours: int) -> tuple[np.ndarray, float]:
    """Normal and height over one point, by weighted least squares in float64."""
    distance = np.linalg.norm(points - points[row], axis=1)
    near = np.argsort(distance)[:neighbours]
    local, weight = points[near] - points[row], np.exp(-FALLOFF * (distance[near] / distance[near].max()) ** 2)
    centred = local - np.average(local, axis=0, weights=weight)
    frame = np.linalg.eigh(centred.T @ (weight[:, None] * centred))[1]
    w, u, v = (local @ frame).T
    root = np.sqrt(weight)
    basis = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=1)
    c = np.linalg.lstsq(root[:, None] * basis, root * w, rcond=None)[0]
    normal = frame @ [1, -c[1], -c[2]]
    return normal / np.linalg.norm(normal), c[0] / np.linalg.norm(normal)


def test_quadrics_equal_weighted_least_squares_point_by_point():
    points = noisy(*bowl(400), 0.2)
    surfaces = local_surfaces(points, neighbours=40)
    for row in range(0, 400, 8):
        normal, height = slow_quadric(points, row, 40)
        side = np.sign(normal @ surfaces.normals[row])
        np.testing.assert_allclose(surfaces.normals[row], side * normal, atol=2e-3)  # what the ridge costs
        assert surfaces.offsets[row] == pytest.approx(side * height, abs=1e-4)


def test_offset_along_the_normal_leads_from_a_noisy_point_towards_the_surface():
    points = noisy(plane(3000), np.array([0.0, 0.0, 1.0]), 0.5)
    surfaces = local_surfaces(points)
    moved = points + surfaces.offsets[:, None] * surfaces.normals
    assert moved[:, 2].std() < 0.4 * points[:, 2].std()


@pytest.mark.parametrize(
    "count", [3, 4, 7, 12]
)
def test_few_points_of_a_plane_have_its_normal(count):
    surfaces = local_surfaces(plane(count))
    assert surfaces.neighbours <= count and sine(surfaces.normals, np.array([0.0, 0.0, 1.0])).max() < 1e-4


# noise and neighbourhood -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacings", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("surface", ["plane", "sphere"])
def test_noise_is_found_within_a_fifth(surface, spacings):
    clean = plane(3000) if surface == "plane" else sphere(3000)
    normals = np.array([0.0, 0.0, 1.0]) if surface == "plane" else clean
    surfaces = local_surfaces(noisy(clean, normals, spacings))
    assert surfaces.noise == pytest.approx(spacings * PointCloud(clean).spacing(), rel=0.2)


def test_neighbourhood_grows_with_noise():
    clean = sphere(3000)
    found = [local_surfaces(noisy(clean, clean, spacings)) for spacings in (0.0, 0.001, 0.01, 0.1)]
    sizes = [surfaces.neighbours for surfaces in found]
    assert sizes == sorted(sizes) and sizes[0] < 20 < 60 <= sizes[-1] and set(sizes) <= set(SIZES)
    assert found[0].noise < 1e-4 * PointCloud(clean).spacing()


@pytest.mark.parametrize("spacings", [0.7, 0.85])
def test_neighbourhood_is_wide_enough_to_see_the_surface_in_strong_noise(spacings):
    clean = sphere(3000)
    surfaces = local_surfaces(noisy(clean, clean, spacings))
    assert sine(surfaces.normals, clean).mean() < 0.15


def test_best_size_is_the_smallest_that_no_larger_one_betters_by_five_percent_of_the_square():
    assert best_size({8: 1.0, 12: 0.5, 18: 0.5}) == 12
    assert best_size({8: 1.0, 12: 0.5, 18: 0.5 / math.sqrt(1.049)}) == 12
    assert best_size({8: 1.0, 12: 0.5, 18: 0.5 / math.sqrt(1.051)}) == 18
    assert best_size({12: 0.7, 8: 0.7}) == 8 and best_size({8: 0.0}) == 8


# normals that settle ------------------------------------------------------------------------------------------------------------------


def roof(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of two planes that meet at a right angle along the y axis, and their normals."""
    side = np.where(np.arange(count) % 2 == 0, 1.0, -1.0)
    far, along = np.random.default_rng(4).uniform((0, -1), (1, 1), (count, 2)).T
    normals = np.c_[side, np.zeros(count), np.ones(count)] / math.sqrt(2)
    return np.c_[side * far, along, -far], normals


@pytest.mark.parametrize("spacings", [0.2, 0.5])
def test_settled_normals_are_nearer_to_the_truth_than_the_quadrics_own_and_keep_an_edge(spacings):
    clean, normals = roof(6000)
    points = noisy(clean, normals, spacings)
    settled = local_surfaces(points)
    own = local_surfaces(points, neighbours=settled.neighbours)
    assert sine(settled.normals, normals).mean() < 0.75 * sine(own.normals, normals).mean()
    edge = abs(clean[:, 0]) < 3 * PointCloud(clean).spacing()
    assert sine(settled.normals, normals)[edge].mean() < sine(own.normals, normals)[edge].mean()


def test_clean_points_keep_the_normals_of_their_quadrics():
    found = local_surfaces(sphere(2000))
    np.testing.assert_array_equal(found.normals, local_surfaces(sphere(2000), neighbours=found.neighbours).normals)


# outliers ----------------------------------------------------------------------------------------------------------------------------


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
