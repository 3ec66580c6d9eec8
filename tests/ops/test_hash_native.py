"""The native kernels on hash grids: as exact as float32 allows at real sizes, and the same bytes however they are run."""

import pytest
import torch
from hash_cases import Case, case, grid, network, points
from torch import Tensor

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.ops import native as native_backend
from surfrecon.ops import reference
from surfrecon.ops.native.hash_encoding import PASS, TILE

pytestmark = pytest.mark.skipif("hash_sdf" not in native_backend.KERNELS, reason="native has no kernel on hash grids")

ENOUGH = 3e-6  # of each tensor, relative, L2: places are known to 1e-7 of a cell, see hash_grid.h
USUAL = {"levels": 16, "base": 16, "finest": 2048, "log2_entries": 14}
SEVERAL_PASSES = PASS * TILE + 1000  # points


def loss(sdf: Tensor, gradient: Tensor, features: Tensor) -> Tensor:
    return sdf.abs().mean() + ((gradient.norm(dim=1) - 1) ** 2).mean() / 10 + (features**2).mean()


def derivatives(some: Case, backend) -> list[Tensor]:
    results = some.sdf(backend)
    return [*results, *torch.autograd.grad(loss(*results), some.parameters())]


@pytest.mark.parametrize("hidden", [1, 3])
@pytest.mark.parametrize("activation", ["softplus", "relu", "silu"])
def test_results_and_derivatives_are_those_of_float64_at_a_usual_size(activation, hidden, native, generator):
    usual = ops.SdfNetwork(grid(**USUAL), hidden=hidden, outputs=4, activation=activation)
    some = case(usual, 4096, generator)
    some.table *= 0.1
    for found, wanted in zip(derivatives(some.to(torch.float32), native), derivatives(some.to(torch.float64), reference), strict=True):
        assert (found.double() - wanted).norm() < ENOUGH * wanted.norm()


@pytest.mark.parametrize("smooth", [False, True], ids=["linear", "smooth"])
def test_places_are_exact_on_the_finest_level(smooth, native, generator):
    usual = grid(**USUAL, smooth=smooth)
    x, table = points(usual, 1000, generator), torch.randn(usual.entries, 2, generator=generator)
    found = native.hash_encode(usual, table, x.float(), gradient=True)
    for one, wanted in zip(found, reference.hash_encode(usual, table.double(), x, gradient=True)):
        assert (one.double() - wanted).norm() < ENOUGH * wanted.norm()


@pytest.mark.parametrize("activation", ["softplus", "relu", "silu"])
def test_activation_and_its_derivatives_keep_float32_over_their_range(activation, native):
    """a = k x of one unit: its value, its slope as the gradient, its curve as what the gradient owes to k."""
    single = network(grid(levels=1), activation=activation, biases=False, outputs=1, radius=0.0)
    x = torch.linspace(-1, 1, 2001)[:, None].expand(-1, 3).contiguous()
    for steepness in (1e-3, 0.05, 1.0, 30.0):
        results = []
        for backend, dtype in ((native, torch.float32), (reference, torch.float64)):
            first, last = torch.zeros(single.weight_shapes[0], dtype=dtype), torch.zeros(1, 16, dtype=dtype)
            first[0, -3], last[0, 0] = steepness, 1
            table = torch.zeros(single.grid.entries, 2, dtype=dtype)
            first.requires_grad_()
            sdf, gradient, _ = backend.hash_sdf(single, table, [first, last], [], x.to(dtype))
            to_x = gradient[:, 0] / first.detach()[0, -3]
            (curve,) = torch.autograd.grad((gradient[:, 0] * torch.linspace(0, 1, 2001, dtype=dtype)).sum(), first)
            results.append((sdf, to_x, curve[0, -3]))
        for found, wanted in zip(*results):
            assert (found.double() - wanted).abs().max() < 5e-7 * wanted.abs().max().clamp(min=1e-4)


@pytest.mark.parametrize("mask", [False, True], ids=["all levels", "mask"])
def test_bytes_are_the_same_again_and_for_any_number_of_threads(mask, native, on_threads, generator):
    some = case(network(hidden=2), SEVERAL_PASSES, generator, mask=mask).to(torch.float32)
    wanted = on_threads(1, lambda: derivatives(some, native))
    for count in (1, 2, 3):
        for one, other in zip(on_threads(count, lambda: derivatives(some, native)), wanted, strict=True):
            assert torch.equal(one, other)


def test_bytes_of_the_encoding_are_the_same_for_any_number_of_threads(native, on_threads, generator):
    some = grid(smooth=True)
    table, x = torch.randn(some.entries, 2, generator=generator).requires_grad_(), points(some, SEVERAL_PASSES, generator).float()
    by = torch.randn(SEVERAL_PASSES, some.encoded, 3, generator=generator)

    def compute() -> list[Tensor]:
        results = native.hash_encode(some, table, x, gradient=True)
        return [*results, *torch.autograd.grad((results[0] * by[..., 0]).sum() + (results[1] * by).sum(), table)]

    wanted = on_threads(1, compute)
    for count in (2, 3):
        for one, other in zip(on_threads(count, compute), wanted, strict=True):
            assert torch.equal(one, other)


def test_points_of_several_passes_are_those_of_one_pass_each(native, generator):
    some = case(network(), SEVERAL_PASSES, generator).to(torch.float32)
    whole, asked = some.sdf(native), derivatives(some, native)[3:]
    x, shares = some.x, []
    for first, end in ((0, PASS * TILE), (PASS * TILE, SEVERAL_PASSES)):
        some.x = x[first:end]
        part = some.sdf(native)
        for one, other in zip(part, whole):
            assert torch.equal(one, other[first:end])
        part_loss = loss(*part) * (end - first) / SEVERAL_PASSES
        shares.append(torch.autograd.grad(part_loss, some.parameters()))
    for one, *parts in zip(asked, *shares):
        torch.testing.assert_close(one, sum(parts), rtol=1e-4, atol=1e-6)


def test_results_are_the_same_bytes_where_nothing_is_kept_for_backward(native, generator):
    some = case(network(), SEVERAL_PASSES, generator).to(torch.float32)
    kept = some.sdf(native)
    with torch.no_grad():
        for one, other in zip(some.sdf(native), kept):
            assert not one.requires_grad and torch.equal(one, other)
        assert torch.equal(some.sdf(native, gradient=False)[0], kept[0])


def test_backward_can_run_twice(native, generator):
    some = case(network(), 100, generator).to(torch.float32)
    total = loss(*some.sdf(native))
    first = torch.autograd.grad(total, some.parameters(), retain_graph=True)
    for one, other in zip(torch.autograd.grad(total, some.parameters()), first):
        assert torch.equal(one, other)


def test_levels_of_weight_zero_leave_nan_with_its_point(native, generator):
    some = grid()
    x, table = points(some, 10, generator).float(), torch.randn(some.entries, 2, generator=generator)
    x[4, 2] = torch.nan
    for found in native.hash_encode(some, table, x, mask=torch.zeros(3), gradient=True):
        assert found[4].isnan().all() and found[:4].count_nonzero() == 0 and found[5:].count_nonzero() == 0


def test_other_dtypes_are_refused(native, generator):
    some = case(network(), 5, generator)
    with pytest.raises(InputError, match=r"x must be \(any, 3\) torch.float32 on the cpu, got \(5, 3\) torch.float64"):
        some.sdf(native)
    with pytest.raises(InputError, match=r"x must be .*float32.*got .*float64"):
        native.hash_encode(some.network.grid, some.table, some.x)
