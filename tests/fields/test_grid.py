"""GridField: what a spline reproduces, its gradient, refinement that changes nothing, smooth borders between levels."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from surfrecon.fields.grid import BRICK, BRICK_NODES, GridField, Level, dense_level, dilated, refined

R = 16  # cells of the coarsest level here
TIGHT = {"rtol": 0, "atol": 1e-12}  # float64, values around 1


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def anywhere(count: int, generator: torch.Generator, reach: float = 1.0) -> Tensor:
    return reach * (2 * torch.rand(count, 3, generator=generator, dtype=torch.float64) - 1)


def level_of(function, resolution: int = R) -> Level:
    """The dense level whose coefficients are a function's values at the nodes."""
    level = dense_level(torch.zeros((resolution,) * 3, dtype=torch.float64))
    level.coefficients = function(level.positions())
    return level


def rough(generator: torch.Generator, resolution: int = R) -> Level:
    return dense_level(torch.randn((resolution,) * 3, generator=generator, dtype=torch.float64))


def shell(count: int, generator: torch.Generator) -> Tensor:
    """Points of a sphere that leaves the box on one side."""
    x = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return 0.6 * x / torch.linalg.norm(x, dim=1, keepdim=True) + torch.tensor([0.45, 0.1, 0.0])


def nested(generator: torch.Generator, levels: int = 3) -> GridField:
    """Each level around a smaller part of a sphere, its free coefficients changed by an amount of order 1."""
    field = GridField([rough(generator)])
    for depth in range(1, levels):
        points = shell(4000, generator)
        fine = refined(field.levels[-1], points[points[:, 2] > 0.3 * (depth - 1)])
        free = fine.free_columns() >= 0
        fine.coefficients[free] += torch.randn(int(free.sum()), generator=generator, dtype=torch.float64)
        field.levels.append(fine)
    return field


# one level ---------------------------------------------------------------------------------------------------------------------------


def test_rows_nodes_and_positions_of_a_dense_level_agree():
    values = torch.arange(8.0**3).reshape(8, 8, 8)
    level = dense_level(values)
    nodes = level.nodes()
    assert level.active == 8 and torch.equal(level.window_slots(nodes, 1)[:, 0], torch.arange(8**3))
    assert torch.equal(level.coefficients, values[tuple(nodes.T)])
    assert torch.equal(level.positions(), -1 + (nodes + 0.5) / 4)
    assert level.positions().amin() == -1 + level.step / 2 and level.positions().amax() == 1 - level.step / 2


def test_linear_functions_are_reproduced_where_the_stencil_stays_inside(generator):
    slope = torch.tensor([0.3, -1.2, 0.7], dtype=torch.float64)
    field = GridField([level_of(lambda x: x @ slope + 0.4)])
    x = anywhere(200, generator, 1 - field.levels[0].step)
    value, gradient = field.value_and_gradient(x)
    torch.testing.assert_close(value, x @ slope + 0.4, **TIGHT)
    torch.testing.assert_close(gradient, slope.expand(200, 3), **TIGHT)


def test_quadratic_functions_are_reproduced_once_the_width_of_the_basis_is_taken_off(generator):
    hessian = torch.tensor([[1.0, 0.5, -0.3], [0.5, -2.0, 0.8], [-0.3, 0.8, 0.6]], dtype=torch.float64)
    quadratic = lambda x: torch.einsum("ni,ij,nj->n", x, hessian, x) / 2
    step = 2 / R
    field = GridField([level_of(lambda x: quadratic(x) - step**2 / 8 * hessian.trace())])  # a variance of h^2 / 4 along each axis
    x = anywhere(200, generator, 1 - step)
    value, gradient = field.value_and_gradient(x)
    torch.testing.assert_close(value, quadratic(x), **TIGHT)
    torch.testing.assert_close(gradient, x @ hessian, **TIGHT)


def test_smooth_functions_are_met_with_the_square_of_the_step(generator):
    wave = lambda x: torch.sin(2 * x[:, 0]) * torch.cos(x[:, 1] + 3 * x[:, 2])
    x = anywhere(500, generator, 0.8)
    error = [float((GridField([level_of(wave, resolution)])(x) - wave(x)).abs().max()) for resolution in (16, 32, 64)]
    np.testing.assert_allclose(np.log2(np.divide(error[:-1], error[1:])), 2, atol=0.1)


def test_points_outside_the_box_take_the_value_of_its_border(generator):
    field = GridField([rough(generator)])
    x = anywhere(200, generator, 1.5)
    torch.testing.assert_close(field(x), field(x.clamp(-1, 1)), **TIGHT)
    value, gradient = field.value_and_gradient(torch.tensor([[-1.0, 0.3, 0.2], [1.0, 0.3, 0.2], [7.0, 0.3, 0.2]], dtype=torch.float64))
    assert gradient[:, 0].abs().max() < 1e-12  # flat there, so that the constant beyond joins smoothly
    assert value[1] == value[2]


