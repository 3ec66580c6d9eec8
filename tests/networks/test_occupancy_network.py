"""surfrecon.networks.occupancy_network: what a network of any layout must keep to, trained or not."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from surfrecon.networks import Layout, OccupancyNetwork
from surfrecon.networks.neighbours import nearest_points
from surfrecon.networks.windows import encoded

SMALL = {"cells": 8, "grid": 4, "depth": 2, "planes": 3, "finer": 2, "plane": 4, "plane_depth": 2}
SMALL |= {"width": 8, "decoder": 8, "neighbours": 4}
LAYOUTS = {
    "planes and grid": {},
    "planes": {"grid": 0},
    "one plane": {"grid": 0, "planes": 1},
    "grid": {"planes": 0},
    "attention": {"pooling": "attention"},
    "lattices alone": {"neighbours": 0},
    "scene": {"planes": 0, "places": False},
}


def made(**sizes) -> OccupancyNetwork:
    torch.manual_seed(0)
    network = OccupancyNetwork(Layout(**SMALL | sizes))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    return network


@pytest.fixture(params=LAYOUTS.values(), ids=LAYOUTS.keys())
def network(request):
    return made(**request.param)


def clouds(count=30, batch=2):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(batch, count, 3, generator=generator) * 8, torch.rand(batch, 11, 3, generator=generator) * 8


def test_every_parameter_learns(network):
    points, x = clouds()
    network(points, x).square().sum().backward()
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.abs().sum()]


def test_clouds_of_a_batch_do_not_mix(network):
    points, x = clouds()
    with torch.no_grad():
        alone = torch.cat([network(points[:1], x[:1]), network(points[1:], x[1:])])
        assert torch.allclose(network(points, x), alone, atol=1e-5)


def test_the_order_of_points_tells_nothing(network):
    points, x = clouds()
    with torch.no_grad():
        assert torch.allclose(network(points.flip(1), x), network(points, x), atol=1e-5)


def test_one_point_is_enough(network):
    points, x = clouds(count=1)
    with torch.no_grad():
        assert network(points, x).isfinite().all()


def test_queries_are_answered_alike_together_and_one_by_one(network):
    points, x = clouds(batch=1)
    with torch.no_grad():
        features = network.encode(points, [8] * 3)
        single = torch.cat([network.decode(features, x[:, i : i + 1]) for i in range(x.shape[1])], dim=1)
        assert torch.allclose(network.decode(features, x), single, atol=1e-5)


def test_a_scene_moves_with_its_points():
    network = made(planes=0, places=False)
    points, x = clouds(batch=1)
    with torch.no_grad():
        answers = []
        for shift in (torch.full((3,), 20.0), torch.tensor([22.0, 24.0, 20.0])):  # by whole strides, far from the lattice's border
            answers.append(network.decode(network.encode(points + shift, [48] * 3), x + shift))
    assert torch.allclose(*answers, atol=1e-4)


def test_a_scene_looks_the_same_through_windows_of_any_size():
    network = made(planes=0, places=False)
    points = np.random.default_rng(0).uniform(0, 1, (6000, 3)) * [6, 1, 1]
    with torch.no_grad():
        lattice, whole = encoded(network, points, device=torch.device("cpu"), window=1024)
        assert max(lattice.shape) > 32
        for window in (8, 16):
            _, parts = encoded(network, points, device=torch.device("cpu"), window=window)
            assert torch.allclose(parts.lattices[0][1], whole.lattices[0][1], atol=1e-5)


def test_neighbours_are_those_of_a_tree():
    points, x = clouds()
    found = nearest_points(points, x, 5)
    for cloud in range(2):
        expected = cKDTree(points[cloud].numpy()).query(x[cloud].numpy(), 5)[1]
        assert np.array_equal(found[cloud].numpy(), expected)


def test_a_small_cloud_has_fewer_neighbours():
    assert nearest_points(torch.rand(1, 3, 3), torch.rand(1, 2, 3), 8).shape == (1, 2, 3)
