"""Meshes of fields: closed whatever the field, where it is zero, the same as marching cubes in one piece, at the cost of a surface."""

from collections.abc import Callable

import mcubes
import numpy as np
import pytest
import torch
from torch import Tensor

from surfrecon import extract
from surfrecon.errors import InputError, SurfreconError
from surfrecon.extract import FRACTION_MARGIN, marching_cubes
from surfrecon.fields import Field
from surfrecon.fields.grid import GridField, dense_level
from surfrecon.geometry import Mesh
from surfrecon.repair import inspect
from surfrecon.run import Run

CENTRE = torch.tensor([0.013, -0.021, 0.034])  # off the lattice's planes of symmetry

STEEP = 1e3  # slope of white noise: a single node of another sign may hide from the probes


class Function(Field):
    """A field given by its values; it counts the points that it is asked for."""

    def __init__(self, values: Callable[[Tensor], Tensor], lipschitz: float | None = None):
        super().__init__()
        self.values, self.lipschitz, self.asked = values, lipschitz, 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += len(x)
        return self.values(x)

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError("extraction needs values alone")


def ball(x: Tensor, radius: float, centre=CENTRE) -> Tensor:
    return torch.linalg.norm(x - torch.as_tensor(centre, dtype=x.dtype), dim=1) - radius


def sphere(lipschitz: float | None = 1.0, radius: float = 0.6) -> Function:
    return Function(lambda x: ball(x, radius), lipschitz)


def ring(x: Tensor) -> Tensor:
    p = x - CENTRE
    return torch.hypot(torch.hypot(p[:, 0], p[:, 1]) - 0.55, p[:, 2]) - 0.2


def torus(lipschitz: float | None = 1.0) -> Function:
    return Function(ring, lipschitz)


def lattice_field(values: np.ndarray, lipschitz: float | None = None) -> Function:
    """The field that has (R + 1)^3 given values at the nodes of resolution R."""
    resolution = len(values) - 1
    table = torch.from_numpy(values)
    return Function(lambda x: table[tuple(((x + 1) * (resolution / 2)).round().long().T)], lipschitz)


def noise(resolution: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(resolution + 1,) * 3).astype(np.float32)


def solid(mesh: Mesh) -> Mesh:
    """The mesh, proven closed, manifold, consistently wound, of positive signed volume, without sliver or double position."""
    report = inspect(mesh)
    assert report.solid, report
    assert (report.unused_vertices, report.duplicate_positions, report.degenerate_faces) == (0, 0, 0)
    assert len(np.unique(mesh.vertices.astype(np.float32), axis=0)) == len(mesh.vertices)  # what a file of float32 would hold
    return mesh


def same(first: Mesh, second: Mesh) -> bool:
    """Equal vertices, in order, and equal faces, in any order."""

    def rows(faces: np.ndarray) -> np.ndarray:
        turned = np.take_along_axis(faces, (faces.argmin(axis=1)[:, None] + np.arange(3)) % 3, axis=1)
        return turned[np.lexsort(turned.T)]

    return np.array_equal(first.vertices, second.vertices) and np.array_equal(rows(first.faces), rows(second.faces))


def in_one_piece(values: np.ndarray) -> Mesh:
    """Oracle: one call of marching cubes on all signs, each vertex then moved along its lattice edge, edges in order."""
    resolution = len(values) - 1
    values = values.astype(float)
    border = np.ones(values.shape, bool)
    border[1:-1, 1:-1, 1:-1] = False
    values[border] = np.maximum(values[border], 0)
    middles, faces = mcubes.marching_cubes(values >= 0, 0.5)
    order = np.lexsort(middles.T[::-1])
    first, second = np.floor(middles[order]).astype(int), np.ceil(middles[order]).astype(int)
    f0, f1 = values[tuple(first.T)], values[tuple(second.T)]
    fraction = np.clip(f0 / (f0 - f1), FRACTION_MARGIN, 1 - FRACTION_MARGIN)
    return Mesh(-1 + 2 * (first + (second - first) * fraction[:, None]) / resolution, np.argsort(order)[faces[:, ::-1]])


# topology ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lipschitz", [1.0, None])
@pytest.mark.parametrize("resolution", [16, 33, 47, 62])
def test_sphere_is_one_solid_of_genus_zero(resolution, lipschitz):
    report = inspect(solid(marching_cubes(sphere(lipschitz), resolution=resolution)))
    assert (report.components, report.euler, report.genus) == (1, 2, 0)