# value and gradient ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [1, 3])
def test_gradient_is_that_of_autograd_everywhere(levels, generator):
    field = nested(generator, levels)
    x = torch.cat([anywhere(300, generator, 1.2), shell(300, generator)]).requires_grad_()
    value, gradient = field.value_and_gradient(x)
    torch.testing.assert_close(field(x), value)
    (wanted,) = torch.autograd.grad(value.sum(), x)
    outside = x.abs() > 1
    torch.testing.assert_close(gradient, wanted, rtol=1e-10, atol=1e-10)
    assert (gradient[outside].abs() < 1e-10).all()


@pytest.mark.parametrize("levels", [1, 3])
def test_gradient_is_that_of_finite_differences(levels, generator):
    field = nested(generator, levels)
    x = torch.cat([anywhere(300, generator), shell(300, generator)])
    step = 1e-6
    gradient = field.value_and_gradient(x)[1]
    for axis, side in enumerate(step * torch.eye(3, dtype=torch.float64)):
        slope = (field(x + side) - field(x - side)) / (2 * step)
        torch.testing.assert_close(gradient[:, axis], slope, rtol=0, atol=2e-3)  # the curvature, of up to 1e4, jumps
    assert torch.autograd.gradcheck(field, x[::60].clone().requires_grad_())


def test_value_is_linear_in_the_coefficients(generator):
    field = nested(generator, 2)
    x = shell(50, generator)
    fine = field.levels[-1]
    fine.coefficients.requires_grad_()
    (gradient,) = torch.autograd.grad(field(x).sum(), fine.coefficients)
    with torch.no_grad():
        before, change = field(x).sum(), torch.randn(len(fine.coefficients), generator=generator, dtype=torch.float64)
        fine.coefficients += change
        torch.testing.assert_close(field(x).sum() - before, gradient @ change)


def test_no_point_one_point_and_points_not_contiguous(generator):
    field = nested(generator, 2)
    x = shell(60, generator)
    value, gradient = field.value_and_gradient(x)
    for part in (x[:0], x[:1]):
        v, g = field.value_and_gradient(part)
        assert torch.equal(v, value[: len(part)]) and torch.equal(g, gradient[: len(part)])
    scattered = x.T.contiguous().T
    assert not scattered.is_contiguous() and torch.equal(field(scattered), value)


def test_to_moves_all_levels_and_float32_agrees_with_float64(generator):
    field = nested(generator)
    x = shell(200, generator)
    value, gradient = field.value_and_gradient(x)
    single, slope = field.to(torch.float32).value_and_gradient(x.float())
    assert {level.coefficients.dtype for level in field.levels} == {single.dtype, slope.dtype} == {torch.float32}
    assert all(level.table.dtype == torch.int64 for level in field.levels)
    # Rounding x in float32 errs by 1e-7, times a slope of up to 100 and a curvature of up to 1e4.
    torch.testing.assert_close(single.double(), value, rtol=0, atol=1e-4)
    torch.testing.assert_close(slope.double(), gradient, rtol=0, atol=1e-2)


# refinement --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("near", ["everywhere", "shell"])
def test_refined_levels_have_exactly_the_coarse_values_up_to_the_border_of_the_box(near, generator):
    coarse = GridField([rough(generator)])
    points = coarse.levels[0].positions() if near == "everywhere" else shell(4000, generator)
    fine = GridField([*coarse.levels, refined(coarse.levels[0], points)])
    finest = GridField([*fine.levels, refined(fine.levels[1], fine.levels[1].positions())])
    assert fine.levels[1].resolution == 2 * R and finest.levels[2].resolution == 4 * R
    x = torch.cat([anywhere(1000, generator), anywhere(500, generator).sign() * 0.999, shell(1000, generator)])
    wanted = coarse.value_and_gradient(x)
    for level in (fine.levels[1], finest.levels[2]):
        assert level.holds(x).sum() > 500
    for field in (fine, finest):
        value, gradient = field.value_and_gradient(x)
        torch.testing.assert_close(value, wanted[0], **TIGHT)
        torch.testing.assert_close(gradient, wanted[1], rtol=0, atol=1e-10)  # slopes of up to 50


