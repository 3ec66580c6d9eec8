"""A step of Adam: the reference against torch's own optimizer, the kernel against the reference."""

import pytest
import torch
from torch import Tensor

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.ops import reference

RATE = 0.01


def start(count: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Parameter and moments."""
    return [torch.randn(count, generator=generator, dtype=dtype), torch.zeros(count, dtype=dtype), torch.zeros(count, dtype=dtype)]


def gradients(count: int, steps: int, generator: torch.Generator) -> list[Tensor]:
    """Of very different sizes; zero for the middle third, and for all at one step."""
    found = [torch.randn(count, generator=generator) * 10 ** (4 * torch.rand(count, generator=generator) - 2) for _ in range(steps)]
    for gradient in found:
        gradient[count // 3 : 2 * count // 3] = 0
    found[steps // 2] *= 0
    return found


def walk(backend, state: list[Tensor], given: list[Tensor]) -> list[Tensor]:
    parameter, mean, square = (tensor.clone() for tensor in state)
    for step, gradient in enumerate(given, start=1):
        backend.adam_step(parameter, gradient.to(parameter.dtype), mean, square, step=step, rate=RATE / step)
    return [parameter, mean, square]


@pytest.mark.parametrize("backend", ["dispatched", "reference"])
def test_it_goes_where_torchs_adam_goes(backend, dtype, generator):
    state, given = start(50, generator, dtype), gradients(50, 20, generator)
    parameter = state[0].clone().requires_grad_()
    optimizer = torch.optim.Adam([parameter], lr=RATE)
    for step, gradient in enumerate(given, start=1):
        optimizer.param_groups[0]["lr"] = RATE / step
        parameter.grad = gradient.to(dtype)
        optimizer.step()
    found = walk(ops if backend == "dispatched" else reference, state, given)[0]
    torch.testing.assert_close(found, parameter.detach(), rtol=0, atol={torch.float32: 1e-6, torch.float64: 1e-14}[dtype])


@pytest.mark.parametrize("count", [0, 1, 7, 255, 256, 257, 5000])
def test_kernel_matches_the_reference(count, native, generator):
    state, given = start(count, generator), gradients(count, 12, generator)
    found, wanted = walk(native, state, given), walk(reference, [tensor.double() for tensor in state], given)
    for one, other in zip(found, wanted):
        torch.testing.assert_close(one.double(), other, rtol=5e-6, atol=1e-6)


def test_what_no_gradient_ever_reached_keeps_its_bytes(native, generator):
    state, given = start(3000, generator), gradients(3000, 6, generator)
    found = walk(native, state, given)
    for one, other in zip(found, state):
        assert torch.equal(one[1000:2000], other[1000:2000])
    assert (found[0][:1000] != state[0][:1000]).all()


def test_nan_and_infinite_gradients_are_seen(native):
    for bad in (torch.nan, torch.inf):
        state = [torch.zeros(600), torch.zeros(600), torch.zeros(600)]
        gradient = torch.zeros(600)
        gradient[300] = bad
        native.adam_step(state[0], gradient, *state[1:], step=1, rate=RATE)
        assert state[0][300].isnan() and not state[0][:300].any()


def test_number_of_threads_changes_no_byte(native, generator, on_threads):
    state, given = start(5000, generator), gradients(5000, 3, generator)
    one = on_threads(1, lambda: walk(native, state, given))
    for count in (2, 5):
        assert all(torch.equal(a, b) for a, b in zip(one, on_threads(count, lambda: walk(native, state, given))))


def test_parameters_that_are_not_contiguous_move_too(generator):
    base = torch.randn(6, 4, generator=generator)
    parameter, gradient = base.clone().T, torch.randn(4, 6, generator=generator)
    ops.adam_step(parameter, gradient, torch.zeros(4, 6), torch.zeros(4, 6), step=1, rate=RATE)
    torch.testing.assert_close(parameter, base.T - RATE * gradient.sign())


def test_autograd_notices_the_change(native):
    x = torch.ones(3, requires_grad=True)
    loss = (x**2).sum()
    native.adam_step(x, torch.ones(3), torch.zeros(3), torch.zeros(3), step=1, rate=RATE)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_kernel_names_what_it_cannot_take(native):
    good = [torch.zeros(4) for _ in range(4)]
    for place, name in enumerate(("parameter", "gradient", "mean", "square")):
        tensors = list(good)
        tensors[place] = torch.zeros(4, dtype=torch.float64)
        with pytest.raises(InputError, match=f"{name} must be .*float32.*got.*float64"):
            native.adam_step(*tensors, step=1, rate=RATE)
    with pytest.raises(InputError, match=r"mean must be \(4\).*got \(5,\)"):
        native.adam_step(good[0], good[1], torch.zeros(5), good[3], step=1, rate=RATE)
    with pytest.raises(InputError, match="parameter is changed in place and must be contiguous"):
        native.adam_step(torch.zeros(4, 2)[:, 0], *good[1:], step=1, rate=RATE)
