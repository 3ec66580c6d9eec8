"""Linear terms against the field that they speak of and their dense matrices; the terms of GridPull as published against closed forms."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from surfrecon.fields.grid import BRICK_NODES, GridField, Level, dense_level, refined
from surfrecon.losses import LinearTerm, bending, plane_pull, roughness_weights
from surfrecon.ops.reference.pulling import edge_sums, misalignment, pull, roughness

R = 8  # cells of the dense level
REACH = 0.3
CLOSE = {"rtol": 0, "atol": 1e-10}  # float64; entries up to 10


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def dense(function) -> Level:
    level = dense_level(torch.zeros(R, R, R, dtype=torch.float64))
    level.coefficients = function(level.positions())
    return level


def rough(generator: torch.Generator) -> Level:
    return dense_level(torch.randn(R, R, R, generator=generator, dtype=torch.float64))


def fine(generator: torch.Generator) -> Level:
    """A level of 2 R that covers half of the box, with a border, its free coefficients changed."""
    level = refined(rough(generator), points(400, generator) - torch.tensor([1.0, 0, 0]))
    free = level.free_columns() >= 0
    level.coefficients[free] += torch.randn(int(free.sum()), generator=generator, dtype=torch.float64)
    return level


LEVELS = pytest.mark.parametrize("kind", [rough, fine], ids=["dense", "with a border"])


def points(count: int, generator: torch.Generator) -> Tensor:
    return 1.9 * torch.rand(count, 3, generator=generator, dtype=torch.float64) - 0.95


def held(level: Level, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points that the level holds, and normals."""
    x = points(count, generator)
    normals = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return x[level.holds(x)], torch.nn.functional.normalize(normals, dim=1)[level.holds(x)]


def residual(term: LinearTerm, change: Tensor) -> Tensor:
    return term.rows(change) - term.target


def changed(level: Level, free: Tensor, change: Tensor) -> Level:
    coefficients = level.coefficients.clone()
    coefficients[free >= 0] += change
    return Level(level.resolution, level.table, level.active, coefficients)


def columns_of(free: Tensor) -> int:
    return int((free >= 0).sum())


def dense_matrix(term: LinearTerm) -> np.ndarray:
    unit = torch.eye(term.rows.columns, dtype=torch.float64)
    return torch.stack([term.rows(column) for column in unit], dim=1).numpy()


# plane pull --------------------------------------------------------------------------------------------------------------------------


@LEVELS
@pytest.mark.parametrize("changing", [False, True])
def test_pull_residuals_are_values_and_misses_of_the_normals(kind, changing, generator):
    level = kind(generator)
    free = level.free_columns()
    x, normals = held(level, 200, generator)
    change = changing * torch.randn(columns_of(free), generator=generator, dtype=torch.float64)
    value, gradient = GridField([rough(generator), changed(level, free, change)]).value_and_gradient(x)
    wanted = torch.cat([value, REACH * (gradient - normals).reshape(-1)])
    assert len(x) > 50
    torch.testing.assert_close(residual(plane_pull(level, free, x, normals, REACH), change), wanted, **CLOSE)


def test_pull_vanishes_for_the_signed_distance_of_a_plane(generator):
    normal = torch.tensor([0.6, -0.48, 0.64], dtype=torch.float64)
    level = dense(lambda x: x @ normal - 0.1)
    x = 0.8 * points(100, generator)
    x -= (x @ normal - 0.1)[:, None] * normal
    x = x[(x.abs() < 1 - level.step).all(1)]  # where a spline reproduces linear functions
    term = plane_pull(level, level.free_columns(), x, normal.expand(len(x), 3), REACH)
    assert len(x) > 20
    torch.testing.assert_close(term.target, torch.zeros(4 * len(x), dtype=torch.float64), **CLOSE)


