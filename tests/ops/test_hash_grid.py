"""The layout of hash grids and networks on them, and the sphere they start from."""

import math

import pytest
import torch
from hash_cases import grid, network
from torch import Tensor

from surfrecon import ops
from surfrecon.errors import InputError


def test_published_grid_has_its_published_sizes():
    usual = ops.HashGrid()
    assert (usual.scales[0], usual.scales[-1]) == (15, 2047) and (usual.vertices[0], usual.vertices[-1]) == (16, 2048)
    assert usual.growth == pytest.approx(1.3819, abs=1e-4)  # of its authors' table 1
    assert usual.dense == (True,) * 5 + (False,) * 11 and usual.sizes[5:] == (2**19,) * 11
    assert usual.entries == usual.offsets[-1] == sum(usual.sizes) and usual.numbers == 2 * usual.entries == 12_196_240
    neus2 = ops.HashGrid(levels=14)
    assert neus2.vertices[:5] == (16, 24, 34, 50, 72) and neus2.dense.index(False) == 5
    assert neus2.growth == pytest.approx(1.45242, abs=1e-5)


def test_levels_follow_one_another_in_multiples_of_eight():
    small = grid()
    assert small.vertices == (3, 5, 7) and small.dense == (True, True, False)
    assert small.sizes == (32, 128, 128) and small.offsets == (0, 32, 160, 288)  # 27 and 125 rounded up
    assert small.cells[0] == 2 / 2 and small.cells[2] == 2 / 6


def test_scales_are_exact_in_float32():
    for scale in ops.HashGrid().scales:
        assert float(torch.tensor(scale, dtype=torch.float32)) == scale


def test_one_level_is_the_coarsest():
    assert grid(levels=1).scales == (2.0,) and grid(levels=1).offsets == (0, 32)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_rows_are_those_of_a_slow_loop(level):
    small = grid()
    count, size = small.vertices[level], small.sizes[level]
    for x in range(count + 1):
        for y in range(count + 1):
            for z in range(count + 1):
                if level < 2:
                    wanted = (x + y * count + z * count * count) % size
                else:
                    wanted = (x ^ (y * 2654435761 % 2**32) ^ (z * 805459861 % 2**32)) % size
                vertex = (torch.tensor(axis) for axis in (x, y, z))
                assert int(small.rows(level, *vertex)) == small.offsets[level] + wanted


def test_each_vertex_of_a_dense_level_has_its_own_row():
    small = grid()
    axis = torch.arange(5)
    rows = small.rows(1, axis[:, None, None], axis[:, None], axis)
    assert rows.unique().numel() == 125 and rows.min() == small.offsets[1] and rows.max() < small.offsets[2]
    assert int(rows[1, 0, 0] - rows[0, 0, 0]) == 1  # x fastest


def test_table_starts_as_small_noise(generator):
    table = grid().start(generator)
    assert table.shape == (288, 2) and table.dtype == torch.float32
    assert 0.9e-4 < table.abs().max() <= 1e-4 and table.mean().abs() < 1e-5


def test_shapes_of_a_network():
    some = network(width=32, hidden=2, outputs=5)
    assert some.inputs == 9 and some.weight_shapes == ((32, 9), (32, 32), (5, 32)) and some.bias_shapes == ((32,), (32,), (5,))
    assert network(xyz=False).inputs == 6 and network(biases=False).bias_shapes == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"levels": 0}, "levels must be a whole number from 1 to 32, got 0"),
        ({"features": 3}, "features must be one of 1, 2, 4, 8, got 3"),
        ({"base": 1}, "base must be .* from 2 to 65536, got 1"),
        ({"base": 16, "finest": 8}, "finest must be .* from 16 to 65536, got 8"),
        ({"finest": 100.5}, "finest must be a whole number .*got 100.5"),
        ({"log2_entries": 25}, "log2_entries must be .* from 3 to 24, got 25"),
        ({"levels": 32, "features": 8}, "levels times features must be at most 128, got 256"),
        ({"levels": 16, "features": 8, "base": 300, "log2_entries": 24}, "a table has at most .*take a smaller log2_entries"),
    ],
)
def test_grid_names_what_it_cannot_be(options, said):
    with pytest.raises(InputError, match=said):
        ops.HashGrid(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"width": 48}, "width must be one of 16, 32, 64, 128, got 48"),
        ({"hidden": 4}, "hidden must be .* from 1 to 3, got 4"),
        ({"outputs": 0}, "outputs must be .* from 1 to 64, got 0"),
        ({"activation": "tanh"}, "activation must be one of softplus, relu, silu, got tanh"),
        ({"radius": -0.1}, "radius must be a finite length >= 0.*got -0.1"),
        ({"radius": math.nan}, "radius must be .*got nan"),
    ],
)
def test_network_names_what_it_cannot_be(options, said):
    with pytest.raises(InputError, match=said):
        network(**options)


def box(generator: torch.Generator) -> Tensor:
    return 2 * torch.rand(4000, 3, generator=generator) - 1


@pytest.mark.parametrize("radius", [0.1, 0.6])
@pytest.mark.parametrize("biases", [True, False], ids=["biases", "none"])
@pytest.mark.parametrize("hidden", [1, 2, 3])
@pytest.mark.parametrize("activation", ["softplus", "relu", "silu"])
def test_network_starts_as_a_sphere_whatever_the_table(activation, hidden, biases, radius, generator):
    some = ops.SdfNetwork(grid(), hidden=hidden, outputs=3, activation=activation, biases=biases, radius=radius)
    weights, offsets = ops.sphere_start(some, generator)
    x = box(generator)
    table = torch.randn(some.grid.entries, some.grid.features, generator=generator)
    sdf, gradient, features = ops.hash_sdf(some, table, weights, offsets, x)
    outside = torch.linalg.vector_norm(x, dim=1) - radius
    assert torch.equal((sdf > 0)[outside.abs() > 0.1 * radius], (outside > 0)[outside.abs() > 0.1 * radius])
    near = outside.abs() < 0.3 * radius
    steepest = 1.9 if activation == "silu" else 1.05  # silu is rounder than max(0, a), the more so the more layers
    length = torch.linalg.vector_norm(gradient[near], dim=1)
    assert length.min() > 0.9 and length.max() < steepest
    assert torch.cosine_similarity(gradient[near], x[near]).min() > 0.98
    on_sphere = torch.nn.functional.normalize(x, dim=1) * radius
    assert ops.hash_sdf(some, table, weights, offsets, on_sphere)[0].abs().max() < 0.03 * radius
    assert features.std() > 0.1 * radius


def test_sphere_of_relu_is_exact_in_scale(generator):
    """Without biases a relu network is homogeneous: f + radius doubles with x."""
    some = network(activation="relu", biases=False)
    weights, _ = ops.sphere_start(some, generator, dtype=torch.float64)
    table, x = torch.zeros(some.grid.entries, 2, dtype=torch.float64), 0.5 * box(generator).double()
    one, two = (ops.hash_sdf(some, table, weights, [], scale * x)[0] + some.radius for scale in (1, 2))
    torch.testing.assert_close(two, 2 * one)


@pytest.mark.parametrize("options", [{"xyz": False}, {"radius": 0.0}])
def test_sphere_needs_the_point_and_a_radius(options, generator):
    with pytest.raises(InputError, match="a sphere needs xyz among the inputs and a radius > 0"):
        ops.sphere_start(network(**options), generator)