@pytest.mark.parametrize("lipschitz", [1.0, None])
def test_torus_is_one_solid_of_genus_one(lipschitz):
    report = inspect(solid(marching_cubes(torus(lipschitz), resolution=50)))
    assert (report.components, report.euler, report.genus) == (1, 0, 1)


def test_two_balls_are_two_pieces_with_the_volume_of_both():
    first, second = ((0.3, (-0.5, -0.4, 0.1)), (0.2, (0.5, 0.5, -0.3)))
    field = Function(lambda x: torch.minimum(ball(x, *first), ball(x, *second)), 1.0)
    mesh = solid(marching_cubes(field, resolution=64))
    assert inspect(mesh).components == 2
    assert mesh.volume() == pytest.approx(4 / 3 * np.pi * (0.3**3 + 0.2**3), rel=0.02)


def test_hollow_ball_has_the_volume_of_its_wall():
    mesh = solid(marching_cubes(Function(lambda x: (ball(x, 0.5)).abs() - 0.2, 1.0), resolution=48))
    assert inspect(mesh).components == 2
    assert mesh.volume() == pytest.approx(4 / 3 * np.pi * (0.7**3 - 0.3**3), rel=0.01)


def test_bricks_of_noise_equal_marching_cubes_in_one_piece():
    values = noise(63)
    mesh, whole = marching_cubes(lattice_field(values), resolution=63), in_one_piece(values)
    assert len(mesh.vertices) > 150_000 and (len(mesh.vertices), len(mesh.faces)) == (len(whole.vertices), len(whole.faces))
    assert same(mesh, whole)
    report = inspect(mesh)
    assert report.closed and report.manifold and report.oriented and report.volume > 0


@pytest.mark.parametrize("resolution", [2, 3, 4, 5, 6, 7, 8, 9, 31, 32, 33, 34])
def test_noise_at_any_resolution_equals_marching_cubes_in_one_piece_and_is_solid(resolution):
    values = noise(resolution, seed=resolution)
    values[1, 1, 1] = -1  # something is inside
    assert same(solid(marching_cubes(lattice_field(values, STEEP), resolution=resolution)), in_one_piece(values))


@pytest.mark.parametrize("seed", range(5))
def test_noise_of_few_values_with_exact_zeros_is_solid(seed):
    values = np.random.default_rng(seed).integers(-1, 2, (18,) * 3).astype(np.float32)
    assert same(solid(marching_cubes(lattice_field(values, STEEP), resolution=17)), in_one_piece(values))


@pytest.mark.parametrize(("name", "size"), [("BATCH", 64), ("BATCH", 100), ("BLOCK", 1), ("BLOCK", 3)])
def test_mesh_does_not_depend_on_batches_and_blocks(monkeypatch, name, size):
    values = noise(22)
    values[8:] = np.abs(values[8:])
    mesh = marching_cubes(lattice_field(values), resolution=22)
    monkeypatch.setattr(extract, name, size)
    assert same(marching_cubes(lattice_field(values), resolution=22), mesh)


# the box closes what leaves it ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resolution", [2, 3, 4, 5, 6, 7, 16, 19])
def test_field_that_is_inside_everywhere_becomes_the_box(resolution):
    mesh = solid(marching_cubes(Function(lambda x: -torch.ones(len(x)), 1.0), resolution=resolution))
    step = 2 / resolution
    np.testing.assert_allclose(mesh.bounds(), (1 - FRACTION_MARGIN * step) * np.array([[-1] * 3, [1] * 3]))
    assert inspect(mesh).genus == 0 and 8 - 12 * step**2 < mesh.volume() < 8  # edges of the box are cut at 45 degrees


@pytest.mark.parametrize("lipschitz", [1.0, None])
@pytest.mark.parametrize("resolution", [31, 32, 33, 34])
def test_box_around_a_hollow_is_found_though_no_surface_leads_to_it(resolution, lipschitz):
    mesh = solid(marching_cubes(Function(lambda x: -ball(x, 0.5), lipschitz), resolution=resolution))
    assert inspect(mesh).components == 2
    assert mesh.volume() == pytest.approx(8 - 4 / 3 * np.pi * 0.5**3, rel=0.01)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [-1, 1])
