"""Medians over windows of what is known in them."""

import numpy as np
import pytest
import torch

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.ops import reference


def sparse(height: int, width: int, share: float = 0.6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(height)
    values = torch.rand(height, width, generator=generator)
    return torch.where(torch.rand(height, width, generator=generator) < share, values, 0)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (13, 17), (20, 70)], ids=str)
@pytest.mark.parametrize("least", [1, 10, 25])
def test_medians_are_those_of_a_slow_loop(size, least, backend):
    values = sparse(*size)
    found = backend.known_medians(values, least=least)
    for i, j in np.ndindex(size):
        part = values[max(0, i - 2) : i + 3, max(0, j - 2) : j + 3]
        part = np.sort(part[part > 0].numpy())
        assert found[i, j] == (part[(len(part) - 1) // 2] if len(part) >= least else 0)


def test_threads_and_memory_layout_change_nothing(native, on_threads):
    values = sparse(40, 50)
    wanted = reference.known_medians(values, least=8)
    for count in (1, 3):
        assert torch.equal(on_threads(count, lambda: native.known_medians(values.T.contiguous().T, least=8)), wanted)


def test_nothing_gives_nothing(backend):
    assert backend.known_medians(torch.zeros(0, 4), least=1).shape == (0, 4)
    assert not backend.known_medians(torch.zeros(6, 6), least=1).any()


def test_double_precision_is_the_references():
    values = sparse(9, 9)
    assert torch.equal(ops.known_medians(values.double(), least=5), ops.known_medians(values, least=5).double())


def test_what_cannot_be_taken_is_named(backend):
    with pytest.raises(InputError, match="values must be"):
        backend.known_medians(torch.zeros(3), least=1)
    with pytest.raises(InputError, match="least must be >= 1"):
        backend.known_medians(torch.zeros(3, 3), least=0)