def test_refined_is_active_in_the_bricks_of_the_points_and_stores_their_neighbours(generator):
    points = shell(300, generator)
    fine = refined(rough(generator), points)
    bricks = 2 * R // BRICK
    wanted = torch.zeros((bricks,) * 3, dtype=torch.bool)
    for point in points.clamp(-1, 1):
        wanted[tuple(min(int((c + 1) / 2 * bricks), bricks - 1) for c in point.tolist())] = True
    assert torch.equal((fine.table >= 0) & (fine.table < fine.active), wanted) and fine.active == int(wanted.sum())
    assert torch.equal(fine.table >= 0, dilated(wanted))
    stored = fine.table[fine.table >= 0]
    assert torch.equal(stored.sort().values, torch.arange(len(fine.coefficients) // BRICK_NODES))
    assert fine.holds(points).all()


def test_refined_does_not_reach_beyond_the_active_part_of_the_level_above(generator):
    middle = refined(rough(generator), shell(300, generator))
    fine = refined(middle, rough(generator, 32).positions())
    held = (middle.table >= 0) & (middle.table < middle.active)
    halves = held.repeat_interleave(2, 0).repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert torch.equal((fine.table >= 0) & (fine.table < fine.active), halves)


def test_levels_join_with_equal_value_and_slope_across_their_borders(generator):
    field = nested(generator)
    for level in field.levels[1:]:
        side, bricks = BRICK * level.step, level.resolution // BRICK
        middle = anywhere(4000, generator)
        for axis in range(3):
            face = middle.clone()
            face[:, axis] = -1 + side * torch.randint(1, bricks, (len(face),), generator=generator)
            before, after = face.clone(), face.clone()
            before[:, axis] -= 1e-11
            after[:, axis] += 1e-11
            border = level.holds(before) != level.holds(after)
            assert border.sum() > 20
            one, other = field.value_and_gradient(before[border]), field.value_and_gradient(after[border])
            torch.testing.assert_close(one[0], other[0], rtol=0, atol=1e-8)
            torch.testing.assert_close(one[1], other[1], rtol=0, atol=1e-6)


# slots, holds, free columns ----------------------------------------------------------------------------------------------------------


def bricks_of(level: Level) -> tuple[set, set]:
    """(stored, active) bricks as tuples."""
    table = level.table.numpy()
    stored = {tuple(map(int, brick)) for brick in np.argwhere(table >= 0)}
    return stored, {brick for brick in stored if table[brick] < level.active}


def test_holds_is_being_in_an_active_brick(generator):
    level = nested(generator, 2).levels[1]
    active = bricks_of(level)[1]
    x = torch.cat([anywhere(400, generator, 1.1), shell(400, generator)])
    inside = lambda p: tuple(min(int((min(max(c, -1), 1) + 1) / level.step) // BRICK, level.resolution // BRICK - 1) for c in p)
    wanted = [inside(p) in active for p in x.tolist()]
    assert level.holds(x).tolist() == wanted and 100 < sum(wanted) < 700


def test_slots_are_rows_of_stored_nodes_clamped_to_the_lattice(generator):
    level = nested(generator, 2).levels[1]
    row = {tuple(node): i for i, node in enumerate(level.nodes().tolist())}
    nodes = torch.randint(-3, level.resolution + 3, (2000, 3), generator=generator)
    clamped = nodes.clamp(0, level.resolution - 1).tolist()
    slots = level.window_slots(nodes, 1)[:, 0]
    assert slots.clamp(min=-1).tolist() == [row.get(tuple(node), -1) for node in clamped]  # any negative number where none is stored
    assert 100 < (slots < 0).sum() < 1900


def test_stencils_of_points_that_a_level_holds_are_stored_and_in_order(generator):
    level = nested(generator, 2).levels[1]
    x = torch.cat([anywhere(2000, generator), anywhere(200, generator).sign()])
    x = x[level.holds(x)]
    middle = (level.lattice(x) + 0.5).floor().long()
    slots = level.stencil_slots(middle)
    assert len(x) > 100 and (slots >= 0).all()
    for column, offset in enumerate(product((-1, 0, 1), repeat=3)):
        assert torch.equal(slots[:, column], level.window_slots(middle + torch.tensor(offset), 1)[:, 0])


def test_free_coefficients_touch_active_bricks_only(generator):
    level = nested(generator, 2).levels[1]
    active = bricks_of(level)[1]
    free = []
    for node in level.nodes().tolist():
        cells = product(*[range(max(n - 1, 0), min(n + 1, level.resolution - 1) + 1) for n in node])  # that its basis function touches
        free.append(tuple(n // BRICK for n in node) in active and all(tuple(c // BRICK for c in cell) in active for cell in cells))
    columns = level.free_columns()
    assert (columns >= 0).tolist() == free and 0 < sum(free) < len(free)
    assert torch.equal(columns[columns >= 0], torch.arange(sum(free)))


def test_all_coefficients_of_a_dense_level_are_free(generator):
    assert torch.equal(rough(generator).free_columns(), torch.arange(R**3))
    assert torch.equal(refined(rough(generator), rough(generator).positions()).free_columns(), torch.arange(8 * R**3))


# slope -------------------------------------------------------------------------------------------------------------------------------


def test_steepest_of_a_ball_is_one_whatever_happens_far_from_its_surface():
    coarse = level_of(lambda x: torch.linalg.norm(x, dim=1) - 0.6, 32)
    coarse.coefficients[coarse.positions().norm(dim=1) < 0.3] *= 5
    assert GridField([coarse, refined(coarse, coarse.positions())]).steepest() == pytest.approx(1, abs=0.03)


def test_steepest_of_a_linear_function_is_its_slope(generator):
    slope = torch.tensor([0.3, -1.2, 0.7], dtype=torch.float64)
    coarse = level_of(lambda x: x @ slope)
    field = GridField([coarse, refined(coarse, 0.5 * shell(300, generator))])
    assert field.steepest() == pytest.approx(float(torch.linalg.norm(slope)), rel=1e-12)
