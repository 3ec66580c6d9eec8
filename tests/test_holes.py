"""Holes and seams: what is closed is solid, what can't be is counted."""

import numpy as np
import pytest
from solids import ball

from surfrecon.geometry import Mesh
from surfrecon.holes import closed, without_seams
from surfrecon.repair import inspect, selected

CUBE = [[0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7], [0, 1, 5], [0, 5, 4], [1, 2, 6], [1, 6, 5], [2, 3, 7], [2, 7, 6], [3, 0, 4], [3, 4, 7]]
CORNERS = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]


def test_lid_of_a_cube_is_closed_to_the_cubes_volume():
    box = Mesh(CORNERS, CUBE[:2] + CUBE[4:], colors=np.array(CORNERS), scalars={"z": np.array(CORNERS)[:, 2]})
    result, shut, left = closed(box)
    assert (shut, left) == (1, 0) and inspect(result).solid and result.volume() == pytest.approx(1)
    assert result.vertices[-1] == pytest.approx([0.5, 0.5, 1]) and result.colors[-1] == pytest.approx([0.5, 0.5, 1])
    assert result.scalars["z"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]


def test_missing_faces_of_a_sphere_are_closed_one_by_one():
    mesh = ball(centre=(8e5, 5.8e6, 0), level=4)
    kept = np.ones(len(mesh.faces), bool)
    kept[[0, 1000, 2000]] = False
    kept[mesh.triangles()[:, :, 2].mean(1) > 0.9] = False
    result, shut, left = closed(selected(mesh, kept))
    assert (shut, left) == (4, 0) and inspect(result).solid and inspect(result).genus == 0
    assert result.volume() == pytest.approx(mesh.volume() - np.pi * 0.1**2 * (3 - 0.1) / 3, rel=0.01)  # without the cap


def test_border_that_meets_itself_is_left_and_counted():
    bow = Mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]], [[0, 1, 2], [0, 3, 4]])
    result, shut, left = closed(bow)
    assert (shut, left) == (0, 1) and len(result.faces) == 2


def test_closed_mesh_stays_as_it_is():
    mesh = ball(level=2)
    result, shut, left = closed(mesh)
    assert result is mesh and (shut, left) == (0, 0)


def test_faces_with_corners_of_their_own_become_a_solid():
    cube = Mesh(CORNERS, CUBE)
    soup = Mesh(cube.triangles().reshape(-1, 3), np.arange(36).reshape(-1, 3))
    result = without_seams(soup)
    assert len(result.vertices) == 8 and inspect(result).solid and result.volume() == pytest.approx(1)


def test_seam_whose_joining_would_branch_is_left():
    page = lambda x, y: [[0, 0, 0], [0, 0, 1], [x, y, 0]]
    book = Mesh(np.concatenate([page(1, 0), page(0, 1), page(-1, -1)]), np.arange(9).reshape(3, 3))
    assert without_seams(book) is book
