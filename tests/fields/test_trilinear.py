"""TrilinearField against trilinear functions, which it must reproduce, and against its own differences."""

import pytest
import torch

from surfrecon.fields.trilinear import TrilinearField

NODES = 6
EXACT = {torch.float32: 2e-6, torch.float64: 1e-12}


def field_of(function, dtype=torch.float64, nodes: int = NODES) -> TrilinearField:
    axis = torch.linspace(-1, 1, nodes, dtype=dtype)
    return TrilinearField(function(torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)))


def anywhere(count: int, dtype=torch.float64) -> torch.Tensor:
    return 2 * torch.rand(count, 3, generator=torch.Generator().manual_seed(0), dtype=dtype) - 1


def rough_field(dtype=torch.float64) -> TrilinearField:
    return TrilinearField(torch.randn(NODES, NODES, NODES, generator=torch.Generator().manual_seed(1), dtype=dtype))


def trilinear(x):
    a, b, c = x.unbind(-1)
    return 0.3 - a + 2 * b + 0.5 * c + a * b - 3 * b * c + 0.7 * a * c - 2 * a * b * c


def slopes(x):
    a, b, c = x.unbind(-1)
    return torch.stack([-1 + b + 0.7 * c - 2 * b * c, 2 + a - 3 * c - 2 * a * c, 0.5 - 3 * b + 0.7 * a - 2 * a * b], dim=-1)


@pytest.mark.parametrize("dtype", EXACT)
def test_trilinear_function_and_its_gradient_are_exact(dtype):
    x, field = anywhere(500, dtype), field_of(trilinear, dtype)
    value, gradient = field.value_and_gradient(x)
    assert value.dtype == gradient.dtype == dtype
    torch.testing.assert_close(value, trilinear(x), rtol=0, atol=5 * EXACT[dtype])
    torch.testing.assert_close(gradient, slopes(x), rtol=0, atol=20 * EXACT[dtype])  # differences over h = 0.4
    torch.testing.assert_close(field(x), value)


def test_nodes_have_their_values_and_the_box_is_included():
    field = rough_field()
    axis = torch.linspace(-1, 1, NODES, dtype=torch.float64)
    torch.testing.assert_close(field(torch.cartesian_prod(axis, axis, axis)), field.values.flatten(), rtol=0, atol=1e-12)
    corner = torch.ones(1, 3, dtype=torch.float64)
    torch.testing.assert_close(field(2 * corner), field(corner))


def test_gradient_is_that_of_the_value():
    x = anywhere(200).requires_grad_()
    field = rough_field()
    (by_autograd,) = torch.autograd.grad(field(x).sum(), x)
    torch.testing.assert_close(field.value_and_gradient(x)[1], by_autograd)


def test_autograd_in_the_values_is_exact_for_value_and_gradient():
    """Both are linear in the values, so the derivative towards other values is what those would give."""
    x, field, other = anywhere(40), rough_field(), field_of(trilinear)
    for result, expected in zip(field.value_and_gradient(x), other.value_and_gradient(x)):
        share = torch.randn(result.shape, generator=torch.Generator().manual_seed(2), dtype=result.dtype)
        (towards,) = torch.autograd.grad((share * result).sum(), field.values, retain_graph=True)
        torch.testing.assert_close((towards * other.values).sum(), (share * expected).sum())


def test_slope_bound_holds_everywhere_and_is_met_by_a_plane():
    rough = rough_field()
    assert rough.value_and_gradient(anywhere(5000))[1].norm(dim=1).max() <= rough.slope_bound()
    direction = torch.tensor([2.0, -3.0, 6.0], dtype=torch.float64)
    assert field_of(lambda x: x @ direction).slope_bound() == pytest.approx(7)


def test_no_points_and_non_contiguous_points():
    field = rough_field()
    value, gradient = field.value_and_gradient(anywhere(0))
    assert value.shape == (0,) and gradient.shape == (0, 3)
    x = anywhere(10)
    torch.testing.assert_close(field(x.T.contiguous().T), field(x))


def test_it_is_worth_two_samples_a_cell():
    field = rough_field()
    assert (field.resolution, field.step) == (2 * (NODES - 1), 2 / (NODES - 1))