def test_half_space_becomes_its_part_of_the_box_with_an_exact_face(axis, sign):
    mesh = solid(marching_cubes(Function(lambda x: sign * (x[:, axis] - 0.23), 1.0), resolution=41))
    assert mesh.volume() == pytest.approx(4 * (1 + sign * 0.23), rel=0.01)
    assert mesh.bounds()[(sign + 1) // 2, axis] == pytest.approx(0.23, abs=1e-7)


# accuracy ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "volume", "area"),
    [
        (sphere(), 4 / 3 * np.pi * 0.6**3, 4 * np.pi * 0.6**2),
        (torus(), 2 * np.pi**2 * 0.55 * 0.2**2, 4 * np.pi**2 * 0.55 * 0.2),
    ],
    ids=["sphere", "torus"],
)
def test_volume_and_area_converge_with_the_square_of_the_step(field, volume, area):
    meshes = [marching_cubes(field, resolution=resolution) for resolution in (24, 48, 96)]
    for measured, exact in (([m.volume() for m in meshes], volume), ([m.area() for m in meshes], area)):
        error = np.abs(np.array(measured) / exact - 1)
        np.testing.assert_allclose(np.log2(error[:-1] / error[1:]), 2, atol=0.25)
        assert error[-1] < 3e-3


def test_vertices_lie_on_lattice_edges_and_on_the_surface():
    resolution = 40
    mesh = marching_cubes(sphere(), resolution=resolution)
    steps = (mesh.vertices + 1) * resolution / 2
    assert ((np.abs(steps - steps.round()) < 1e-9).sum(axis=1) == 2).all()
    radius = np.linalg.norm(mesh.vertices - CENTRE.numpy(), axis=1)
    assert np.abs(radius - 0.6).max() < (2 / resolution) ** 2 / (8 * 0.6) * 1.1  # sagitta of a step: an edge's linear interpolation


def test_linear_field_is_met_exactly():
    normal = torch.tensor([0.6, -0.48, 0.64])
    mesh = solid(marching_cubes(Function(lambda x: x @ normal - 0.1, 1.0), resolution=29))
    height = mesh.vertices @ normal.numpy().astype(float) - 0.1
    inner = np.abs(mesh.vertices).max(axis=1) < 1 - 2 / 29
    off = FRACTION_MARGIN * 2 / 29  # a vertex keeps this distance from the nodes
    assert inner.sum() > 500 and np.abs(height[inner]).max() < off and np.quantile(np.abs(height[inner]), 0.9) < 1e-6


@pytest.mark.parametrize("resolution", [16, 32])
def test_surface_through_nodes_is_solid_and_keeps_off_them(resolution):
    octahedron = Function(lambda x: x.abs().sum(dim=1) - 0.5, np.sqrt(3))  # exactly zero at nodes
    mesh = solid(marching_cubes(octahedron, resolution=resolution))
    assert mesh.volume() == pytest.approx(4 / 3 * 0.5**3, rel=0.01)
    fraction = np.abs((mesh.vertices + 1) * resolution / 2 - ((mesh.vertices + 1) * resolution / 2).round()).max(axis=1)
    assert fraction.min() == pytest.approx(FRACTION_MARGIN)


def test_zero_counts_as_outside():
    with pytest.raises(SurfreconError, match="no zero crossing"):
        marching_cubes(Function(lambda x: torch.zeros(len(x))), resolution=16)
    with pytest.raises(SurfreconError, match="no zero crossing"):
        marching_cubes(Function(lambda x: -torch.zeros(len(x))), resolution=16)


