"""Quadratic B-splines against scipy's basis, their moments, a slow loop and derivatives in float64."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline

from surfrecon import ops

B2 = BSpline.basis_element([-1.5, -0.5, 0.5, 1.5], extrapolate=False)
STENCIL = np.array(list(product((-1, 0, 1), repeat=3)))  # offsets, last axis fastest


def points(count: int, dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    """(N, 3) lattice coordinates of both signs, exact nodes and exact middles between nodes among them."""
    special = torch.tensor([[0, 0, 0], [0.5, 1.5, -0.5], [3, -2.5, 7]], dtype=dtype)
    return torch.cat([special, 10 * torch.rand(count, 3, generator=generator, dtype=dtype) - 3])


def test_weights_are_products_of_the_basis_function(dtype, close, generator):
    u = points(50, dtype, generator)
    middle, weights, _ = ops.bspline_weights(u)
    nodes = middle.numpy()[:, None] + STENCIL
    basis = np.nan_to_num(B2(u.double().numpy()[:, None] - nodes))  # NaN outside its support: zero
    close(weights, basis.prod(axis=2))


def test_middle_is_the_nearest_node_and_ties_go_up():
    u = torch.tensor([[0.49, 0.5, -0.5], [-0.51, 1.5, 2.0]])
    middle, _, _ = ops.bspline_weights(u)
    assert middle.dtype == torch.int64 and middle.tolist() == [[0, 1, 0], [-1, 2, 2]]


def test_weights_have_the_moments_of_the_spline(dtype, close, generator):
    u = torch.rand(50, 3, generator=generator, dtype=dtype)
    middle, weights, slopes = ops.bspline_weights(u)
    nodes = (middle[:, None] + torch.tensor(STENCIL)).to(dtype)
    close(weights.sum(1), np.ones(50))
    close(torch.einsum("nk,nkd->nd", weights, nodes), u)
    close(torch.einsum("nk,nkd->nd", weights, nodes**2), u.double() ** 2 + 0.25)  # variance 1/4 of the basis as a density
    close(slopes.sum(1), np.zeros((50, 3)))
    close(torch.einsum("nkd,nke->nde", slopes, nodes), np.broadcast_to(np.eye(3), (50, 3, 3)))
    assert weights.min() >= 0


def test_slopes_are_the_derivatives_of_the_weights(generator):
    u = points(20, torch.float64, generator)[3:].requires_grad_()  # not at ties, where the stencil moves
    _, weights, slopes = ops.bspline_weights(u)
    for k in range(ops.STENCIL):
        (gradient,) = torch.autograd.grad(weights[:, k].sum(), u, retain_graph=True)
        torch.testing.assert_close(gradient, slopes[:, k], rtol=0, atol=1e-14)
    assert torch.autograd.gradcheck(lambda u: ops.bspline_weights(u)[1:], u[:2])


def test_spline_is_c1_where_the_stencil_moves(generator):
    values = torch.randn(8, 8, 8, generator=generator, dtype=torch.float64).reshape(-1)
    place = torch.tensor([64, 8, 1])
    middles = torch.randint(2, 6, (40, 3), generator=generator).double() - 0.5  # all three axes tie
    results = []
    for side in (-1e-12, 0.0, 1e-12):
        middle, weights, slopes = ops.bspline_weights(middles + side)
        slots = ((middle[:, None] + torch.tensor(STENCIL)) * place).sum(2)
        results.append(ops.bspline_evaluate(values, slots, weights, slopes))
    for value, slope in results[1:]:
        torch.testing.assert_close(value, results[0][0], rtol=0, atol=1e-10)
        torch.testing.assert_close(slope, results[0][1], rtol=0, atol=1e-10)


def test_evaluate_matches_a_slow_loop(dtype, close, generator):
    u = points(10, dtype, generator)
    _, weights, slopes = ops.bspline_weights(u)
    slots = torch.randint(0, 100, (len(u), ops.STENCIL), generator=generator)
    values = torch.randn(100, generator=generator, dtype=dtype)
    value, slope = ops.bspline_evaluate(values, slots, weights, slopes)
    slow_value, slow_slope = np.zeros(len(u)), np.zeros((len(u), 3))
    for n in range(len(u)):
        for k in range(ops.STENCIL):
            slow_value[n] += float(values[slots[n, k]]) * float(weights[n, k])
            slow_slope[n] += float(values[slots[n, k]]) * slopes[n, k].double().numpy()
    close(value, slow_value)
    close(slope, slow_slope)


def test_evaluate_is_differentiable_in_coefficients_and_places(generator):
    values = torch.randn(30, generator=generator, dtype=torch.float64, requires_grad=True)
    slots = torch.randint(0, 30, (4, ops.STENCIL), generator=generator)
    u = torch.rand(4, 3, generator=generator, dtype=torch.float64, requires_grad=True)

    def value_and_slope(values, u):
        _, weights, slopes = ops.bspline_weights(u)
        return ops.bspline_evaluate(values, slots, weights, slopes)

    assert torch.autograd.gradcheck(value_and_slope, (values, u))


def test_leaving_the_gradient_out_changes_nothing_else(dtype, generator):
    u = points(20, dtype, generator)
    middle, weights, slopes = ops.bspline_weights(u, gradient=False)
    wanted = ops.bspline_weights(u)
    assert slopes is None and torch.equal(middle, wanted[0]) and torch.equal(weights, wanted[1])
    slots = torch.randint(0, 9, (len(u), ops.STENCIL), generator=generator)
    values = torch.randn(9, generator=generator, dtype=dtype)
    value, slope = ops.bspline_evaluate(values, slots, weights, None)
    assert slope is None and torch.equal(value, ops.bspline_evaluate(values, slots, *wanted[1:])[0])


@pytest.mark.parametrize("count", [0, 1])
def test_no_point_and_one_point_keep_their_shapes(count, dtype):
    middle, weights, slopes = ops.bspline_weights(torch.zeros(count, 3, dtype=dtype))
    assert (middle.shape, weights.shape, slopes.shape) == ((count, 3), (count, 27), (count, 27, 3))
    value, slope = ops.bspline_evaluate(torch.ones(5, dtype=dtype), torch.zeros(count, 27, dtype=torch.long), weights, slopes)
    assert value.dtype == slope.dtype == dtype and value.tolist() == [1] * count and slope.shape == (count, 3)


def test_memory_layout_does_not_matter(dtype, generator):
    u = points(21, dtype, generator)
    scattered = u.T.contiguous().T[::2]
    assert not scattered.is_contiguous()
    for one, other in zip(ops.bspline_weights(scattered), ops.bspline_weights(u[::2].contiguous())):
        assert torch.equal(one, other)
