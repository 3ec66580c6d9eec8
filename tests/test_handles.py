"""Small handles: found by their shortest loop, cut and capped; wanted ones stay."""

import numpy as np
import pytest

from surfrecon.geometry import Mesh
from surfrecon.handles import cut, short_loops, without_small_handles
from surfrecon.repair import inspect

RING, TUBE = 1.0, 0.3  # radii of a torus


def torus(around: int = 60, across: int = 30, centre=(0.0, 0.0, 0.0)) -> Mesh:
    i, j = np.meshgrid(np.arange(around), np.arange(across), indexing="ij")
    u, v = 2 * np.pi * i / around, 2 * np.pi * j / across
    out = RING + TUBE * np.cos(v)
    vertices = np.stack([out * np.cos(u), out * np.sin(u), TUBE * np.sin(v)], axis=-1).reshape(-1, 3) + centre
    row = lambda a, b: (a % around) * across + b % across
    corners = row(i, j), row(i + 1, j), row(i + 1, j + 1), row(i, j + 1)
    faces = [np.stack([corners[k] for k in order], axis=-1).reshape(-1, 3) for order in ((0, 1, 2), (0, 2, 3))]
    return Mesh(vertices, np.concatenate(faces))


def extracted(values: np.ndarray) -> Mesh:
    import mcubes

    vertices, faces = mcubes.marching_cubes(values, 0.0)
    return Mesh(vertices, faces[:, ::-1])


def plate(*holes: tuple[float, float, float]) -> Mesh:
    """A thin plate, negative inside, with round holes (x, y, radius) through it; lengths in cells."""
    x, y, z = np.meshgrid(*(np.arange(n, dtype=float) for n in (40, 40, 12)), indexing="ij")
    inside = np.maximum.reduce([abs(x - 20) - 15.2, abs(y - 20) - 15.2, abs(z - 5.6) - 1.3])
    for a, b, radius in holes:
        inside = np.maximum(inside, radius - np.hypot(x - a, y - b))
    return extracted(inside)


def length(mesh: Mesh, loop: np.ndarray) -> float:
    places = mesh.vertices[loop]
    return np.linalg.norm(places - np.roll(places, -1, axis=0), axis=1).sum()


def test_shortest_loop_of_a_torus_goes_once_around_its_tube():
    mesh = torus()
    loop = short_loops(mesh, longest=10.0)[0]
    assert len(set(loop)) == len(loop) == 30 and length(mesh, loop) == pytest.approx(2 * np.pi * TUBE, rel=0.01)
    edges = {tuple(sorted(edge)) for face in mesh.faces for edge in zip(face, np.roll(face, -1))}
    assert all(tuple(sorted(edge)) in edges for edge in zip(loop, np.roll(loop, -1)))


def test_mesh_without_handles_has_no_such_loop():
    assert not short_loops(plate(), longest=100.0)


def test_cut_torus_is_a_bent_bar_of_about_the_same_volume():
    mesh = torus()
    bar = inspect(cut(mesh, short_loops(mesh, longest=10.0)[:1]))
    assert bar.solid and bar.genus == 0 and bar.components == 1
    assert bar.volume == pytest.approx(mesh.volume(), rel=0.02)


def test_pinhole_is_closed_and_wide_holes_stay():
    mesh = plate((14, 14, 0.8), (26.3, 26.2, 4.9), (12.4, 27.1, 3.9))
    assert inspect(mesh).genus == 3
    mended, cuts = without_small_handles(mesh, longest=8.0)
    report = inspect(mended)
    assert cuts == 1 and report.genus == 2 and report.solid and report.duplicate_positions == 0
    moved = np.abs(mended.vertices[: len(mesh.vertices)] - mesh.vertices).max(1) > 0
    assert np.linalg.norm(mesh.vertices[moved, :2] - 14, axis=1).max() < 2.5  # all of it around the pinhole


def test_hair_between_two_plates_is_cut():
    x, y, z = np.meshgrid(*(np.arange(n, dtype=float) for n in (40, 40, 24)), indexing="ij")
    sheet = lambda at: np.maximum.reduce([abs(x - 20) - 15.2, abs(y - 20) - 15.2, abs(z - at) - 2.3])
    post = lambda a, b, radius: np.maximum(np.hypot(x - a, y - b) - radius, abs(z - 11.5) - 6)
    mesh = extracted(np.minimum.reduce([sheet(6.1), sheet(16.9), post(10, 10, 4.0), post(28, 27, 0.9)]))
    assert inspect(mesh).genus == 1
    mended, cuts = without_small_handles(mesh, longest=8.0)
    report = inspect(mended)
    assert cuts == 1 and report.genus == 0 and report.solid and report.components == 1


def test_each_of_two_pieces_keeps_its_wide_handle_and_loses_none():
    one, other = torus(), torus(centre=(3.0, 0.0, 0.0))
    both = Mesh(np.concatenate([one.vertices, other.vertices]), np.concatenate([one.faces, other.faces + len(one.vertices)]))
    kept, cuts = without_small_handles(both, longest=1.8)
    assert cuts == 0 and kept is both
    opened, cuts = without_small_handles(both, longest=2.0)
    report = inspect(opened)
    assert cuts == 2 and report.genus == 0 and report.components == 2 and report.solid


def test_loop_of_three_vertices_is_capped_by_one_face_a_side():
    mesh = torus(30, 3)
    loop = short_loops(mesh, longest=10.0)[0]
    assert len(loop) == 3
    bar = cut(mesh, [loop])
    assert len(bar.faces) == len(mesh.faces) + 2 and inspect(bar).solid and inspect(bar).genus == 0


def test_loops_cut_at_once_are_apart_and_leave_the_piece_whole():
    pinholes = [(x, y, 0.8) for x in (8, 13.3, 19.1, 25) for y in (9, 15.2, 21.3, 29)]
    mesh = plate(*pinholes)
    loops = short_loops(mesh, longest=8.0)
    assert len(loops) == inspect(mesh).genus == len(pinholes)
    assert len(np.unique(np.concatenate(loops))) == sum(map(len, loops))
    mended, cuts = without_small_handles(mesh, longest=8.0)
    report = inspect(mended)
    assert cuts == len(pinholes) and report.genus == 0 and report.components == 1 and report.solid


def test_of_two_loops_around_one_tube_one_is_cut():
    mesh = torus()
    candidates = short_loops(mesh, longest=1.1 * length(mesh, short_loops(mesh, longest=10.0)[0]))
    assert len(candidates) == 1
