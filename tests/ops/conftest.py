"""What the tests of all ops share: the dtypes, and one tolerance for each."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

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
