"""Box sums against a slow loop, planes of inverse depth against themselves."""

import numpy as np
import pytest
import torch

from surfrecon.inverse_depth import box_sums, fitted_planes


@pytest.mark.parametrize("window", [1, 3, 5, 7, 9, 11, 17])
def test_box_sums_match_a_slow_loop(window):
    values = np.random.default_rng(0).integers(0, 9, (2, 13, 12)).astype(np.float32)
    half = window // 2
    slow = np.empty_like(values)
    for i in range(13):
        for j in range(12):
            slow[:, i, j] = values[:, max(0, i - half) : i + half + 1, max(0, j - half) : j + half + 1].sum((1, 2))
    np.testing.assert_array_equal(box_sums(torch.as_tensor(values), window).numpy(), slow)


def test_planes_of_inverse_depth_are_fitted_exactly():
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(15.0), indexing="ij")
    known = torch.as_tensor(np.random.default_rng(0).uniform(size=(12, 15)) > 0.3).float()
    plane, solid = fitted_planes((0.01 * x - 0.02 * y + 3) * known, known, 5)
    expected = torch.stack([torch.full_like(x, 0.01), torch.full_like(x, -0.02), 0.01 * x - 0.02 * y + 3])
    assert solid.float().mean() > 0.9
    torch.testing.assert_close(plane[:, solid], expected[:, solid], rtol=0, atol=1e-6)
