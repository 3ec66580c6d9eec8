import numpy as np
import pytest

from surfrecon.data_tools.profiles import around, bowed, extruded, polygon, revolved, tapered, twisted
from surfrecon.data_tools.shapes import (
    MARGIN,
    SHAPES,
    box,
    capsule,
    cylinder,
    half_space,
    joined,
    knot,
    mesh_of,
    named,
    repeated,
    round_cone,
    scattered,
    shell,
    smooth_union,
    sphere,
    superquadric,
    torus,
)
from surfrecon.errors import InputError
from surfrecon.repair import inspect

TURN = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
ANGLES = np.arange(10) * np.pi / 5
STAR = np.where(np.arange(10) % 2, 0.5, 1.0)[:, None] * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
EXACT = {
    "sphere": sphere(0.8),
    "torus": torus(1.0, 0.4),
    "box": box([1.0, 0.6, 0.4]),
    "rounded box": box([1.0, 0.6, 0.4], rounding=0.1),
    "cylinder": cylinder(0.5, 0.8),
    "capsule": capsule([-0.5, 0.1, 0], [0.5, 0, 0.3], 0.25),
    "round cone": round_cone([-0.5, 0.1, 0], [0.5, 0, 0.3], 0.35, 0.15),
    "rounded cylinder": cylinder(0.5, 0.8, rounding=0.1),
    "star prism": extruded(polygon(STAR), 0.6),
    "turned square": revolved(box([0.4, 0.4]).moved([0.7, 0])),
    "turned box": box([1.0, 0.6, 0.4]).rotated(TURN),
    "knot": knot(2, 3, major=1.0, minor=0.4, radius=0.18),
    "moved and turned": box([1.0, 0.6, 0.4]).axes("zxy").moved([0.3, -0.2, 0.1]),
}
MADE = {  # 1-Lipschitz, but not exact
    "stretched": sphere(0.5).scaled([1, 2, 0.5]),
    "superquadric": superquadric([1, 0.5, 0.3], 1.3, 4),
    "shell": shell(box([1, 0.8, 0.6]), 0.15),
    "cut ball": sphere(1.0) & half_space([0.6, 0, 0.8], 0.3),
    "repeated": repeated(sphere(0.3), [1, 1, 1], [3, 2, 1]),
    "around": around(box([0.6, 0.4, 0.4]).moved([1, 0, 0]), 5),
    "twisted": twisted(extruded(polygon(STAR), 2), 1.5),
    "tapered": tapered(extruded(polygon(STAR), 1), 1.0, 0.4),
    "bowed": bowed(box([0.4, 0.4, 2]), 0.3, 0.5),
    "joined": joined([sphere(0.5).moved([0.5 * i, 0, 0]) for i in range(4)], 0.3),
    "scattered": scattered([sphere(0.4).moved([i, 0, 0]) for i in range(3)]),
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


@pytest.mark.parametrize("name", [*SHAPES, *MADE])
def test_distance_is_1_lipschitz_and_bounds_hold_the_solid(name):
    shape = MADE[name] if name in MADE else named(name)
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


@pytest.mark.parametrize("name", [*EXACT, *MADE])
def test_float32_points_give_float32_distances(name):
    shape = {**EXACT, **MADE}[name]
    p = points_around(shape, 1000).astype(np.float32)
    if name != "knot":  # Newton's steps along its curve are kept in float64
        assert shape.distance(p).dtype == np.float32
    np.testing.assert_allclose(shape.distance(p), shape.distance(p.astype(float)), atol=1e-5)


def test_superquadric_is_negative_where_its_formula_is_below_one():
    p = points_around(MADE["superquadric"])
    x, y, z = np.abs(p).T
    value = ((x / 1) ** 1.3 + (y / 0.5) ** 1.3) ** (4 / 1.3) + (z / 0.3) ** 4
    np.testing.assert_array_equal(MADE["superquadric"].distance(p) < 0, value < 1)


def test_scattered_parts_have_the_distance_of_their_union():
    p = points_around(MADE["scattered"])
    balls = [np.linalg.norm(p - [i, 0, 0], axis=1) - 0.4 for i in range(3)]
    np.testing.assert_allclose(MADE["scattered"].distance(p), np.min(balls, axis=0), atol=1e-12)


def test_volumes_of_solids_from_an_outline_are_in_closed_form():
    area = 5 * 1.0 * 0.5 * np.sin(np.pi / 5)  # ten triangles
    prism = extruded(polygon(STAR), 2)
    for shape, volume in (
        (prism, 2 * area),
        (twisted(prism, 1.0), 2 * area),
        (bowed(prism, 0.2, 0.5), 2 * area),
        (tapered(prism, 1.0, 0.5), 2 * area * 7 / 12),
        (EXACT["turned square"], 2 * np.pi * 0.7 * 0.16),
    ):
        assert mesh_of(shape, 64).volume() == pytest.approx(volume, rel=0.02)


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