def test_pull_of_no_points_and_of_one(generator):
    level = rough(generator)
    free = level.free_columns()
    for count in (0, 1):
        x = torch.zeros(count, 3, dtype=torch.float64)
        term = plane_pull(level, free, x, x + 1, REACH)
        assert term.target.shape == (4 * count,) and term.rows(torch.ones(R**3, dtype=torch.float64)).shape == (4 * count,)
        weights = torch.ones(4 * count, dtype=torch.float64)
        assert term.right(weights).shape == term.diagonal(weights).shape == (R**3,)


# bending -----------------------------------------------------------------------------------------------------------------------------


def laplacian(level: Level) -> dict[tuple, float]:
    """Slow: node -> sum over its face neighbours of (theirs - its own) coefficient; beyond the lattice its border goes on."""
    values = dict(zip(map(tuple, level.nodes().tolist()), level.coefficients.tolist()))
    found = {}
    for node, here in values.items():
        total = -6 * here
        for axis in range(3):
            for side in (-1, 1):
                other = list(node)
                other[axis] = min(max(other[axis] + side, 0), level.resolution - 1)
                total += values.get(tuple(other), 0.0)
        found[node] = total
    return found


@LEVELS
@pytest.mark.parametrize("changing", [False, True])
def test_bending_residuals_are_laplacians_at_the_nodes_of_active_bricks(kind, changing, generator):
    level = kind(generator)
    free = level.free_columns()
    change = changing * torch.randn(columns_of(free), generator=generator, dtype=torch.float64)
    slow = laplacian(changed(level, free, change))
    wanted = [slow[node] for node in map(tuple, level.nodes()[: level.active * BRICK_NODES].tolist())]
    torch.testing.assert_close(residual(bending(level, free), change), torch.tensor(wanted, dtype=torch.float64), **CLOSE)


def test_bending_of_a_linear_field_is_zero_off_the_border_of_the_box():
    slope = torch.tensor([0.3, -1.2, 0.7], dtype=torch.float64)
    level = dense(lambda x: x @ slope + 0.4)
    inner = ((level.nodes() > 0) & (level.nodes() < R - 1)).all(1)
    target = bending(level, level.free_columns()).target  # a row per node, in their order
    assert target[inner].abs().max() < 1e-14 and target[~inner].abs().max() > 0.01  # beyond the box the field is constant: a kink


def test_bending_of_a_linear_field_is_zero_on_a_level_with_a_border(generator):
    slope = torch.tensor([0.3, -1.2, 0.7], dtype=torch.float64)
    level = refined(dense(lambda x: x @ slope), 0.2 * points(200, generator))
    term = bending(level, level.free_columns())
    assert 0 < level.active < 64 and len(term.target) > columns_of(level.free_columns()) > 0
    assert term.target.abs().max() < 1e-14


def test_bending_over_the_step_is_the_integral_of_the_squared_laplacian():
    hessian = torch.tensor([[1.0, 0.5, -0.3], [0.5, -2.0, 0.8], [-0.3, 0.8, 0.6]], dtype=torch.float64)
    level = dense(lambda x: torch.einsum("ni,ij,nj->n", x, hessian, x) / 2)
    inner = ((level.nodes() > 0) & (level.nodes() < R - 1)).all(1)
    energy = bending(level, level.free_columns()).target[inner].square().sum() / level.step
    assert float(energy) == pytest.approx((2 - 2 * level.step) ** 3 * float(hessian.trace()) ** 2, rel=1e-10)


# energies ----------------------------------------------------------------------------------------------------------------------------


