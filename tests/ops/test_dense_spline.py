"""Splines on dense lattices: the reference against linear functions, stencils and each other's transpose; the kernels against it."""

import pytest
import torch
from torch import Tensor

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.ops import reference

SHAPE = (9, 7, 11)
RELATIVE = 2e-6


def lattice(generator: torch.Generator, shape: tuple[int, ...] = SHAPE, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=dtype)


def points(count: int, generator: torch.Generator, dtype: torch.dtype = torch.float32, *, beyond: float = 0.0) -> Tensor:
    """(N, 3) lattice coordinates where whole stencils are on the lattice, or so much beyond it."""
    span = torch.tensor(SHAPE, dtype=dtype) - 2
    return 0.5 - beyond + (span + 2 * beyond) * torch.rand(count, 3, generator=generator, dtype=dtype)


def close(found: Tensor, wanted: Tensor) -> None:
    size = wanted.abs().max().clamp(min=1e-30)
    torch.testing.assert_close(found.double() / size, wanted.double() / size, rtol=0, atol=RELATIVE)


def test_linear_functions_are_reproduced_with_their_slopes(dtype, close, generator):
    slope = torch.tensor([0.03, -0.02, 0.05], dtype=dtype)
    nodes = torch.stack(torch.meshgrid(*[torch.arange(n, dtype=dtype) for n in SHAPE], indexing="ij"), dim=-1)
    u = points(100, generator, dtype)
    value, gradient = ops.spline_gather(nodes @ slope, u)
    close(value, u @ slope)
    close(gradient, slope.expand(100, 3))


def test_splatted_amounts_and_their_moments_are_kept(dtype, generator):
    u, amounts = points(100, generator, dtype), torch.rand(100, generator=generator, dtype=dtype)
    nodes = torch.stack(torch.meshgrid(*[torch.arange(n, dtype=dtype) for n in SHAPE], indexing="ij"), dim=-1)
    given = ops.spline_splat(u, amounts, SHAPE)
    assert given.dtype == dtype and given.shape == SHAPE
    torch.testing.assert_close(given.sum(), amounts.sum())
    torch.testing.assert_close((given[..., None] * nodes).sum((0, 1, 2)), (amounts[:, None] * u).sum(0))
    vectors = torch.randn(100, 3, generator=generator, dtype=dtype)
    given = ops.spline_splat(u, vectors, SHAPE)
    assert given.sum().abs() < 1e-4
    torch.testing.assert_close((given[..., None] * nodes).sum((0, 1, 2)), vectors.sum(0), rtol=1e-4, atol=1e-4)


def test_reference_matches_the_stencils_of_bspline_weights(generator):
    values, u = lattice(generator, dtype=torch.float64), points(10, generator, torch.float64)
    middle, weights, slopes = ops.bspline_weights(u)
    value, gradient = reference.spline_gather(values, u)
    for n in range(10):
        x, y, z = (slice(m - 1, m + 2) for m in middle[n].tolist())
        torch.testing.assert_close((values[x, y, z].reshape(-1) * weights[n]).sum(), value[n])
        torch.testing.assert_close(values[x, y, z].reshape(-1) @ slopes[n], gradient[n])


def test_splat_is_the_transpose_of_gather(generator):
    values, u = lattice(generator, dtype=torch.float64), points(50, generator, torch.float64, beyond=1.0)
    value, gradient = ops.spline_gather(values, u)
    for read, amounts in ((value, torch.randn(50, dtype=torch.float64)), (gradient, torch.randn(50, 3, dtype=torch.float64))):
        assert float((read * amounts).sum()) == pytest.approx(float((values * ops.spline_splat(u, amounts, SHAPE)).sum()), rel=1e-12)


def test_reference_is_differentiable_and_chosen_where_a_derivative_is_wanted(generator):
    values, u = lattice(generator, (4, 4, 4), torch.float64).requires_grad_(), 0.5 + 2 * torch.rand(4, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda v: reference.spline_gather(v, u), values)
    for amounts in (torch.rand(4, dtype=torch.float64, requires_grad=True), torch.rand(4, 3, dtype=torch.float64, requires_grad=True)):
        assert torch.autograd.gradcheck(lambda a: reference.spline_splat(u, a, (4, 4, 4)), amounts)
    single = values.detach().float().requires_grad_()
    assert ops.spline_gather(single, u.float())[0].requires_grad
    assert ops.spline_splat(u.float(), torch.ones(4, requires_grad=True), (4, 4, 4)).requires_grad


