"""Samples of rays to composite, and what they gather, ray by ray."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn.functional import normalize

from surfrecon.ops import Composite, Samples

INPUTS = ("directions", "sdf", "gradient", "color", "inv_s")


@dataclass
class Case:
    t: Tensor
    lengths: Tensor
    offsets: Tensor
    directions: Tensor
    sdf: Tensor
    gradient: Tensor
    color: Tensor
    inv_s: Tensor

    def to(self, dtype: torch.dtype) -> "Case":
        each = (getattr(self, field.name) for field in fields(self))
        return Case(*(tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in each))

    def on(self, device: str) -> "Case":
        return Case(*(getattr(self, field.name).to(device) for field in fields(self)))

    def inputs(self) -> list[Tensor]:
        return [getattr(self, name) for name in INPUTS]

    def samples(self) -> Samples:
        return Samples(self.t, self.lengths, self.offsets)

    def composite(self, backend, *inputs: Tensor, anneal: float = 1.0) -> Composite:
        return backend.neus_composite(self.samples(), *(inputs or self.inputs()), anneal=anneal)


def case(counts: list[int], generator: torch.Generator, *, inv_s: float = 20.0) -> Case:
    """Rays with so many samples each, in float64: across a surface somewhere, with noise."""
    random = lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64)
    total, rays = sum(counts), len(counts)
    offsets = torch.tensor([0, *counts], dtype=torch.int64).cumsum(0)
    lengths = (0.5 + random(total)) * 0.05
    ray = torch.arange(rays).repeat_interleave(torch.tensor(counts, dtype=torch.int64))
    through = lengths.cumsum(0)
    before = torch.cat([through.new_zeros(1), through])[offsets[:-1]]
    t = through - before[ray] - lengths / 2 + 0.3
    directions = normalize(random(rays, 3) - 0.5, dim=1)
    depth = 0.3 + (0.6 * random(rays))[ray]
    gradient = -directions[ray] + 0.8 * (random(total, 3) - 0.5)
    gradient[::7] = -gradient[::7]
    sdf = depth - t + 0.02 * (random(total) - 0.5)
    return Case(t, lengths, offsets, directions, sdf, gradient, random(total, 3), torch.tensor(inv_s, dtype=torch.float64))


def derivatives(some: Case, backend, *, anneal: float = 1.0, given: tuple[int, ...] = range(5)) -> list[Tensor]:
    """Results, and what inputs are owed by a loss that weighs all numbers of the given results differently."""
    inputs = [tensor.detach().clone().requires_grad_() for tensor in some.inputs()]
    results = some.composite(backend, *inputs, anneal=anneal)
    loss = 0
    for place in given:
        result = results[place]
        wave = torch.sin(torch.arange(result.numel(), dtype=torch.float64, device=result.device) + place).to(result.dtype)
        loss = loss + (result.reshape(-1) * wave).sum()
    owed = torch.autograd.grad(loss, inputs, allow_unused=True)
    return [
        *(result.detach() for result in results),
        *(torch.zeros_like(tensor) if grad is None else grad for tensor, grad in zip(inputs, owed)),
    ]
