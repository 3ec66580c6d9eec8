"""What only Triton's kernels have, in its interpreter: run by test_triton.py, in a process of its own."""

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from hash_cases import case, grid, network
from ray_cases import case as ray_case
from ray_cases import derivatives as ray_derivatives
from test_adam import RATE, gradients, start, walk
from test_hash_sdf import assert_same, derivatives
from test_marching import MOST, ball, lattice, rays
from test_marching import assert_same as assert_same_samples
from triton.runtime import interpreter

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.ops import reference
from surfrecon.ops import triton as backend
from surfrecon.ops.triton import here, marching, sdf

TF32_BITS = 11  # of a significand, the leading one included


def rounded(numbers: np.ndarray) -> np.ndarray:
    """float32 to tf32."""
    low = 24 - TF32_BITS
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32).astype(np.uint64)
    return (((bits + (1 << (low - 1))) >> low) << low).astype(np.uint32).view(np.float32)


@pytest.fixture
def tensor_cores(monkeypatch):
    """Products with the rounding of a GPU's: the interpreter has all numbers as they are, and bf16 as their bits."""

    def create_dot(self, a, b, total, precision, most_imprecise):
        operands = []
        for operand in (a, b):
            numbers = operand.data
            if operand.dtype.scalar == tl.bfloat16:
                numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
            elif "TF32" in str(precision):
                numbers = rounded(numbers)
            operands.append(numbers)
        return interpreter.TensorHandle(operands[0] @ operands[1] + total.data, total.dtype.scalar)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", create_dot)


def use(precision: str, monkeypatch) -> None:
    monkeypatch.setattr(here, "_precision", precision)


def smooth_loss(sdf, gradient, features):
    return 100 * (sdf**2).mean() + ((gradient**2).sum(1) - 1).square().mean() + (features**2).mean() / 10


@pytest.mark.parametrize("activation", ["softplus", "silu"])
@pytest.mark.parametrize(("precision", "enough"), [("ieee", 1e-5), ("tf32", 2e-3), ("bf16", 2e-2)])
def test_triton_precision_of_a_network_that_has_learnt(precision, enough, activation, tensor_cores, monkeypatch, generator):
    """Derivatives of all parameters, relative in L2, near a sphere with noise in weights and table."""
    use(precision, monkeypatch)
    some = network(grid(levels=8, base=8, finest=128, log2_entries=12), width=64, outputs=16, activation=activation)
    weights, biases = ops.sphere_start(some, generator, dtype=torch.float64)
    x = torch.nn.functional.normalize(torch.randn(400, 3, generator=generator), dim=1) / 2 + 0.02 * torch.randn(400, 3, generator=generator)
    one = case(some, 1, generator)
    one.table, one.x, one.biases = 0.01 * one.table, x.double(), biases
    one.weights = [weight + 0.05 * torch.randn(weight.shape, generator=generator, dtype=torch.float64) for weight in weights]
    found, wanted = (derivatives(one.to(dtype), of, smooth_loss) for of, dtype in ((backend, torch.float32), (reference, torch.float64)))
    for part, want in zip(found[:2] + found[3:], wanted[:2] + wanted[3:]):
        assert (part - want).norm() < enough * want.norm()


@pytest.mark.parametrize("points", [16, 32])
def test_triton_programs_share_the_work(points, monkeypatch, generator):
    """Many small programs, the last one not full, and more of them than copies of the weights' derivatives."""
    use("ieee", monkeypatch)
    monkeypatch.setattr(here, "POINTS_INTERPRETED", points)
    monkeypatch.setattr(sdf, "COPIES", 3)
    some = case(network(hidden=2), 5 * points + 3, generator, mask=True)
    assert_same(*(derivatives(some.to(dtype), of) for of, dtype in ((backend, torch.float32), (reference, torch.float64))))


@pytest.mark.parametrize("gradient", [True, False])
def test_triton_takes_networks_too_wide_for_one_kernel(gradient, monkeypatch, generator, caplog):
    use("ieee", monkeypatch)
    some = case(network(width=128, hidden=2), 60, generator, mask=True)
    with caplog.at_level("INFO", logger="surfrecon"):
        found, again = (derivatives(some.to(torch.float32), backend, gradient=gradient) for _ in range(2))
    assert_same(found, derivatives(some.to(torch.float64), reference, gradient=gradient))
    assert all(torch.equal(one, other) for one, other in zip(found, again)) and len(caplog.records) <= 1


@pytest.mark.parametrize("given", [(0,), (1,), (2,), (0, 1), (1, 2)])
def test_triton_takes_derivatives_of_some_results(given, monkeypatch, generator):
    use("ieee", monkeypatch)
    some = case(network(), 60, generator)
    part = lambda *results: sum((results[place] ** 3).sum() for place in given)
    assert_same(*(derivatives(some.to(dtype), of, part) for of, dtype in ((backend, torch.float32), (reference, torch.float64))))


