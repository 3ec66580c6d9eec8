"""Planes of inverse depth against themselves."""

import numpy as np
import torch

from surfrecon.inverse_depth import fitted_planes


def test_planes_of_inverse_depth_are_fitted_exactly():
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(15.0), indexing="ij")
    known = torch.as_tensor(np.random.default_rng(0).uniform(size=(12, 15)) > 0.3).float()
    plane, solid = fitted_planes((0.01 * x - 0.02 * y + 3) * known, known, 5)
    expected = torch.stack([torch.full_like(x, 0.01), torch.full_like(x, -0.02), 0.01 * x - 0.02 * y + 3])
    assert solid.float().mean() > 0.9
    torch.testing.assert_close(plane[:, solid], expected[:, solid], rtol=0, atol=1e-6)
