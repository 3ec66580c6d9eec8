"""surfrecon.data_tools.training_shapes: records tell the truth about their solids."""

import numpy as np
import pytest

from surfrecon.data_tools import make_shapes
from surfrecon.data_tools.families import FAMILIES, HELD_OUT
from surfrecon.data_tools.rooms import room
from surfrecon.data_tools.shapes import box, mesh_of, sphere, torus
from surfrecon.data_tools.training_shapes import record_of, record_of_mesh, record_of_room, records
from surfrecon.errors import InputError
from surfrecon.io import write_mesh
from surfrecon.shape_set import HALF, UNIT, VIEWS, ShapeSet


@pytest.fixture(scope="module")
def ball():
    return record_of(sphere(2.0).moved([5, 0, 0]), 3, np.random.default_rng(0))


def test_points_lie_on_the_surface_and_places_know_their_side(ball):
    radius = np.linalg.norm(ball.points.astype(float), axis=1)
    assert np.abs(radius - 0.5).max() < 1e-3
    away = np.linalg.norm(ball.places.astype(float), axis=1)
    sure = np.abs(away - 0.5) > 1e-3
    assert np.array_equal(ball.inside[sure], away[sure] < 0.5)
    assert ball.family == 3


def test_half_of_the_places_fill_the_box_and_half_are_near_the_surface(ball):
    half = len(ball.places) // 2
    anywhere, near = ball.places[:half].astype(float), ball.places[half:].astype(float)
    assert np.abs(anywhere).max() <= HALF + 1e-3 and abs(ball.inside[:half].mean() - np.pi / 6 / (2 * HALF) ** 3) < 0.02
    assert np.median(np.abs(np.linalg.norm(near, axis=1) - 0.5)) < 0.04


def test_a_ball_is_seen_by_the_eyes_that_its_points_face(ball):
    ray = ball.eyes.astype(float) - ball.points.astype(float)[:, None]
    facing = np.einsum("nki,ni->nk", ray / np.linalg.norm(ray, axis=2, keepdims=True), ball.points.astype(float) / 0.5)
    seen = (ball.seen[:, None] >> np.arange(VIEWS)) & 1 == 1
    clear = np.abs(facing - np.cos(np.radians(85))) > 0.06  # of faces, not of the ball itself
    assert np.array_equal(seen[clear], facing[clear] > np.cos(np.radians(85)))


def test_normals_point_outwards(ball):
    assert (np.einsum("ni,ni->n", ball.normals / UNIT, ball.points.astype(float) / 0.5) > 0.98).all()


def test_eyes_stand_all_around_and_clear_of_an_object(ball):
    eyes = ball.eyes.astype(float)
    assert np.linalg.norm(eyes, axis=1).min() > 1.1
    assert np.linalg.norm((eyes / np.linalg.norm(eyes, axis=1, keepdims=True)).mean(axis=0)) < 0.15


def test_the_eyes_of_a_room_stand_within_it_and_see_no_floor_from_below():
    rng = np.random.default_rng(1)
    record = record_of_room(room(rng), 0, rng)
    points, eyes = record.points.astype(float), record.eyes.astype(float)
    assert (np.abs(eyes[:, :2]) < np.abs(points[:, :2]).max(axis=0)).all()
    below = points[:, 2] < points[:, 2].min() + 1e-3
    assert below.any() and not record.seen[below].any() and (record.seen[record.normals[:, 2] > 100] > 0).mean() > 0.8


def test_rooms_are_not_made_beside_other_families():
    with pytest.raises(InputError, match="alone"):
        list(records(["rooms", "blends"], 2, seed=0))


def test_the_inside_of_a_ring_hides_behind_it():
    ring = record_of(torus(1.0, 0.3), 0, np.random.default_rng(0))
    points, directions = ring.points.astype(float), ring.eyes.astype(float)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    across = int(np.abs(directions[:, 2]).argmin())  # looks along the ring's plane
    inner = np.hypot(points[:, 0], points[:, 1]) * 2.6 < 0.8
    far_side = points @ directions[across] < -0.1
    faces = -(points * [1, 1, 0]) @ directions[across] > 0  # the hole's wall, turned to the eye
    hidden = inner & far_side & faces & (np.abs(points[:, 2]) < 0.05)
    assert hidden.sum() > 20 and not (ring.seen[hidden] >> across & 1).any()


def test_a_mesh_of_a_solid_gives_what_the_solid_gives():
    solid = box([1.0, 0.6, 0.4], rounding=0.1)
    record = record_of_mesh(mesh_of(solid, 48), np.random.default_rng(0))
    p = record.places.astype(float)
    sure = np.abs(solid.distance(p)) > 0.01
    assert np.array_equal(record.inside[sure], solid.distance(p)[sure] < 0)


def test_an_open_mesh_is_refused():
    mesh = mesh_of(sphere(1.0), 16)
    with pytest.raises(InputError, match="closed"):
        record_of_mesh(mesh.__class__(mesh.vertices, mesh.faces[1:]), np.random.default_rng(0))


def test_the_same_seed_gives_the_same_records_for_any_number_of_workers():
    alone, together = (list(records(["blends", "mechanical"], 2, seed=5, workers=workers)) for workers in (1, 2))
    for one, other in zip(alone, together):
        assert all(np.array_equal(a, b) for a, b in zip(one, other))


def test_a_family_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match="blends"):
        list(records(["blendz"], 1, seed=0))


def test_the_command_makes_a_set_without_the_family_that_is_kept_back(tmp_path):
    assert make_shapes.main(["--count", "1", "-o", str(tmp_path / "set")]) == 0
    assert ShapeSet.read(tmp_path / "set").families == [family for family in FAMILIES if family != HELD_OUT]


def test_the_command_makes_a_set_of_ones_own_meshes(tmp_path):
    write_mesh(mesh_of(sphere(1.0), 16), tmp_path / "ball.ply")
    assert make_shapes.main(["--meshes", str(tmp_path), "-o", str(tmp_path / "set")]) == 0
    assert len(ShapeSet.read(tmp_path / "set")) == 1


def test_the_command_says_where_meshes_are_missing_and_leaves_nothing(tmp_path, capsys):
    assert make_shapes.main(["--meshes", str(tmp_path), "-o", str(tmp_path / "set")]) == 2
    assert "holds no meshes" in capsys.readouterr().err and not (tmp_path / "set").exists()
