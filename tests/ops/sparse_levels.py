"""Nested levels of a sparse spline and points around them: what tests of its kernels compute on."""

import torch
from torch import Tensor

from surfrecon.fields.grid import Level, dense_level, refined

R = 16  # cells of the coarsest level


def shell(count: int, generator: torch.Generator) -> Tensor:
    """Points of a sphere that leaves the box on one side."""
    x = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    return 0.6 * x + torch.tensor([0.45, 0.1, 0.0])


def anywhere(count: int, generator: torch.Generator) -> Tensor:
    """In the box, beyond it, and exactly on borders of cells, bricks and the box."""
    x = 2.4 * torch.rand(count, 3, generator=generator) - 1.2
    borders = torch.tensor([-1, -0.5, 0, 0.125, 0.25, 1.0])[torch.randint(6, (count, 3), generator=generator)]
    return torch.where(torch.rand(count, 3, generator=generator) < 0.2, borders, x)


def nested(generator: torch.Generator) -> list[Level]:
    """A dense level and two that cover part of the one above; all coefficients of order 1."""
    levels = [dense_level(torch.randn(R, R, R, generator=generator))]
    for depth in (1, 2):
        points = shell(4000, generator)
        levels.append(refined(levels[-1], points[points[:, 2] > 0.3 * (depth - 1)]))
        levels[-1].coefficients = torch.randn(len(levels[-1].coefficients), generator=generator)
    return levels


def doubled(level: Level) -> Level:
    return Level(level.resolution, level.table, level.active, level.coefficients.double())
