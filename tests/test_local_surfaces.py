"""Local surfaces against closed forms and a slow fit."""

import math

import numpy as np
import pytest

from surfrecon.geometry import PointCloud
from surfrecon.local_surfaces import local_surfaces
from surfrecon.quadrics import FALLOFF

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
    assert surfaces.neighbours.max() <= count and sine(surfaces.normals, np.array([0.0, 0.0, 1.0])).max() < 1e-4


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
    own = local_surfaces(points, neighbours=int(np.median(settled.neighbours)))
    assert sine(settled.normals, normals).mean() < 0.75 * sine(own.normals, normals).mean()
    edge = abs(clean[:, 0]) < 3 * PointCloud(clean).spacing()
    assert sine(settled.normals, normals)[edge].mean() < sine(own.normals, normals)[edge].mean()


def test_clean_points_keep_the_normals_of_their_quadrics():
    found = local_surfaces(sphere(2000))
    for size in np.unique(found.neighbours):
        same = found.neighbours == size
        np.testing.assert_array_equal(found.normals[same], local_surfaces(sphere(2000), neighbours=size).normals[same])