# what is evaluated -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lipschitz", [1.0, None])
def test_evaluations_grow_with_the_area_not_the_volume(lipschitz):
    asked = []
    for resolution in (64, 128, 256):
        field = sphere(lipschitz)
        marching_cubes(field, resolution=resolution)
        asked.append(field.asked - (resolution // 4 + 1) ** 3)  # without the first look
    np.testing.assert_allclose(np.log2(np.divide(asked[1:], asked[:-1])), 2, atol=0.25)
    assert asked[-1] < 0.05 * 257**3


def test_known_slope_finds_a_ball_between_the_probes():
    small = (1.2 * 2 / 64, -1 + torch.tensor([52, 52, 52]) * (2 / 64))  # a corner of eight bricks, 3.5 steps from each probe
    found = {}
    for lipschitz in (1.0, None):
        field = Function(lambda x: torch.minimum(ball(x, 0.4), ball(x, *small)), lipschitz)
        found[lipschitz] = inspect(solid(marching_cubes(field, resolution=64))).components
    assert found == {1.0: 2, None: 1}  # without it, a piece below the probes' step may be missed, as the docstring says


def test_known_slope_finds_a_plate_thinner_than_a_step():
    height = -1 + 16 * (2 / 64)  # a plane of nodes between two bricks
    plate = Function(lambda x: torch.maximum((x[:, 2] - height).abs() - 0.3 * 2 / 64, x[:, :2].abs().amax(dim=1) - 0.5), 1.0)
    report = inspect(solid(marching_cubes(plate, resolution=64)))
    assert (report.components, report.genus) == (1, 0)
    assert report.volume == pytest.approx(1.0 * 0.6 * 2 / 64, rel=0.1)


@pytest.mark.parametrize("probes", [4, 7])
@pytest.mark.parametrize("lipschitz", [1.0, None])
def test_coarser_first_look_gives_the_same_mesh(monkeypatch, probes, lipschitz):
    mesh = marching_cubes(torus(lipschitz), resolution=70)
    monkeypatch.setattr(extract, "PROBES", probes)
    field = torus(lipschitz)
    assert same(marching_cubes(field, resolution=70), mesh)
    assert field.asked < 71**3 / 2


def test_coarse_first_look_with_known_slope_misses_nothing(monkeypatch):
    monkeypatch.setattr(extract, "PROBES", 4)
    small = (1.2 * 2 / 64, -1 + torch.tensor([52, 52, 12]) * (2 / 64))
    field = Function(lambda x: torch.minimum(ball(x, 0.4), ball(x, *small)), 1.0)
    assert inspect(solid(marching_cubes(field, resolution=64))).components == 2


def test_flood_follows_a_surface_that_the_probes_do_not_see():
    thread = lambda x: torch.hypot(x[:, 1] - CENTRE[1] - 0.02 * torch.sin(9 * x[:, 0]), x[:, 2] - CENTRE[2]) - 0.04
    field = Function(lambda x: torch.minimum(ball(x, 0.3), torch.maximum(thread(x), x[:, 0].abs() - 0.9)))
    mesh = solid(marching_cubes(field, resolution=64))
    assert inspect(mesh).components == 1
    np.testing.assert_allclose(mesh.bounds()[:, 0], [-0.9, 0.9], atol=1e-3)


# grids, runs, errors -----------------------------------------------------------------------------------------------------------------


def test_grid_field_of_a_sphere_has_its_volume():
    resolution = 32
    axis = -1 + (torch.arange(resolution) + 0.5) * (2 / resolution)
    values = ball(torch.cartesian_prod(axis, axis, axis), 0.6).reshape((resolution,) * 3)
    field = GridField([dense_level(values)])
    field.lipschitz = field.steepest()
    assert solid(marching_cubes(field, resolution=64)).volume() == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=0.01)


def test_progress_counts_the_bricks_and_extraction_is_repeatable():
    steps = []
    first = marching_cubes(sphere(), resolution=40, run=Run(device="cpu", on_step=steps.append))
    assert {step.stage for step in steps} == {"extract"} and all(0 < step.done <= step.total for step in steps)
    assert steps[-1].done == steps[-1].total
    second = marching_cubes(sphere(), resolution=40)
    assert np.array_equal(first.vertices, second.vertices) and np.array_equal(first.faces, second.faces)


@pytest.mark.parametrize("resolution", [1, 0, -3])
def test_resolution_below_two_is_refused(resolution):
    with pytest.raises(InputError, match=f"resolution must be >= 2 .* got {resolution}"):
        marching_cubes(sphere(), resolution=resolution)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", [0.1, 0.55], ids=["at a probe", "near the surface alone"])
def test_values_that_are_not_finite_are_an_error(value, where):
    broken = lambda x: torch.where((x[:, 0] > where) & (x[:, 0] < where + 0.05), value, ball(x, 0.6))
    with pytest.raises(SurfreconError, match=r"NaN or infinite at .* lattice nodes"):
        marching_cubes(Function(broken, 1.0), resolution=32)


def test_field_without_crossing_is_an_error():
    with pytest.raises(SurfreconError, match="no zero crossing in the unit box at resolution 16"):
        marching_cubes(Function(lambda x: torch.ones(len(x)), 1.0), resolution=16)


def test_surface_outside_the_box_is_an_error():
    with pytest.raises(SurfreconError, match="no zero crossing"):
        marching_cubes(Function(lambda x: ball(x, 0.5, (3.0, 0.0, 0.0)), 1.0), resolution=16)
