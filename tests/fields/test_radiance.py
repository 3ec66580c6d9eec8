"""RadianceField: what it shows does not depend on how it is asked, and its environment is a function of direction alone."""

import numpy as np
import pytest
import torch

from surfrecon.fields import Field
from surfrecon.fields.hash_grid import HashGridField
from surfrecon.fields.radiance import Environment, RadianceField
from surfrecon.ops import HashGrid, SdfNetwork


class Ball(Field):
    def forward(self, x):
        return x.norm(dim=1) - 0.5

    def value_and_gradient(self, x):
        return self(x), torch.nn.functional.normalize(x, dim=1)


@pytest.fixture
def field() -> RadianceField:
    generator = torch.Generator().manual_seed(0)
    normal = lambda *shape: torch.randn(*shape, generator=generator) / shape[-1] ** 0.5
    network = SdfNetwork(HashGrid(levels=2, base=4, finest=8, log2_entries=8), width=16, outputs=4, xyz=False, radius=0.0)
    weights, biases = [normal(*shape) for shape in network.weight_shapes], [torch.zeros(shape) for shape in network.bias_shapes]
    weights[-1][0] = 0
    surface = HashGridField(network, network.grid.start(generator), weights, biases, start=Ball(), scale=0.05)
    return RadianceField(surface, [normal(16, 3 + 3 + 9), normal(3, 16)], [torch.zeros(16), torch.zeros(3)], torch.zeros(2, 3), bands=3)


def test_with_a_silent_network_the_surface_is_its_start(field):
    x = torch.rand(50, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    with torch.no_grad():
        torch.testing.assert_close(field(x), Ball()(x))
        torch.testing.assert_close(field.value_and_gradient(x)[1], Ball().value_and_gradient(x)[1])


def test_linear_colour_is_the_srgb_one_decoded(field):
    n = torch.nn.functional.normalize(torch.randn(20, 3, generator=torch.Generator().manual_seed(2)), dim=1)
    with torch.no_grad():
        _, gradient, features = field.surface.with_features(0.5 * n)
        shown = field.seen(features, gradient, -n).numpy()
        linear = field.color(0.5 * n, n).numpy()
    np.testing.assert_allclose(linear, np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4), rtol=1e-5)


def test_exposures_have_no_say_on_average(field):
    with torch.no_grad():
        field.gains.copy_(torch.tensor([[0.3, 0.0, -0.1], [0.1, 0.2, 0.3]]))
        shown = field.exposed(torch.ones(2, 3), torch.tensor([0, 1]))
    torch.testing.assert_close(shown.log().sum(dim=0), torch.zeros(3), atol=1e-6, rtol=0)


def test_environment_shows_a_colour_for_each_direction():
    grid = HashGrid(levels=2, base=4, finest=8, log2_entries=8)
    generator = torch.Generator().manual_seed(0)
    sky = Environment(grid, grid.start(generator), torch.randn(3, grid.encoded, generator=generator), torch.zeros(3))
    directions = torch.nn.functional.normalize(torch.randn(9, 3, generator=generator), dim=1)
    shown = sky(directions)
    assert shown.shape == (9, 3) and ((shown > 0) & (shown < 1)).all()
    shown.sum().backward()
    assert sky.table.grad is not None and sky.weight.grad.abs().sum() > 0