@pytest.mark.parametrize("beyond", [0.0, 2.0], ids=["inside", "some outside"])
@pytest.mark.parametrize("count", [1, 5000])
def test_kernels_match_the_reference(count, beyond, native, generator):
    values, u = lattice(generator), points(count, generator, beyond=beyond)
    wanted = reference.spline_gather(values.double(), u.double())
    for found, want in zip(native.spline_gather(values, u), wanted):
        close(found, want)
    value, none = native.spline_gather(values, u, gradient=False)
    assert none is None and torch.equal(value, native.spline_gather(values, u)[0])
    for amounts in (torch.randn(count, generator=generator), torch.randn(count, 3, generator=generator)):
        close(native.spline_splat(u, amounts, SHAPE), reference.spline_splat(u.double(), amounts.double(), SHAPE))


def test_points_off_the_lattice_take_and_give_nothing(backend, generator):
    u = torch.tensor([[0.49, 3, 3], [3, 5.5, 3], [3, 3, -1e9], [1e9, 3, 3], [torch.nan, 3, 3], [3, 3, torch.inf]])
    value, gradient = backend.spline_gather(lattice(generator), u)
    assert not value.any() and not gradient.any()
    assert not backend.spline_splat(u, torch.ones(len(u)), SHAPE).any() and not backend.spline_splat(u, torch.ones(len(u), 3), SHAPE).any()
    held = torch.tensor([[0.5, 3, 3], [3, 5.4999, 3]])
    assert backend.spline_splat(held, torch.ones(2), SHAPE).sum() == pytest.approx(2)


def test_no_points_and_lattices_too_small_for_a_stencil(backend, generator):
    none = torch.zeros(0, 3)
    value, gradient = backend.spline_gather(lattice(generator), none)
    assert value.shape == (0,) and gradient.shape == (0, 3)
    assert not backend.spline_splat(none, torch.zeros(0), SHAPE).any()
    for small in ((2, 9, 9), (9, 1, 9)):
        assert not backend.spline_gather(lattice(generator, small), torch.ones(3, 3))[0].any()
        assert not backend.spline_splat(torch.ones(3, 3), torch.ones(3), small).any()


def test_number_of_threads_changes_no_byte(native, generator, on_threads):
    values, u = lattice(generator), points(20_000, generator, beyond=0.5)
    vectors = torch.randn(20_000, 3, generator=generator)

    def all_results() -> list[Tensor]:
        return [*native.spline_gather(values, u), native.spline_splat(u, vectors, SHAPE), native.spline_splat(u, vectors[:, 0], SHAPE)]

    one = on_threads(1, all_results)
    for count in (2, 3, 30):
        assert all(torch.equal(a, b) for a, b in zip(one, on_threads(count, all_results)))


def test_memory_layout_does_not_matter(native, generator):
    values, u = lattice(generator).transpose(0, 2), points(40, generator).T.contiguous().T[::2].clamp(1, 5)
    amounts = torch.randn(3, 20, generator=generator).T
    for one, other in zip(native.spline_gather(values, u), native.spline_gather(values.contiguous(), u.contiguous())):
        assert torch.equal(one, other)
    assert torch.equal(native.spline_splat(u, amounts, SHAPE), native.spline_splat(u.contiguous(), amounts.contiguous(), SHAPE))


def test_kernels_name_what_they_cannot_take(native):
    values, u = torch.zeros(SHAPE), torch.ones(4, 3)
    with pytest.raises(InputError, match=r"lattice must be .*float32.*got.*float64"):
        native.spline_gather(values.double(), u)
    with pytest.raises(InputError, match=r"lattice must be .*got \(693,\)"):
        native.spline_gather(values.reshape(-1), u)
    with pytest.raises(InputError, match=r"u must be \(any, 3\).*got \(4, 2\)"):
        native.spline_gather(values, u[:, :2])
    for amounts in (torch.ones(3), torch.ones(4, 2), torch.ones(4, 3, 1), torch.ones(4, dtype=torch.float64)):
        with pytest.raises(InputError, match="amounts must be"):
            native.spline_splat(u, amounts, SHAPE)
