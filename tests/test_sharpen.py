"""Sharp edges: boxes get theirs back from a spline that rounds them, round things stay as they are, the mesh stays solid."""

import numpy as np
import pytest
import torch

from surfrecon.extract import marching_cubes
from surfrecon.fields.grid import GridField, dense_level
from surfrecon.geometry import Mesh
from surfrecon.repair import inspect
from surfrecon.run import Run
from surfrecon.sharpen import FARTHEST, LEAST_LENGTH, sharpen

RESOLUTION = 64
STEP = 2 / RESOLUTION
HALF = np.array([0.55, 0.45, 0.35])
CENTRE = np.array([0.013, -0.021, 0.034])  # off the lattice's planes of symmetry
ANGLES = (0.3, 0.5, 0.2)
BITE = np.array([0.2, 0.1, 0.0])  # the notched box lacks the part beyond this of every axis


def turn() -> np.ndarray:
    """(3, 3) a rotation that no edge of a box survives on the lattice."""
    product = np.eye(3)
    for axis, angle in enumerate(ANGLES):
        cos, sin = np.cos(angle), np.sin(angle)
        product = product @ np.roll(np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]), (axis, axis), (0, 1))
    return product


def box(x: np.ndarray) -> np.ndarray:
    """(N,) signed distance to the turned box, by the larger height outside."""
    return (np.abs((x - CENTRE) @ turn()) - HALF).max(1)


def notched(x: np.ndarray) -> np.ndarray:
    """The box without one of its corners: convex and concave edges, and corners of both."""
    return np.maximum(box(x), ((x - CENTRE) @ turn() - BITE).min(1))


def ball(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x - CENTRE, axis=1) - 0.6


def ring(x: np.ndarray) -> np.ndarray:
    p = x - CENTRE
    return np.hypot(np.hypot(p[:, 0], p[:, 1]) - 0.55, p[:, 2]) - 0.2


def spline(shape) -> GridField:
    """A field whose coefficients are the shape's values: it rounds what is sharp."""
    axis = -1 + (np.arange(RESOLUTION) + 0.5) * STEP
    nodes = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    field = GridField([dense_level(torch.from_numpy(shape(nodes).astype(np.float32)).reshape((RESOLUTION,) * 3))])
    field.resolution, field.lipschitz = RESOLUTION, field.steepest()
    return field


def on_surface(shape, mesh: Mesh, *, noise: float = 0.0) -> np.ndarray:
    """(N, 3) points of the exact shape, one for every other vertex of a mesh near it."""
    x = mesh.vertices[::2].copy()
    step = 1e-5
    for _ in range(20):
        slope = np.stack([(shape(x + step * axis) - shape(x - step * axis)) / (2 * step) for axis in np.eye(3)], 1)
        x -= shape(x)[:, None] * slope / np.square(slope).sum(1, keepdims=True)
    return x + noise * np.random.default_rng(0).normal(size=x.shape)


def sharpened(shape, *, noise: float = 0.0) -> tuple[Mesh, Mesh, Run]:
    field, run = spline(shape), Run(device="cpu")
    mesh = marching_cubes(field, resolution=RESOLUTION)
    return mesh, sharpen(mesh, field, on_surface(shape, mesh, noise=noise), step=STEP, run=run), run


def small(x: np.ndarray) -> np.ndarray:
    """A box of eleven cells a side, mostly rounding."""
    return (np.abs((x - CENTRE) @ turn()) - 5.5 * STEP).max(1)


@pytest.fixture(scope="module", params=[box, notched], ids=["box", "notched"])
def edged(request):
    return request.param, *sharpened(request.param)


def test_vertices_come_to_lie_on_the_sharp_faces(edged):
    shape, before, after, _ = edged
    error = np.abs(shape(before.vertices)), np.abs(shape(after.vertices))
    assert error[0].max() > 0.3 * STEP and error[1].max() < 0.1 * STEP
    assert np.sqrt(np.square(error[1]).mean()) < 0.1 * np.sqrt(np.square(error[0]).mean())


