"""surfrecon.networks: U-Nets, layouts, and the windows through which a scene is looked at."""

from itertools import product

import numpy as np
import pytest
import torch

from surfrecon.errors import InputError
from surfrecon.networks import Layout
from surfrecon.networks.unet import UNet
from surfrecon.networks.windows import windowed


def stirred(network: torch.nn.Module) -> torch.nn.Module:
    """The same with parameters off their start, where residual blocks do nothing."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network


@pytest.mark.parametrize(("dimensions", "shape"), [(2, (16, 24)), (3, (8, 16, 8))])
def test_a_unet_keeps_the_lattice_and_gives_its_channels(dimensions, shape):
    assert UNet(dimensions, 5, 8, 3)(torch.zeros(2, 5, *shape)).shape == (2, 8, *shape)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_nothing_beyond_its_reach_changes_a_cell(depth):
    unet, side = stirred(UNet(2, 2, 4, depth)), 128
    x = torch.randn(1, 2, side, side, generator=torch.Generator().manual_seed(1), requires_grad=True)
    cell = 60
    unet(x)[0, :, cell, cell].sum().backward()
    far = torch.nonzero(x.grad[0].abs().sum(0))
    assert (far - cell).abs().max() <= unet.reach
    assert (far - cell).abs().max() > unet.reach / 2  # the bound is no excuse for halos without end


@pytest.mark.parametrize("window", [16, 32, 64])
def test_windows_give_the_numbers_of_the_whole(window):
    unet = stirred(UNet(3, 3, 4, 2)).double()
    x = torch.randn(1, 3, 64, 32, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.allclose(windowed(unet, x, window, 2), unet(x), rtol=0, atol=1e-12)


def test_a_unet_has_no_statistics_over_the_lattice():
    unet = stirred(UNet(3, 1, 4, 2))
    x = torch.zeros(1, 1, 64, 8, 8)
    before = unet(x)[..., :8, :, :]
    x[..., 60:, :, :] = 100
    assert torch.equal(unet(x)[..., :8, :, :], before)


@pytest.mark.parametrize("wrong", [{"planes": 2}, {"pooling": "sum"}, {"grid": 0, "planes": 0}, {"cells": 6, "depth": 3}])
def test_layouts_that_make_no_sense_are_refused(wrong):
    with pytest.raises(InputError, match=r"must|needs|halved"):
        Layout(**wrong)


def test_a_layout_survives_its_file():
    layout = Layout(cells=32, planes=1, pooling="attention", places=False)
    assert Layout(**layout.as_dict()) == layout


def test_windows_cover_every_cell_once():
    class Ones(torch.nn.Module):
        reach = 3

        def forward(self, x):
            return torch.ones_like(x)

    for shape in product((4, 12), repeat=3):
        assert np.array_equal(windowed(Ones(), torch.zeros(1, 1, *shape), 8, 4).numpy(), np.ones((1, 1, *shape)))
