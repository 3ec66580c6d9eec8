from functools import cache

import numpy as np
import pytest

from surfrecon.data_tools.families import FAMILIES, HELD_OUT, random_shape
from surfrecon.data_tools.shapes import MARGIN, Shape, mesh_of
from surfrecon.errors import InputError
from surfrecon.geometry import Mesh
from surfrecon.repair import inspect

SEEDS = (1, 2)
CELLS = 64
ROUNDING = 1e-4  # of the longest side: float32 against float64


@cache
def drawn(family: str, seed: int) -> Shape:
    return random_shape(family, np.random.default_rng(seed))


@cache
def meshed(family: str, seed: int) -> Mesh:
    return mesh_of(drawn(family, seed), CELLS)


def points_around(shape: Shape, count: int = 3000) -> np.ndarray:
    margin = 0.3 * np.ptp(shape.bounds, axis=0).max()
    return np.random.default_rng(0).uniform(shape.bounds[0] - margin, shape.bounds[1] + margin, (count, 3))


each = pytest.mark.parametrize("shape", [pytest.param((name, seed), id=f"{name}-{seed}") for name in FAMILIES for seed in SEEDS])


@each
def test_distance_is_1_lipschitz(shape):
    shape = drawn(*shape)
    p, rng = points_around(shape), np.random.default_rng(1)
    q = p + rng.normal(size=p.shape) * np.ptp(shape.bounds) * 10.0 ** rng.uniform(-4, 0, (len(p), 1))
    assert (np.abs(shape.distance(p) - shape.distance(q)) <= np.linalg.norm(p - q, axis=1) * (1 + 1e-6)).all()


@each
def test_float32_points_give_float32_distances_that_agree_with_float64(shape):
    shape = drawn(*shape)
    p = points_around(shape).astype(np.float32)
    single, double = shape.distance(p), shape.distance(p.astype(np.float64))
    assert single.dtype == np.float32 and double.dtype == np.float64
    np.testing.assert_allclose(single, double, rtol=0, atol=ROUNDING * np.ptp(shape.bounds, axis=0).max())


@each
def test_bounds_hold_the_solid_closely(shape):
    shape, mesh = drawn(*shape), meshed(*shape)
    cell = np.ptp(shape.bounds, axis=0).max() / MARGIN / CELLS
    low, high = mesh.bounds()
    assert (low >= shape.bounds[0] - 1e-6).all() and (high <= shape.bounds[1] + 1e-6).all()
    assert (high - low >= np.ptp(shape.bounds, axis=0) * 0.9 - 2 * cell).all()  # a point of a spike is lost between lattice nodes
    p = points_around(shape)
    inside = p[shape.distance(p) < 0]
    assert ((inside >= shape.bounds[0]) & (inside <= shape.bounds[1])).all()


@each
def test_mesh_is_one_solid_that_fills_1_to_95_percent_of_its_box(shape):
    shape, mesh = drawn(*shape), meshed(*shape)
    assert inspect(mesh).solid
    assert 0.01 < mesh.volume() / np.ptp(shape.bounds, axis=0).prod() < 0.95


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_names_a_shape(family):
    first, again, other = drawn(family, 1), random_shape(family, np.random.default_rng(1)), drawn(family, 2)
    p = points_around(first, 500)
    np.testing.assert_array_equal(first.distance(p), again.distance(p))
    assert (first.distance(p) != other.distance(p)).any()


def test_held_out_family_exists_and_unknown_one_names_the_known():
    assert HELD_OUT in FAMILIES
    with pytest.raises(InputError, match=r"no family 'cars'.*creatures"):
        random_shape("cars", np.random.default_rng(0))