def test_faces_take_the_normals_of_the_sharp_faces(edged):
    def share(mesh: Mesh) -> float:
        """Of the area, within a degree of a side of the box."""
        vectors = mesh.area_vectors() @ turn()
        areas = np.linalg.norm(vectors, axis=1)
        return areas[np.abs(vectors).max(1) > np.cos(np.radians(1)) * areas].sum() / areas.sum()

    _, before, after, _ = edged
    assert share(before) < 0.93 and share(after) > 0.99


def test_every_corner_of_the_box_is_a_vertex():
    _, after, _ = sharpened(box)
    signs = np.stack(np.meshgrid(*[[-1, 1]] * 3), -1).reshape(-1, 3)
    corners = (signs * HALF) @ turn().T + CENTRE
    away = np.linalg.norm(after.vertices[None] - corners[:, None], axis=2).min(1)
    assert away.max() < 0.05 * STEP


def test_volume_error_falls_to_a_tenth():
    before, after, _ = sharpened(box)
    exact = 8 * HALF.prod()
    assert abs(after.volume() - exact) < 0.1 * abs(before.volume() - exact)


def test_mesh_stays_solid_without_degenerate_faces_and_keeps_its_counts(edged):
    _, before, after, _ = edged
    report, was = inspect(after), inspect(before)
    assert report.solid and (report.degenerate_faces, report.duplicate_positions) == (0, 0)
    assert (report.vertices, report.faces, report.euler) == (was.vertices, was.faces, was.euler)


def test_no_face_is_folded_and_no_vertex_moves_far(edged):
    shape, before, after, _ = edged
    assert np.linalg.norm(after.vertices - before.vertices, axis=1).max() <= FARTHEST * STEP
    vectors = after.area_vectors()
    normals = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    centres = after.triangles().mean(1)
    assert (shape(centres + 0.3 * STEP * normals) > shape(centres - 0.3 * STEP * normals)).all()


def test_creases_have_a_vertex_every_cell_or_so():
    _, _, run = sharpened(box)
    edges = 8 * HALF.sum() / STEP
    assert 0.5 * edges < run.facts["vertices_on_creases"] < 1.5 * edges


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3], ids="noise {} steps".format)
@pytest.mark.parametrize("shape", [ball, ring])
def test_round_things_stay_as_they_are(shape, noise):
    before, after, run = sharpened(shape, noise=noise * STEP)
    assert np.array_equal(before.vertices, after.vertices) and np.array_equal(before.faces, after.faces)
    assert run.facts["vertices_on_creases"] == 0


def test_a_rounding_that_the_scan_confirms_is_kept():
    field = spline(box)
    mesh = marching_cubes(field, resolution=RESOLUTION)
    after = sharpen(mesh, field, mesh.vertices, step=STEP)
    assert np.array_equal(mesh.vertices, after.vertices)


def test_creases_shorter_than_the_least_length_are_left_alone():
    size = LEAST_LENGTH * STEP / 30  # all edges of the cube together, of half this side, are too short
    assert 12 * 2 * size < LEAST_LENGTH * STEP
    bump = lambda x: np.minimum(ball(x), np.abs(x - CENTRE - [0.6, 0, 0]).max(1) - size)
    before, after, _ = sharpened(bump)
    assert np.array_equal(before.vertices, after.vertices)


def test_noisy_box_gains_as_well():
    before, after, _ = sharpened(box, noise=0.1 * STEP)
    assert np.square(box(after.vertices)).mean() < 0.1 * np.square(box(before.vertices)).mean()
    assert inspect(after).solid


def test_small_box_that_is_mostly_rounding_gains_as_well():
    before, after, _ = sharpened(small)
    assert np.square(small(after.vertices)).mean() < 0.1 * np.square(small(before.vertices)).mean()
    assert inspect(after).solid


def test_finer_mesh_of_the_same_field_has_the_same_edges():
    field = spline(box)
    mesh = marching_cubes(field, resolution=2 * RESOLUTION)
    after = sharpen(mesh, field, on_surface(box, mesh), step=STEP)
    assert np.abs(box(after.vertices)).max() < 0.1 * STEP and inspect(after).solid


def test_same_input_gives_the_same_mesh(edged):
    shape, _, after, _ = edged
    again = sharpened(shape)[1]
    assert np.array_equal(again.vertices, after.vertices) and np.array_equal(again.faces, after.faces)