@LEVELS
@pytest.mark.parametrize("name", ["pull", "bending"])
def test_energy_equals_that_of_the_dense_matrix(kind, name, generator):
    level = kind(generator)
    free = level.free_columns()
    term = plane_pull(level, free, *held(level, 60, generator), REACH) if name == "pull" else bending(level, free)
    a, b = dense_matrix(term), term.target.numpy()
    assert a.shape == (len(b), columns_of(free))
    weights = torch.rand(len(b), generator=generator, dtype=torch.float64)
    x = torch.randn(columns_of(free), generator=generator, dtype=torch.float64)
    w = weights.numpy()[:, None]
    np.testing.assert_allclose(term.normal(x, weights).numpy(), a.T @ (w * a) @ x.numpy(), atol=1e-9)
    np.testing.assert_allclose(term.right(weights).numpy(), a.T @ (w[:, 0] * b), atol=1e-9)
    np.testing.assert_allclose(term.diagonal(weights).numpy(), np.diag(a.T @ (w * a)), atol=1e-9)


# as published --------------------------------------------------------------------------------------------------------------------------


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def on_sphere(count: int) -> torch.Tensor:
    return torch.nn.functional.normalize(random(count, 3), dim=1)


def test_pull_vanishes_for_the_true_distance_whatever_the_gradients_length():
    target = on_sphere(50)
    distance = 0.3 * random(50, seed=1).clamp(-2, 2)
    queries = (1 + distance[:, None]) * target
    assert pull(queries, target, distance, 7 * target) == pytest.approx(0, abs=1e-12)


def test_pull_weighs_a_miss_by_the_exponential_of_the_distance():
    target = on_sphere(50)
    queries = 1.5 * target
    zero = torch.zeros(50, dtype=torch.float64)
    assert pull(queries, target, zero, target) == pytest.approx(0.5 * math.exp(0.5))
    assert pull(queries, target, zero - 0.5, target) == pytest.approx(1.0 * math.exp(0.5))  # the wrong sign leads away


def test_pull_and_misalignment_pass_gradcheck():
    queries, targets, values, gradients = random(5, 3), random(5, 3, seed=1), random(5, seed=2), random(5, 3, seed=3)
    assert torch.autograd.gradcheck(lambda v, g: pull(queries, targets, v, g), (values.requires_grad_(), gradients.requires_grad_()))
    assert torch.autograd.gradcheck(misalignment, (gradients, random(5, 3, seed=4).requires_grad_()))


def test_pull_has_a_finite_gradient_where_the_field_is_flat_or_perfect():
    values, gradients = torch.zeros(2, requires_grad=True), torch.zeros(2, 3, requires_grad=True)
    pull(torch.tensor([[0.0, 0, 0], [1, 0, 0]]), torch.zeros(2, 3), values, gradients).backward()
    assert torch.isfinite(values.grad).all() and torch.isfinite(gradients.grad).all()


def test_misalignment_is_one_minus_the_cosine():
    axis = torch.eye(3)
    assert misalignment(3 * axis, axis) == pytest.approx(0)
    assert misalignment(axis, -axis) == pytest.approx(2)
    assert misalignment(axis, axis.roll(1, 0)) == pytest.approx(1)


def test_roughness_equals_its_sum_over_nodes_and_neighbours():
    nodes, reach = 5, 2
    occupied = torch.zeros(nodes, nodes, nodes, dtype=torch.bool)
    occupied[0, 1, 2] = occupied[1, 0, 0] = True
    where = torch.nonzero(occupied)
    values = random(nodes, nodes, nodes)
    expected, visited = 0.0, 0
    for node in torch.cartesian_prod(*[torch.arange(nodes)] * 3):
        offsets = (where - node).abs()
        if offsets.max(1).values.min() > reach:
            continue
        weight = offsets.sum(1).min() + 1
        visited += 1
        for step in torch.cat([torch.eye(3, dtype=torch.long), -torch.eye(3, dtype=torch.long)]):
            neighbour = node + step
            if (neighbour >= 0).all() and (neighbour < nodes).all():
                expected += weight * (values[tuple(node)] - values[tuple(neighbour)]) ** 2
    weights = roughness_weights(occupied, reach)
    assert 0 < visited == int((weights > 0).sum()) < nodes**3
    assert roughness(values, edge_sums(weights), visited) == pytest.approx(float(expected / visited))
