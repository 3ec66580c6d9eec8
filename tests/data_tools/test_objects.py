import numpy as np
import pytest

from surfrecon.data_tools.objects import OBJECTS, chord_errors, named_object
from surfrecon.data_tools.textures import stone
from surfrecon.errors import InputError
from surfrecon.geometry import Mesh
from surfrecon.pictures import cast_rays
from surfrecon.repair import inspect

RESOLUTION = 96


@pytest.fixture(scope="module", params=OBJECTS)
def thing(request):
    return named_object(request.param)


@pytest.fixture(scope="module")
def mesh(thing) -> Mesh:
    return thing.mesh(RESOLUTION)


def diagonal(mesh: Mesh) -> float:
    return float(np.linalg.norm(np.ptp(mesh.bounds(), axis=0)))


def test_distance_is_1_lipschitz_and_bounds_hold_the_object(thing):
    shape, rng = thing.shape, np.random.default_rng(0)
    p = rng.uniform(shape.bounds[0] - 0.3, shape.bounds[1] + 0.3, (20_000, 3))
    q = p + rng.normal(0, 0.05, p.shape)
    assert (np.abs(shape.distance(p) - shape.distance(q)) <= np.linalg.norm(p - q, axis=1) * (1 + 1e-9)).all()
    inside = p[shape.distance(p) < 0]
    assert (inside >= shape.bounds[0]).all() and (inside <= shape.bounds[1]).all()


def test_mesh_is_one_ball_shaped_solid(mesh):
    report = inspect(mesh)
    assert report.solid and report.components == 1 and report.genus == 0


def test_vertices_lie_on_the_surface_and_normals_stand_on_it(thing, mesh):
    assert np.abs(thing.shape.distance(mesh.vertices)).max() < 1e-12
    step = 1e-4
    along = thing.shape.distance(mesh.vertices + step * mesh.normals) / step
    for side in np.linalg.svd(mesh.normals[:, None])[2][:, 1:].transpose(1, 0, 2):
        across = thing.shape.distance(mesh.vertices + step * side) / step
        assert np.median(np.abs(across) / along) < 2e-3 and (along > 0).all()


def test_faces_close_in_on_the_surface_with_the_square_of_their_size(thing, mesh):
    coarse, fine = chord_errors(thing.shape, thing.mesh(RESOLUTION // 2)), chord_errors(thing.shape, mesh)
    assert np.log2(coarse.mean() / fine.mean()) > 1.7
    assert fine.mean() < 1.5e-4 * diagonal(mesh)


def test_hollows_are_deep_and_no_outline_shows_them(mesh):
    """A point that silhouettes show can be seen along a tangent of the surface; deep in a hollow every tangent meets the other side."""
    rows = np.random.default_rng(0).choice(len(mesh.vertices), 2000, replace=False)
    points, normals = mesh.vertices[rows], mesh.normals[rows]
    aside = np.linalg.svd(normals[:, None])[2][:, 1:]
    hidden = np.ones(len(rows), bool)
    for angle in np.linspace(0, 2 * np.pi, 48, endpoint=False):
        tangents = np.cos(angle) * aside[:, 0] + np.sin(angle) * aside[:, 1]
        _, face = cast_rays(mesh, points + 1e-2 * normals, tangents)
        hidden &= face >= 0
    assert 0.1 < hidden.mean() < 0.5


def test_same_seed_same_bytes_and_another_seed_other_relief_and_colours(thing, mesh):
    name = next(iter(OBJECTS))
    again, other = named_object(name), named_object(name, 1)
    p = mesh.vertices[::50]
    assert (
        again.shape.distance(p).tobytes() == thing.shape.distance(p).tobytes() and again.texture(p).tobytes() == thing.texture(p).tobytes()
    )
    assert np.abs(other.shape.distance(p)).max() > 1e-3 and np.abs(other.texture(p) - thing.texture(p)).mean() > 0.05


def test_stone_has_detail_down_to_a_hundredth_of_the_object_and_no_jumps():
    paint = stone(np.array([[0.0] * 3, [1.0] * 3]))
    p = np.random.default_rng(0).uniform(0, 1, (20_000, 3))
    colors = paint(p)
    assert colors.min() >= 0 and colors.max() <= 1 and (colors.std(axis=0) > 0.1).all()
    shifted = lambda step: np.abs(paint(p + np.array([step, 0, 0])) - colors).max(axis=1)
    assert np.median(shifted(0.01)) > 0.02
    assert shifted(1e-6).max() < 1e-3


def test_unknown_object_names_the_known_ones():
    with pytest.raises(InputError, match=r"no object 'cube'.*relic"):
        named_object("cube")
