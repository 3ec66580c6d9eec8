"""What the tests of all ops share: the dtypes, and one tolerance for each."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor

from surfrecon.ops import native as native_backend
from surfrecon.ops import reference as reference_backend
from surfrecon.ops import triton as triton_backend
from surfrecon.ops.native import loader

TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-14}  # relative and absolute, of sums of tens of numbers around 1


@pytest.fixture(params=list(TOLERANCE), ids=lambda dtype: str(dtype).removeprefix("torch."))
def dtype(request) -> torch.dtype:
    return request.param


@pytest.fixture
def close(dtype) -> Callable[..., None]:
    """close(actual, wanted): actual is a tensor of the dtype of this test and equals wanted up to that dtype's tolerance."""

    def check(actual: Tensor, wanted) -> None:
        assert actual.dtype == dtype
        np.testing.assert_allclose(actual.double().numpy(), np.asarray(wanted, float), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])

    return check


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


VARIANTS = [*loader.FASTER, loader.BASELINE]


@contextmanager
def _native(variant: str) -> Iterator[ModuleType]:
    if variant not in loader.variants():
        pytest.skip(f"no native library {variant} here: {loader.available()[1]}")
    with loader.using(variant):
        yield native_backend


@pytest.fixture(params=VARIANTS)
def native(request) -> Iterator[ModuleType]:
    """The native backend, by each of its compiled variants."""
    with _native(request.param) as backend:
        yield backend


INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # test_triton.py runs these tests so in a process of its own, slowly
HASH_KERNELS = VARIANTS if {"hash_encode", "hash_sdf"} <= native_backend.KERNELS else []


@contextmanager
def _named(name: str) -> Iterator[ModuleType]:
    others = {"triton": triton_backend, "reference": reference_backend}
    with nullcontext(others[name]) if name in others else _native(name) as backend:
        yield backend


@pytest.fixture(params=["triton"] if INTERPRETED else ["reference", *VARIANTS])
def backend(request) -> Iterator[ModuleType]:
    """Every backend."""
    with _named(request.param) as backend:
        yield backend


@pytest.fixture(params=["triton"] if INTERPRETED else VARIANTS)
def kernels(request) -> Iterator[ModuleType]:
    """Every backend but the reference."""
    with _named(request.param) as backend:
        yield backend


@pytest.fixture(params=["triton"] if INTERPRETED else ["reference", *HASH_KERNELS])
def hash_backend(request, monkeypatch) -> Iterator[ModuleType]:
    """Every backend that has the ops on hash grids."""
    monkeypatch.setattr(triton_backend.here, "_precision", "ieee")
    with _named(request.param) as backend:
        yield backend


@pytest.fixture
def on_threads() -> Iterator[Callable]:
    """on_threads(count, function): its result, computed on so many threads."""
    before = torch.get_num_threads()

    def call(count: int, function: Callable):
        torch.set_num_threads(count)
        return function()

    yield call
    torch.set_num_threads(before)
