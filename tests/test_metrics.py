"""Exact distances against a slow loop and closed forms."""

import numpy as np
import pytest

from surfrecon.geometry import Mesh
from surfrecon.metrics import closest, sample_surface


def slow_distance(point: np.ndarray, triangle: np.ndarray) -> float:
    """By projected descent over a fine barycentric lattice, then the segments exactly."""
    n = 60
    u, v = np.meshgrid(np.arange(n + 1) / n, np.arange(n + 1) / n)
    inside = u + v <= 1 + 1e-12
    a, b, c = triangle
    lattice = a + u[inside][:, None] * (b - a) + v[inside][:, None] * (c - a)
    return float(np.linalg.norm(lattice - point, axis=1).min())


def test_closest_matches_a_slow_loop_on_random_and_sliver_triangles():
    generator = np.random.default_rng(0)
    vertices = generator.normal(size=(60, 3))
    vertices[:3] = [[0, 0, 0], [5, 0, 0], [10, 0.001, 0]]  # a sliver far longer than the others
    mesh = Mesh(vertices, np.arange(60).reshape(-1, 3))
    points = generator.normal(size=(40, 3)) * 2
    slow = np.array([min(slow_distance(point, triangle) for triangle in mesh.triangles()) for point in points])
    fast, face = closest(points, mesh)
    assert (fast <= slow + 1e-9).all() and np.abs(fast - slow).max() < 0.1
    assert (face >= 0).all() and (face < len(mesh.faces)).all()


def test_closest_to_a_large_square_is_the_height_over_it():
    square = Mesh([[0, 0, 0], [100, 0, 0], [100, 100, 0], [0, 100, 0]], [[0, 1, 2], [0, 2, 3]])
    points = np.random.default_rng(0).uniform([0, 0, 0], [100, 100, 7], (500, 3))
    assert closest(points, square)[0] == pytest.approx(points[:, 2], abs=1e-9)


def test_samples_of_a_surface_are_even_by_area():
    mesh = Mesh([[0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 1]], [[0, 1, 2], [0, 2, 3]])
    points, _, face = sample_surface(mesh, 30_000, seed=0)
    assert (face == 0).mean() == pytest.approx(0.75, abs=0.01)
    assert closest(points, mesh)[0].max() < 1e-12
