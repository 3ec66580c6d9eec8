"""Distances of points to faces that are near, beside the exact search."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from surfrecon.data_tools.shapes import mesh_of, named
from surfrecon.face_distance import nearby, squared_face_distance
from surfrecon.geometry import Mesh, Similarity
from surfrecon.metrics import closest


@pytest.mark.parametrize("name", ["torus", "bracket"])
def test_points_near_an_even_mesh_get_their_exact_distance(name):
    mesh = mesh_of(named(name), 64)
    rng = np.random.default_rng(0)
    cell = (mesh.bounds()[1] - mesh.bounds()[0]).max() / 64
    points = mesh.triangles().mean(axis=1)[rng.integers(len(mesh.faces), size=4000)] + cell * rng.normal(size=(4000, 3))
    exact = closest(points, mesh)[0]
    found = nearby(points, mesh, cKDTree(mesh.vertices))
    assert (found >= exact * (1 - 1e-9)).all()
    assert (found - exact > 1e-9 * cell).mean() < 0.002 and (found - exact).max() < 0.1 * cell


def test_one_triangle_gives_the_closed_form_anywhere_in_the_world():
    far = Similarity(translation=np.array([8e5, 5.8e6, 0.0]))
    mesh = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]])).transformed(far)
    points = far.points(np.array([[0.25, 0.25, 2.0], [-3, 0, 4], [0.5, -1, 0], [1, 1, 0]]))
    expected = [2, 5, 1, np.sqrt(0.5)]
    assert nearby(points, mesh, cKDTree(mesh.vertices)) == pytest.approx(expected, abs=1e-9)
    assert np.sqrt(squared_face_distance(points, np.repeat(mesh.triangles(), 4, axis=0))) == pytest.approx(expected, abs=1e-9)


def test_no_points_have_no_distances():
    mesh = Mesh(np.eye(3), np.array([[0, 1, 2]]))
    assert nearby(np.zeros((0, 3)), mesh, cKDTree(mesh.vertices)).shape == (0,)
