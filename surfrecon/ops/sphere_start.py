"""Weights that make a network on a hash grid start as a sphere.

The mean over directions w of max(0, w . x) is |x| / 4. So the rows of the first layer are directions spread evenly, further hidden layers
hand their inputs on, and the last layer takes the mean. Columns of the grid's features are zero: the start depends on the point alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from surfrecon.errors import InputError
from surfrecon.ops.hash_grid import SdfNetwork
from surfrecon.ops.reference.hash_sdf import perceptron

LENGTH = {"softplus": 0.5, "relu": 0.5, "silu": 4.0}  # of directions, in 1 / radius: longer is closer to max(0, w . x), but learns unevenly
PROBES = 1024  # points of the sphere on which its radius is set
GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))


def sphere_start(
    network: SdfNetwork, generator: torch.Generator, *, dtype: torch.dtype = torch.float32
) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and biases at which the signed distance is near that to a sphere around the middle of the box, whatever the table.

    Args:
        network: its radius is that of the sphere, > 0; xyz must be among its inputs.
        generator: of the rows that make features; results are on its device.
    Returns:
        (H, D), (H, H) ..., (C, H) weights, and biases, all zero, if it has any. On the sphere the mean of the signed distance is 0.
    Raises:
        InputError: xyz is no input, or the radius is 0.
    Source: Atzmon and Lipman, SAL, 2020, theorem 1 has random directions.
    """
    if not network.xyz or network.radius == 0:
        raise InputError(f"a sphere needs xyz among the inputs and a radius > 0, got xyz={network.xyz}, radius={network.radius}")
    length = LENGTH[network.activation] / network.radius
    first = torch.zeros(network.weight_shapes[0], dtype=torch.float64)
    first[:, -3:] = length * _directions(network.width)
    between = [torch.eye(network.width, dtype=torch.float64) for _ in range(network.hidden - 1)]
    mean = torch.full((1, network.width), 1 / network.width, dtype=torch.float64)
    probes = torch.zeros(PROBES, network.inputs, dtype=torch.float64)
    probes[:, -3:] = network.radius * _directions(PROBES)
    reached, _ = perceptron(network.activation, [first, *between, mean], [], probes, gradient=False)
    distance = mean * (network.radius / reached.mean())
    spread = (2 / network.width) ** 0.5 / length
    features = torch.randn(network.outputs - 1, network.width, generator=generator, dtype=dtype, device=generator.device) * spread
    weights = [weight.to(features) for weight in (first, *between)]
    return [*weights, torch.cat([distance.to(features), features])], [features.new_zeros(shape) for shape in network.bias_shapes]


def _directions(count: int) -> Tensor:
    """(count, 3) unit vectors spread evenly, on a spiral."""
    k = torch.arange(count, dtype=torch.float64) + 0.5
    z = 1 - 2 * k / count
    around, angle = (1 - z * z).sqrt(), GOLDEN_ANGLE * k
    return torch.stack([around * angle.cos(), around * angle.sin(), z], dim=1)