@pytest.mark.parametrize("count", [0, 1, 7, 1023, 1024, 1025])
def test_triton_adam_is_the_references(count, generator):
    state, given = start(count, generator), gradients(count, 6, generator)
    found, wanted = walk(backend, state, given), walk(reference, [tensor.double() for tensor in state], given)
    for one, other in zip(found, wanted):
        torch.testing.assert_close(one.double(), other, rtol=5e-6, atol=1e-6)
    third = slice(count // 3, 2 * count // 3)
    assert all(torch.equal(one[third], other[third]) for one, other in zip(found, state))


@pytest.mark.parametrize("of", [backend, reference], ids=["triton", "reference"])
def test_triton_adam_reads_step_and_rate_from_memory(of, generator):
    state, given = start(300, generator), gradients(300, 5, generator)
    wanted = walk(reference, [tensor.double() for tensor in state], given)
    count, rate = torch.zeros((), dtype=torch.int64), torch.zeros(())
    for step, gradient in enumerate(given, start=1):
        count += 1
        rate.fill_(RATE / step)
        of.adam_step(state[0], gradient, *state[1:], step=count, rate=rate)
    for one, other in zip(state, wanted):
        torch.testing.assert_close(one.double(), other, rtol=5e-6, atol=1e-6)


def test_triton_adam_marks_what_it_changed():
    x = torch.ones(3, requires_grad=True)
    total = (x**2).sum()
    backend.adam_step(x, torch.ones(3), torch.zeros(3), torch.zeros(3), step=1, rate=RATE)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


@pytest.mark.parametrize("place", [0, 2, 3])
def test_triton_adam_names_what_it_cannot_take(place):
    names = ("parameter", "gradient", "mean", "square")
    tensors = [torch.zeros(4) for _ in names]
    tensors[place] = torch.zeros(4, 2)[:, 0]
    with pytest.raises(InputError, match=f"{names[place]} is changed in place and must be contiguous"):
        backend.adam_step(*tensors, step=1, rate=RATE)
    tensors[place] = torch.zeros(4, dtype=torch.float64)
    with pytest.raises(InputError, match=r"must be .*float32"):
        backend.adam_step(*tensors, step=1, rate=RATE)


RAYS = [0, 1, 3, 0, 40, 63, 64, 65, 0, 200, 0]  # samples: around blocks of 64, with empty rays at both ends
ENOUGH = 3e-6  # of the largest number of each result and derivative


@pytest.mark.parametrize("anneal", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("inv_s", [3.0, 20.0, 300.0])
def test_triton_composite_matches_the_reference(inv_s, anneal, generator):
    some = ray_case(RAYS, generator, inv_s=inv_s)
    found, wanted = ray_derivatives(some.to(torch.float32), backend, anneal=anneal), ray_derivatives(some, reference, anneal=anneal)
    for one, other in zip(found[:-1], wanted[:-1], strict=True):
        assert (one.double() - other).abs().max() < ENOUGH * other.abs().max()
    assert float(found[-1]) == pytest.approx(float(wanted[-1]), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("given", [(0,), (1,), (2,), (3,), (4,), (1, 4)])
def test_triton_composite_takes_derivatives_of_some_results(given, generator):
    some = ray_case(RAYS, generator)
    found, wanted = ray_derivatives(some.to(torch.float32), backend, given=given), ray_derivatives(some, reference, given=given)
    for one, other in zip(found[:-1], wanted[:-1], strict=True):
        assert (one.double() - other).abs().max() <= ENOUGH * other.abs().max()


@pytest.mark.parametrize("inv_s", [1e4, 1e9])
def test_triton_composite_is_finite_for_sharp_surfaces(inv_s, generator):
    assert all(torch.isfinite(part).all() for part in ray_derivatives(ray_case(RAYS, generator, inv_s=inv_s).to(torch.float32), backend))


@pytest.mark.parametrize("counts", [[], [0, 0]], ids=["no rays", "rays"])
def test_triton_composite_without_samples(counts, generator):
    found, *rest = ray_derivatives(ray_case(counts, generator).to(torch.float32), backend)
    assert not len(found) and torch.equal(rest[3], torch.ones(len(counts))) and not any(part.any() for part in (*rest[:3], *rest[4:]))


def test_triton_composite_shows_nan_on_its_ray_alone(generator):
    some = ray_case([5, 6, 4], generator).to(torch.float32)
    some.sdf[7] = torch.nan
    for result in some.composite(backend)[1:]:
        assert result[1].isnan().all() and torch.isfinite(result[[0, 2]]).all()


@pytest.mark.parametrize(("most", "surface"), [(MOST, None), (50, ball(17, 30.0))], ids=["all samples", "a surface"])
def test_triton_marches_alike_by_small_and_large_tiles(most, surface, monkeypatch, generator):
    """Many programs, the last one not full, and rays longer than a tile; as a GPU has it, one ray each."""
    occupied, (o, d, jitter) = lattice(16, 0.6, generator), rays(10, generator)
    d = torch.nn.functional.normalize(0.5 * d - o, dim=1)
    o[3, 1], d[8, 0] = torch.nan, torch.inf
    march = lambda of: of.march(occupied, o, d, step=torch.linspace(0.015, 0.03, 10), jitter=jitter, most=most, surface=surface)
    wanted = march(reference)
    for together, places in ((1, 64), (4, 32), (16, 256)):
        monkeypatch.setattr(marching, "RAYS_INTERPRETED", together)
        monkeypatch.setattr(marching, "PLACES", places)
        assert_same_samples(march(backend), wanted)
    assert len(wanted) > 50 and not wanted.counts[[3, 8]].any()


def test_triton_leaves_out_what_a_ray_meets_behind_nan_on_that_ray_alone():
    surface = ball(9, 30.0)
    surface.values[4, 4, 2] = torch.nan
    o, d = torch.tensor([[0.0, 0, -2], [0.1, 0.5, -2]]), torch.tensor([[0.0, 0, 1]]).expand(2, 3)
    found = backend.march(torch.ones(1, 1, 1, dtype=torch.bool), o, d, step=0.01, jitter=o[:, 0], most=MOST, surface=surface)
    assert not found.counts[0] and found.counts[1] > 0 and torch.isfinite(found.t).all()


def test_triton_is_interpreted_here():
    assert triton.knobs.runtime.interpret and here.interpreted()
