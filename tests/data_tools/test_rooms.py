import numpy as np
import pytest

from surfrecon.data_tools.rooms import room
from surfrecon.data_tools.shapes import mesh_of
from surfrecon.repair import inspect, pieces, selected

SEEDS = (0, 1, 2)


def points_in(shape, count: int = 8000) -> np.ndarray:
    return np.random.default_rng(0).uniform(shape.bounds[0] - 0.5, shape.bounds[1] + 0.5, (count, 3))


@pytest.mark.parametrize("seed", SEEDS)
def test_room_has_a_thin_floor_sides_of_3_to_8_m_and_furniture(seed):
    shape = room(np.random.default_rng(seed))
    (left, front, bottom), (right, back, top) = shape.bounds
    sides = np.array([right - left, back - front])
    assert (sides >= 3).all() and (sides <= 8).all() and 0.3 < top <= 3
    assert 0.01 <= -bottom / sides.max() <= 0.03
    floor = np.random.default_rng(0).uniform(shape.bounds[0, :2], shape.bounds[1, :2], (1000, 2))
    assert (shape.distance(np.column_stack([floor, np.full(1000, bottom / 2)])) < 0).all()
    above = np.random.default_rng(0).uniform([left * 0.8, front * 0.8, 0.05], [right * 0.8, back * 0.8, 1.0], (5000, 3))
    assert 0 < np.mean(shape.distance(above) < 0) < 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_distance_is_1_lipschitz_within_bounds_and_in_the_type_of_its_points(seed):
    shape = room(np.random.default_rng(seed))
    p, rng = points_in(shape), np.random.default_rng(1)
    q = p + rng.normal(size=p.shape) * 10.0 ** rng.uniform(-3, 0, (len(p), 1))
    d = shape.distance(p)
    assert (np.abs(d - shape.distance(q)) <= np.linalg.norm(p - q, axis=1) * (1 + 1e-6)).all()
    assert ((p[d < 0] >= shape.bounds[0]) & (p[d < 0] <= shape.bounds[1])).all()
    single = shape.distance(p.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, d, atol=1e-5)
    np.testing.assert_array_equal(room(np.random.default_rng(seed)).distance(p), d)


def test_a_hall_has_the_sides_asked_for_and_more_furniture():
    hall = room(np.random.default_rng(3), (20.0, 16.0))
    np.testing.assert_allclose(np.ptp(hall.bounds, axis=0)[:2], [20, 16])
    x = np.random.default_rng(0).uniform([-9, -7, 0.1], [9, 7, 0.4], (4000, 3))
    cells = np.unique(np.floor(x[hall.distance(x) < 0][:, :2] / 2), axis=0)
    assert len(cells) > 12  # of two metres that some piece stands in


def test_mesh_of_a_room_is_one_solid_that_stands_on_its_floor():
    mesh = mesh_of(room(np.random.default_rng(3)), 96)
    assert inspect(mesh).solid
    count, piece = pieces(mesh)
    assert max(selected(mesh, piece[mesh.faces[:, 0]] == i).volume() for i in range(count)) > 0.99 * mesh.volume()
