"""gather and splat against slow loops, each other's transpose, and their derivatives in float64."""

import numpy as np
import pytest
import torch

from surfrecon import ops

SIZE = 12


def case(count: int, width: int, dtype: torch.dtype, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(M,) values, (N, K) slots with many that meet, (N, K) weights."""
    values = torch.randn(SIZE, generator=generator, dtype=dtype)
    slots = torch.randint(0, SIZE, (count, width), generator=generator)
    return values, slots, torch.randn(count, width, generator=generator, dtype=dtype)


@pytest.mark.parametrize(("count", "width"), [(40, 27), (1, 1), (1, 27), (5, 1)])
def test_both_match_a_slow_loop(count, width, dtype, close, generator):
    values, slots, weights = case(count, width, dtype, generator)
    read, written = np.zeros(count), np.zeros(SIZE)
    for n in range(count):
        for k in range(width):
            read[n] += float(weights[n, k]) * float(values[slots[n, k]])
            written[slots[n, k]] += float(weights[n, k])
    # Up to a thousand numbers of either sign fall into 12 nodes: the sums lose some of the digits of their parts.
    close(ops.gather(values, slots, weights) / width, read / width)
    close(ops.splat(weights, slots, SIZE) / count, written / count)


def test_each_is_the_others_transpose(generator):
    values, slots, weights = case(40, 27, torch.float64, generator)
    y = torch.randn(40, generator=generator, dtype=torch.float64)
    read, written = ops.gather(values, slots, weights), ops.splat(weights * y[:, None], slots, SIZE)
    assert float(read @ y) == pytest.approx(float(values @ written), rel=1e-12)


def test_derivatives_in_float64(generator):
    values, slots, weights = case(6, 5, torch.float64, generator)
    values.requires_grad_()
    weights.requires_grad_()
    assert torch.autograd.gradcheck(lambda v, w: ops.gather(v, slots, w), (values, weights))
    assert torch.autograd.gradcheck(lambda w: ops.splat(w, slots, SIZE), weights)


@pytest.mark.parametrize("width", [1, 27])
def test_no_points_read_nothing_and_write_zeros(width, dtype, close, generator):
    values, slots, weights = case(0, width, dtype, generator)
    close(ops.gather(values, slots, weights), np.zeros(0))
    close(ops.splat(weights, slots, SIZE), np.zeros(SIZE))


def test_nodes_that_nothing_touches_stay_zero(dtype, close):
    close(ops.splat(torch.ones(2, 2, dtype=dtype), torch.tensor([[3, 3], [3, 1]]), 5), [0, 1, 0, 3, 0])


def test_memory_layout_does_not_matter(dtype, generator):
    _, slots, weights = case(40, 27, dtype, generator)
    wide = torch.randn(2 * SIZE, generator=generator, dtype=dtype)
    scattered = [tensor.T.contiguous().T for tensor in (slots, weights)]
    assert not any(tensor.is_contiguous() for tensor in scattered)
    assert torch.equal(ops.gather(wide[::2], *scattered), ops.gather(wide[::2].contiguous(), slots, weights))
    assert torch.equal(ops.splat(scattered[1], scattered[0], SIZE), ops.splat(weights, slots, SIZE))


@pytest.mark.parametrize("slot", [SIZE, -SIZE - 1])
def test_slots_beyond_the_lattice_are_an_error(slot):
    slots = torch.tensor([[0, slot]])
    with pytest.raises(IndexError):
        ops.gather(torch.ones(SIZE), slots, torch.ones(1, 2))
    with pytest.raises(IndexError):
        ops.splat(torch.ones(1, 2), slots, SIZE)


def test_slots_that_are_not_whole_numbers_are_an_error():
    with pytest.raises((RuntimeError, IndexError)):
        ops.gather(torch.ones(SIZE), torch.zeros(1, 2), torch.ones(1, 2))
    with pytest.raises((RuntimeError, IndexError)):
        ops.splat(torch.ones(1, 2), torch.zeros(1, 2), SIZE)
