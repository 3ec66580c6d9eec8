"""Flips that mend slivers, and vertices put back: never at the cost of a closed manifold."""

import numpy as np
import pytest

from surfrecon.geometry import Mesh
from surfrecon.repair import inspect
from surfrecon.slivers import UPRIGHT, flipped, following, opposite_sides, quality, unfolded

UP = np.array([0.0, 0.0, 1.0])


def sheet(side: int) -> tuple[np.ndarray, np.ndarray]:
    """((side + 1)^2, 3) vertices and faces of a flat grid of unit squares, seen from above."""
    x, y = np.meshgrid(np.arange(side + 1.0), np.arange(side + 1.0), indexing="ij")
    corner = np.arange((side + 1) ** 2).reshape(side + 1, side + 1)
    a, b, c, d = corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], 1), faces


def tetrahedron() -> Mesh:
    return Mesh(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]]), np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))


def normals(mesh: Mesh) -> np.ndarray:
    vectors = mesh.area_vectors()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_opposite_sides_equal_a_slow_search():
    _, faces = sheet(4)
    ends = {(int(f[i]), int(f[(i + 1) % 3])): 3 * row + i for row, f in enumerate(faces) for i in range(3)}
    expected = [ends.get((head, tail), -1) for tail, head in ends]
    assert opposite_sides(faces).ravel().tolist() == [expected[list(ends.values()).index(side)] for side in range(3 * len(faces))]


def test_following_goes_around_a_face():
    assert following(np.arange(6)).tolist() == [1, 2, 0, 4, 5, 3]


def test_opposite_sides_of_a_closed_mesh_are_mutual():
    opposite = opposite_sides(tetrahedron().faces).ravel()
    assert (opposite[opposite] == np.arange(12)).all()


@pytest.mark.parametrize(("height", "expected"), [(np.sqrt(3) / 2, 1.0), (0.0, 0.0), (-np.sqrt(3) / 2, -1.0)])
def test_quality_is_one_zero_and_minus_one(height, expected):
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0.5, height, 0]])
    assert quality(vertices, np.array([[0, 1, 2]]), UP[None])[0] == pytest.approx(expected, abs=1e-12)


def test_flip_mends_a_vertex_on_the_line_between_its_neighbours():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0.5, 1e-9, 0], [0.5, -1, 0], [0.5, 1, 0]])
    faces = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 4], [2, 1, 4]])
    mended, looks = flipped(vertices, faces, np.tile(UP, (4, 1)), np.ones(5, bool))
    assert quality(vertices, mended, looks).min() > 0.5
    assert Mesh(vertices, mended).area() == pytest.approx(Mesh(vertices, faces).area())


def test_good_faces_and_faces_that_may_not_move_are_left_alone():
    vertices, faces = sheet(5)
    looks = np.tile(UP, (len(faces), 1))
    assert np.array_equal(flipped(vertices, faces, looks, np.ones(len(vertices), bool))[0], faces)
    thin = vertices * [1, 1e-3, 1]
    assert np.array_equal(flipped(thin, faces, looks, np.zeros(len(vertices), bool))[0], faces)


def test_flips_never_double_an_edge():
    flat = tetrahedron()
    squashed = flat.vertices * [1, 1, 1e-6]  # every edge exists already: no flip is possible
    faces, _ = flipped(squashed, flat.faces, normals(flat), np.ones(4, bool))
    assert np.array_equal(faces, flat.faces)


@pytest.mark.parametrize("seed", range(5))
def test_shaken_closed_mesh_stays_closed_and_manifold_and_gets_better(seed):
    import trimesh

    made = trimesh.creation.icosphere(3)
    ball = Mesh(made.vertices, made.faces)
    along = np.random.default_rng(seed).normal(scale=0.05, size=(len(ball.vertices), 3))
    shaken = ball.vertices + along
    shaken /= np.linalg.norm(shaken, axis=1, keepdims=True)
    before = quality(shaken, ball.faces, normals(ball))
    faces, looks = flipped(shaken, ball.faces, normals(ball), np.ones(len(shaken), bool))
    report = inspect(Mesh(shaken, faces))
    assert report.solid and report.genus == 0 and len(faces) == len(ball.faces)
    after = quality(shaken, faces, looks)
    assert (before < 0.1).sum() > 2 * (after < 0.1).sum()


def test_folded_vertex_goes_back_and_the_others_stay_moved():
    before, faces = sheet(8)
    after = before + np.array([0.1, 0.0, 0.0])
    folded = 40  # a vertex in the middle
    after[folded] += [3.0, 0.0, 0.0]
    looks = np.tile(UP, (len(faces), 1))
    kept = unfolded(before, after, faces, looks)
    assert np.array_equal(kept[folded], before[folded])
    assert quality(kept, faces, looks).min() > 0 and (kept != before).any(1).mean() > 0.5


def test_everything_goes_back_where_everything_is_turned_over():
    before, faces = sheet(4)
    looks = np.tile(UP, (len(faces), 1))
    assert np.array_equal(unfolded(before, before * [-1, 1, 1], faces, looks)[1:], before[1:])
    assert UPRIGHT > 0
