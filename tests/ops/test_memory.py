"""Memory of the native kernels: used again, but never while anybody holds it."""

import pytest
import torch

from surfrecon.ops.native import available, memory

pytestmark = pytest.mark.skipif(not available()[0], reason=available()[1])

COUNT = memory.LARGE // 4


@pytest.fixture(autouse=True)
def nothing_kept():
    memory._kept.clear()
    yield
    memory._kept.clear()


def test_memory_is_used_again_once_nobody_holds_it():
    first = memory.empty(2, COUNT)
    address, view = first.data_ptr(), first[1, 5:]
    del first
    assert memory.empty(2, COUNT).data_ptr() != address  # the view holds it
    memory._kept.clear()
    del view
    assert memory.empty(COUNT).data_ptr() != address  # of another size
    assert memory.empty(COUNT, 2).data_ptr() == address


def test_tensors_that_live_at_once_share_no_memory():
    several = [memory.empty(COUNT).fill_(number) for number in range(6)]
    assert all(bool((tensor == number).all()) for number, tensor in enumerate(several))
    del several
    assert len(memory._kept) == memory.KEPT


def test_small_and_huge_tensors_are_not_kept(monkeypatch):
    monkeypatch.setattr(memory, "LARGEST", memory.LARGE)
    for count in (COUNT - 1, COUNT + 1):
        assert memory.empty(count).shape == (count,)
    assert not memory._kept


def test_memory_starts_on_a_cache_line_and_takes_a_gradient():
    tensor = memory.empty(COUNT).requires_grad_()
    assert tensor.data_ptr() % 64 == 0 and tensor.dtype == torch.float32
