"""Trilinear interpolation against trilinear functions, its own derivatives in float64, and the kernel against the reference."""

import pytest
import torch
from torch import Tensor

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.ops import reference

NODES = 9


def lattice(generator: torch.Generator, nodes: int = NODES, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(nodes, nodes, nodes, generator=generator, dtype=dtype)


def points(count: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """In the box and somewhat beyond."""
    return 2.4 * torch.rand(count, 3, generator=generator, dtype=dtype) - 1.2


def plane(x: Tensor) -> Tensor:
    return x @ torch.tensor([0.6, -0.5, 0.3], dtype=x.dtype) + 0.1


def positions(nodes: int, dtype: torch.dtype) -> Tensor:
    axis = torch.linspace(-1, 1, nodes, dtype=dtype)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)


@pytest.mark.parametrize("nodes", [2, 3, NODES, 40])
def test_linear_function_is_exact_in_the_box(nodes, dtype, generator):
    x = points(500, generator, dtype).clamp(-1, 1)
    value, gradient = ops.trilinear(plane(positions(nodes, dtype)), x)
    exact = {torch.float32: 1e-6, torch.float64: 1e-14}[dtype] * nodes  # of a slope: differences of values around 1 over h = 2 / nodes
    torch.testing.assert_close(value, plane(x), rtol=0, atol=exact)
    torch.testing.assert_close(gradient, torch.tensor([[0.6, -0.5, 0.3]], dtype=dtype).expand(500, 3), rtol=0, atol=exact)


def test_reference_is_differentiable_in_values_and_its_value_in_points(generator):
    values, x = lattice(generator, 4, torch.float64).requires_grad_(), points(20, generator, torch.float64)
    assert torch.autograd.gradcheck(lambda v: reference.trilinear(v, x), values)
    assert torch.autograd.gradcheck(lambda x: reference.trilinear(values, x, gradient=False)[0], x.requires_grad_())


@pytest.mark.parametrize("nodes", [2, 3, NODES, 70])
@pytest.mark.parametrize("gradient", [True, False], ids=["with gradient", "value alone"])
def test_kernel_matches_the_reference(nodes, gradient, native, generator):
    values, x = lattice(generator, nodes), points(3000, generator)
    found = native.trilinear(values, x, gradient=gradient)
    wanted = reference.trilinear(values.double(), x.double(), gradient=gradient)
    torch.testing.assert_close(found[0].double(), wanted[0], rtol=0, atol=3e-6 * nodes)  # of a place in lattice units
    assert (found[1] is None) == (not gradient)
    if gradient:
        same = (found[1] - wanted[1]).abs().amax(1) < 1e-5 * nodes**2
        border = (((x + 1) * (nodes - 1) / 2).remainder(1) - 0.5).abs().amax(1) > 0.499  # rounding may choose the other cell
        assert (same | border).all() and border.float().mean() < 0.02


@pytest.mark.parametrize("nodes", [2, NODES])
def test_points_on_nodes_fall_into_the_cell_that_the_reference_chooses(nodes, native, generator):
    values, x = lattice(generator, nodes), positions(nodes, torch.float32).reshape(-1, 3)
    for found, wanted in zip(native.trilinear(values, x), reference.trilinear(values, x)):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("given", ["value", "gradient", "both"])
def test_backward_of_the_kernel_matches_autograd_of_the_reference(given, native, generator):
    values, x = lattice(generator), points(3000, generator)
    results = []
    for backend in (native, reference):
        inner = values.clone().requires_grad_()
        value, gradient = backend.trilinear(inner, x)
        loss = (value**2).sum() * (given != "gradient") + (gradient**3).sum() * (given != "value")
        results.append(torch.autograd.grad(loss, inner)[0])
    assert results[1].abs().max() > 1
    torch.testing.assert_close(results[0] / results[1].abs().max(), results[1] / results[1].abs().max(), rtol=0, atol=2e-6)


def test_backward_is_the_transpose_of_forward(native, generator):
    """Both results are linear in the values: what a change of them gives is what backward asks for it."""
    values, change, x = lattice(generator).requires_grad_(), lattice(generator), points(500, generator)
    weights = torch.randn(500, generator=generator), torch.randn(500, 3, generator=generator)
    (asked,) = torch.autograd.grad(native.trilinear(values, x), values, weights)
    given = sum((w * result).sum() for w, result in zip(weights, native.trilinear(change, x)))
    assert float((asked * change).sum()) == pytest.approx(float(given), rel=1e-4)


def test_kernel_refuses_a_second_derivative(native, generator):
    values = lattice(generator).requires_grad_()
    (first,) = torch.autograd.grad((native.trilinear(values, points(5, generator))[0] ** 2).sum(), values, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_points_that_want_a_derivative_are_given_it(generator):
    values, x = lattice(generator), points(50, generator).clamp(-0.99, 0.99).requires_grad_()
    (slope,) = torch.autograd.grad(ops.trilinear(values, x, gradient=False)[0].sum(), x)
    torch.testing.assert_close(slope, ops.trilinear(values, x.detach())[1], rtol=0, atol=1e-4)


def test_nan_stays_with_its_point(native, generator):
    values, x = lattice(generator), points(10, generator)
    wanted = native.trilinear(values, x)
    x[3, 1] = torch.nan
    for found, want in zip(native.trilinear(values, x), wanted):
        assert found[3].isnan().any() and torch.equal(found[:3], want[:3]) and torch.equal(found[4:], want[4:])


@pytest.mark.parametrize("count", [0, 1])
def test_no_point_and_one_point(count, native, generator):
    values = lattice(generator).requires_grad_()
    value, gradient = native.trilinear(values, points(count, generator))
    assert value.shape == (count,) and gradient.shape == (count, 3)
    (value.sum() + gradient.sum()).backward()
    assert values.grad.count_nonzero() <= 8 * count


def test_memory_layout_does_not_matter(native, generator):
    values, x = lattice(generator).transpose(0, 2), points(40, generator).T.contiguous().T[::2]
    assert not values.is_contiguous() and not x.is_contiguous()
    for one, other in zip(native.trilinear(values, x), native.trilinear(values.contiguous(), x.contiguous())):
        assert torch.equal(one, other)


def test_number_of_threads_changes_no_byte(native, generator, on_threads):
    values, x = lattice(generator, 20), points(20_000, generator)

    def all_results() -> list[Tensor]:
        inner = values.clone().requires_grad_()
        value, gradient = native.trilinear(inner, x)
        ((value**2).sum() + (gradient**2).sum()).backward()
        return [value, gradient, inner.grad]

    one = on_threads(1, all_results)
    for count in (2, 3, 30):
        assert all(torch.equal(a, b) for a, b in zip(one, on_threads(count, all_results)))


@pytest.mark.parametrize(
    ("values", "x", "said"),
    [
        (torch.zeros(3, 3, 3, dtype=torch.float64), torch.zeros(1, 3), "values must be .*float32.*got.*float64"),
        (torch.zeros(3, 3, 3), torch.zeros(1, 3, dtype=torch.float64), "x must be .*float32.*got.*float64"),
        (torch.zeros(3, 3), torch.zeros(1, 3), r"values must be .*got \(3, 3\)"),
        (torch.zeros(3, 3, 4), torch.zeros(1, 3), r"values must be \(M, M, M\) with M >= 2, got \(3, 3, 4\)"),
        (torch.zeros(1, 1, 1), torch.zeros(1, 3), r"values must be \(M, M, M\) with M >= 2, got \(1, 1, 1\)"),
        (torch.zeros(3, 3, 3), torch.zeros(3), r"x must be \(any, 3\).*got \(3,\)"),
        (torch.zeros(3, 3, 3), torch.zeros(1, 2), r"x must be \(any, 3\).*got \(1, 2\)"),
    ],
)
def test_kernel_names_what_it_cannot_take(values, x, said, native):
    with pytest.raises(InputError, match=said):
        native.trilinear(values, x)
