import numpy as np
import pytest

from surfrecon.data_tools.shapes import MARGIN, SHAPES, box, capsule, cylinder, knot, mesh_of, named, smooth_union, sphere, torus
from surfrecon.errors import InputError
from surfrecon.repair import inspect

EXACT = {
    "sphere": sphere(0.8),
    "torus": torus(1.0, 0.4),
    "box": box([1.0, 0.6, 0.4]),
    "rounded box": box([1.0, 0.6, 0.4], rounding=0.1),
    "cylinder": cylinder(0.5, 0.8),
    "capsule": capsule([-0.5, 0.1, 0], [0.5, 0, 0.3], 0.25),
    "knot": knot(2, 3, major=1.0, minor=0.4, radius=0.18),
    "moved and turned": box([1.0, 0.6, 0.4]).axes("zxy").moved([0.3, -0.2, 0.1]),
}
GENUS = {"torus": 1, "knot": 1, "bracket": 3}  # all others: 0


def points_around(shape, count: int = 20_000) -> np.ndarray:
    low, high = shape.bounds
    margin = 0.3 * (high - low).max()
    return np.random.default_rng(0).uniform(low - margin, high + margin, (count, 3))


def gradient(shape, p: np.ndarray) -> np.ndarray:
    step = 1e-6 * np.ptp(shape.bounds, axis=0).max()
    return np.stack([(shape.distance(p + step * e) - shape.distance(p - step * e)) / (2 * step) for e in np.eye(3)], axis=1)


@pytest.mark.parametrize("name", EXACT)
def test_primitive_is_the_distance_to_its_surface(name):
    """|grad d| = 1 bounds d by the distance from above; that p - d grad d lies on the surface, from below. Both fail on the medial axis."""
    shape = EXACT[name]
    p = points_around(shape)
    d, g = shape.distance(p), gradient(shape, p)
    foot = p - d[:, None] * g
    assert np.mean(np.abs(np.linalg.norm(g, axis=1) - 1) < 1e-4) > 0.998
    assert np.mean(np.abs(shape.distance(foot)) < 1e-4) > 0.998


@pytest.mark.parametrize("name", SHAPES)
def test_distance_is_1_lipschitz_and_bounds_hold_the_solid(name):
    shape = named(name)
    p = points_around(shape)
    q = p + np.random.default_rng(1).normal(0, 0.05 * np.ptp(shape.bounds), p.shape)
    assert (np.abs(shape.distance(p) - shape.distance(q)) <= np.linalg.norm(p - q, axis=1) * (1 + 1e-9)).all()
    inside = p[shape.distance(p) < 0]
    assert len(inside) > 100
    assert (inside >= shape.bounds[0]).all() and (inside <= shape.bounds[1]).all()


def test_knot_distance_matches_a_search_of_the_whole_curve():
    t = np.linspace(0, 2 * np.pi, 100_000)
    r = 1.0 + 0.4 * np.cos(3 * t)
    curve = np.stack([r * np.cos(2 * t), r * np.sin(2 * t), 0.4 * np.sin(3 * t)], axis=1)
    shape = EXACT["knot"]
    p = points_around(shape, 50)
    slow = np.array([np.linalg.norm(curve - x, axis=1).min() for x in p]) - 0.18
    np.testing.assert_allclose(shape.distance(p), slow, atol=1e-7)


def test_combinations_have_the_sign_of_set_operations():
    a, b = sphere(1.0), box([1.2, 1.2, 3.0])
    p = points_around(a | b)
    in_a, in_b = a.distance(p) < 0, b.distance(p) < 0
    for combined, wanted in ((a | b, in_a | in_b), (a & b, in_a & in_b), (a - b, in_a & ~in_b)):
        np.testing.assert_array_equal(combined.distance(p) < 0, wanted)


def test_smooth_union_is_the_union_away_from_the_seam():
    a, b = sphere(1.0), sphere(1.0).moved([1.5, 0, 0])
    p = points_around(a | b)
    soft, hard = smooth_union(a, b, 0.2).distance(p), (a | b).distance(p)
    far = np.abs(a.distance(p) - b.distance(p)) > 0.2
    np.testing.assert_array_equal(soft[far], hard[far])
    assert (soft <= hard).all() and (hard - soft).max() <= 0.05


@pytest.mark.parametrize("shape, volume", [(sphere(0.8), 4 / 3 * np.pi * 0.8**3), (torus(1.0, 0.4), 2 * np.pi**2 * 0.4**2)])
def test_mesh_volume_within_one_percent(shape, volume):
    assert mesh_of(shape, 64).volume() == pytest.approx(volume, rel=0.01)


@pytest.mark.parametrize("name", SHAPES)
def test_mesh_of_a_named_shape_is_one_solid_of_the_right_genus(name):
    shape = named(name)
    mesh = mesh_of(shape, 96)
    report = inspect(mesh)
    assert report.solid and report.components == 1
    assert report.genus == GENUS.get(name, 0)
    cell = np.ptp(shape.bounds, axis=0).max() / MARGIN / 96
    assert np.abs(shape.distance(mesh.vertices)).max() < 0.5 * cell


def test_unknown_shape_names_the_known_ones():
    with pytest.raises(InputError, match=r"no shape 'cube'.*bracket"):
        named("cube")
