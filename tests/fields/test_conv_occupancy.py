"""surfrecon.fields.conv_occupancy: odds as a field that extraction can trust."""

import numpy as np
import pytest
import torch

from surfrecon.fields.conv_occupancy import ConvOccupancyField
from surfrecon.networks import Layout, OccupancyNetwork
from surfrecon.networks.windows import encoded

TINY = Layout(cells=8, grid=4, depth=2, planes=0, width=8, blocks=2, decoder=8, neighbours=4)


@pytest.fixture
def field():
    torch.manual_seed(0)
    network = OccupancyNetwork(TINY).requires_grad_(False)
    for parameter in network.parameters():
        parameter += 0.2 * torch.randn(parameter.shape)
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (200, 3))
    lattice, features = encoded(network, points, device=torch.device("cpu"))
    return ConvOccupancyField(network, features, lattice, threshold=0.1)


def test_values_are_the_odds_of_being_outside(field):
    x = torch.rand(50, 3) - 0.5
    odds = field.network.decode(field.features, field.lattice.cells_of(x)[None])[0]
    assert torch.allclose(field(x), 0.1 - odds)


def test_the_gradient_is_that_of_the_values(field):
    field.network.double()
    field.features = field.features._replace(
        lattices=[(axes, lattice.double()) for axes, lattice in field.features.lattices],
        points=field.features.points.double(),
        known=field.features.known.double(),
    )
    x = (torch.rand(20, 3, generator=torch.Generator().manual_seed(1)) - 0.5).double()
    _, slope = field.value_and_gradient(x)
    step = 1e-6
    numeric = torch.stack([(field(x + step * axis) - field(x - step * axis)) / (2 * step) for axis in torch.eye(3).double()], dim=1)
    close = torch.isclose(slope, numeric, rtol=1e-3, atol=1e-3 * float(slope.abs().max())).all(dim=1)
    assert close.sum() >= 18  # a query between two sets of neighbours has no derivative


def test_everything_beyond_the_lattice_is_outside(field):
    x = 3 * torch.nn.functional.normalize(torch.randn(100, 3), dim=1)
    assert (field(x) > 0).all()
    assert (field(2 * x) > field(x)).all()


def test_no_points_no_values(field):
    value, slope = field.value_and_gradient(torch.zeros(0, 3))
    assert field(torch.zeros(0, 3)).shape == value.shape == (0,) and slope.shape == (0, 3)


def test_it_moves_with_to(field):
    moved = field.to(torch.float64)
    assert moved.features.points.dtype == torch.float64 and moved.features.lattices[0][1].dtype == torch.float64
