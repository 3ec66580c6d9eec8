"""Small hash grids, networks on them and points around them: what tests of their ops compute on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from surfrecon import ops

TINY = {"levels": 3, "features": 2, "base": 3, "finest": 7, "log2_entries": 7}  # two dense levels and a hashed one

GRIDS = {
    "one feature": {"features": 1},
    "two features": {},
    "four features": {"features": 4},
    "eight features": {"features": 8},
    "smooth": {"smooth": True},
    "one level": {"levels": 1},
    "all hashed": {"log2_entries": 3},
    "all dense": {"log2_entries": 10},
}
NETWORKS = {
    "softplus": {},
    "relu": {"activation": "relu"},
    "silu": {"activation": "silu"},
    "without biases": {"biases": False},
    "without xyz": {"xyz": False},
    "distance alone": {"outputs": 1},
    "two hidden layers": {"hidden": 2},
    "three hidden layers": {"hidden": 3, "activation": "relu", "biases": False},
    "wide": {"width": 32, "outputs": 17},
}


def grid(**options) -> ops.HashGrid:
    return ops.HashGrid(**TINY | options)


def network(on: ops.HashGrid | None = None, **options) -> ops.SdfNetwork:
    return ops.SdfNetwork(on or grid(), **{"width": 16, "outputs": 4} | options)


@dataclass
class Case:
    """What hash_sdf takes, of random numbers of order 1."""

    network: ops.SdfNetwork
    table: Tensor
    weights: list[Tensor]
    biases: list[Tensor]
    x: Tensor
    mask: Tensor | None = None

    def parameters(self) -> list[Tensor]:
        return [self.table, *self.weights, *self.biases]

    def to(self, dtype: torch.dtype) -> "Case":
        """The same in another dtype, as new leaves that want derivatives."""
        table, *rest = (tensor.detach().to(dtype).clone().requires_grad_() for tensor in self.parameters())
        count = len(self.weights)
        mask = None if self.mask is None else self.mask.to(dtype)
        return Case(self.network, table, rest[:count], rest[count:], self.x.to(dtype), mask)

    def sdf(self, backend, **options) -> tuple[Tensor, Tensor | None, Tensor]:
        return backend.hash_sdf(self.network, self.table, self.weights, self.biases, self.x, mask=self.mask, **options)


def case(of: ops.SdfNetwork, count: int, generator: torch.Generator, *, mask: bool = False) -> Case:
    """Float64."""

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weights = [normal(*shape) / shape[1] ** 0.5 for shape in of.weight_shapes]
    biases = [0.3 * normal(*shape) for shape in of.bias_shapes]
    weight_of_level = torch.linspace(1, 0, of.grid.levels, dtype=torch.float64) if mask else None  # the finest level is off
    return Case(of, normal(of.grid.entries, of.grid.features), weights, biases, points(of.grid, count, generator), weight_of_level)


def points(on: ops.HashGrid, count: int, generator: torch.Generator) -> Tensor:
    """(count, 3) float64 in the box and somewhat beyond, where rounding to float32 doesn't move any into another cell."""
    x = 2.4 * torch.rand(4 * count + 100, 3, generator=generator, dtype=torch.float64) - 1.2
    u = (x.clamp(-1, 1) + 1) / 2
    scales = torch.tensor(on.scales, dtype=torch.float64)
    t = (u[..., None] * scales + 0.5).remainder(1)
    apart = ((t > 1e-3) & (t < 1 - 1e-3)) | (x.abs() > 1)[..., None] & (t > 0)
    return x[apart.all(-1).all(-1)][:count].float().double()
