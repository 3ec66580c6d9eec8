"""The spline on nested levels: kernel against reference. The reference itself is tested as a field, in tests/fields."""

import pytest
import torch
from sparse_levels import anywhere, doubled, nested, shell

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.fields.grid import Level, dense_level
from surfrecon.ops import reference

CLOSE = {"rtol": 0, "atol": 2e-5}  # of values around 1: places in cells of up to 64 are rounded at 4e-6


@pytest.mark.parametrize("gradient", [True, False], ids=["with gradient", "value alone"])
def test_kernel_matches_the_reference(gradient, native, generator):
    levels = nested(generator)
    x = torch.cat([shell(2000, generator), anywhere(2000, generator)])
    found = native.spline_field(levels, x, gradient=gradient)
    wanted = reference.spline_field([doubled(level) for level in levels], x.double(), gradient=gradient)
    assert min(int(level.holds(x).sum()) for level in levels) > 500
    torch.testing.assert_close(found[0].double(), wanted[0], **CLOSE)
    if gradient:
        torch.testing.assert_close(found[1].double() * levels[-1].step, wanted[1] * levels[-1].step, **CLOSE)
    else:
        assert found[1] is None


def test_linear_function_is_exact_inside_and_flat_beyond_the_box(native):
    slope = torch.tensor([0.3, -1.2, 0.7])
    level = dense_level(torch.zeros(8, 8, 8))
    level.coefficients = level.positions() @ slope
    x = torch.tensor([[0.1, -0.2, 0.7], [0.75, 0, 0], [0.3, 7, 0.3]])
    value, gradient = native.spline_field([level], x)
    torch.testing.assert_close(value[:2], x[:2] @ slope)
    torch.testing.assert_close(gradient[:2], slope.expand(2, 3))
    assert gradient[2, 1].abs() < 1e-6 and float(value[2]) == pytest.approx(float(native.spline_field([level], x.clamp(-1, 1))[0][2]))


def test_points_that_no_level_holds_and_nan_give_nan(backend, generator):
    fine = nested(generator)[1]
    x = torch.tensor([[-0.9, -0.9, -0.9], [float("nan"), 0, 0]])
    assert not fine.holds(x[:1]).any()
    value, gradient = backend.spline_field([fine], x[:1])
    assert value.isnan().all() and gradient.isnan().all()
    assert backend.spline_field([dense_level(torch.ones(4, 4, 4))], x[1:])[0].isnan().all()


def test_no_point_one_point_and_points_not_contiguous(native, generator):
    levels, x = nested(generator), shell(50, generator)
    value, gradient = native.spline_field(levels, x)
    for count in (0, 1):
        v, g = native.spline_field(levels, x[:count])
        assert torch.equal(v, value[:count]) and torch.equal(g, gradient[:count])
    scattered = x.T.contiguous().T
    assert not scattered.is_contiguous() and torch.equal(native.spline_field(levels, scattered)[0], value)
    every_other = x.repeat_interleave(2, 0)[::2]
    assert torch.equal(native.spline_field(levels, every_other)[1], gradient)


def test_one_and_two_threads_give_the_same_bytes(native, on_threads, generator):
    levels, x = nested(generator), shell(3001, generator)
    one, two = (on_threads(count, lambda: native.spline_field(levels, x)) for count in (1, 2))
    assert torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])


@pytest.mark.parametrize("x", [torch.zeros(5, 3, dtype=torch.float64), torch.zeros(5, 2), torch.zeros(3)], ids=["dtype", "width", "rank"])
def test_other_points_are_refused(x, native, generator):
    with pytest.raises(InputError, match=r"points must be \(any, 3\) torch.float32 on the cpu, got"):
        native.spline_field(nested(generator), x)


def test_other_levels_are_refused(native, generator):
    level = nested(generator)[0]
    with pytest.raises(InputError, match="coefficients must be"):
        native.spline_field([doubled(level)], torch.zeros(1, 3))
    with pytest.raises(InputError, match="table must be"):
        native.spline_field([Level(8, level.table, level.active, level.coefficients)], torch.zeros(1, 3))
    with pytest.raises(InputError, match="one level"):
        native.spline_field([], torch.zeros(1, 3))


def test_what_asks_for_derivatives_is_computed_by_the_reference(generator):
    levels, x = nested(generator), shell(20, generator).requires_grad_()
    value, gradient = ops.spline_field(levels, x)
    (wanted,) = torch.autograd.grad(value.sum(), x)
    torch.testing.assert_close(gradient, wanted, rtol=1e-4, atol=1e-4)
