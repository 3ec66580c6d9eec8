"""Points and the cells that they lie in: features of points summed up by cells, and features of lattices at points.

Letters: B clouds of a batch, N points each, C channels, M cells of a lattice. Places are in cells, from the lattice's corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Cells:
    """Which cell of a lattice each point lies in; points beyond it count to the cell next to them."""

    def __init__(self, places: Tensor, shape: Sequence[int]):
        """Args: places: (B, N, d) in cells. shape: (d,) cells along each axis."""
        self.shape, self.clouds = tuple(shape), len(places)
        most = places.new_tensor(self.shape) - 1
        cell = torch.minimum(places.floor().clamp(min=0), most).long()
        flat = torch.arange(self.clouds, device=places.device)[:, None]
        for axis, count in enumerate(self.shape):
            flat = flat * count + cell[..., axis]
        self.index = flat.reshape(-1)
        self.offset = places - cell - 0.5  # (B, N, d) from the cell's middle
        self.total = self.clouds * prod(self.shape)

    def maximum(self, features: Tensor) -> Tensor:
        """(B, N, C) -> (B M, C) greatest of each channel, 0 in empty cells."""
        return self._reduced(features, "amax")

    def mean(self, features: Tensor) -> Tensor:
        """(B, N, C) -> (B M, C), 0 in empty cells."""
        return self._reduced(features, "mean")

    def sum(self, features: Tensor) -> Tensor:
        """(B, N, C) -> (B M, C)."""
        rows = features.reshape(-1, features.shape[-1])
        return rows.new_zeros(self.total, rows.shape[1]).index_add(0, self.index, rows)

    def at_points(self, cells: Tensor) -> Tensor:
        """(B M, C) -> (B, N, C): of each point's cell."""
        return cells[self.index].reshape(self.clouds, -1, cells.shape[1])

    def lattice(self, cells: Tensor) -> Tensor:
        """(B M, C) -> (B, C, *shape)."""
        return cells.reshape(self.clouds, *self.shape, -1).movedim(-1, 1)

    def _reduced(self, features: Tensor, how: str) -> Tensor:
        rows = features.reshape(-1, features.shape[-1])
        index = self.index[:, None].expand_as(rows)
        return rows.new_zeros(self.total, rows.shape[1]).scatter_reduce(0, index, rows, how, include_self=False)


class Attention(nn.Module):
    """What a cell makes of its points by weights that are learnt, one a channel, in place of the greatest of each channel.

    Of a cell: sum over its points of softmax(MLP(q - k + p)) (v + p), q from the cell's mean, k and v from the point, p from its place.
    Source: after the point-to-grid attention of Li et al., "GridFormer: point-grid transformer for surface reconstruction", 2024, over the
    points of the cell itself.
    """

    def __init__(self, channels: int, dimensions: int):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(channels, channels, bias=False) for _ in range(3))
        self.place = nn.Linear(dimensions, channels)
        self.weigh = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels, bias=False))

    def forward(self, cells: Cells, features: Tensor) -> Tensor:
        """(B, N, C) -> (B M, C)."""
        place = self.place(cells.offset)
        scores = self.weigh(cells.at_points(self.query(cells.mean(features))) - self.key(features) + place)
        scores = (scores - cells.at_points(cells.maximum(scores)).detach()).exp()  # at most 1, and 1 in each cell
        total = cells.sum(scores).clamp(min=torch.finfo(scores.dtype).tiny)
        return cells.sum(scores * (self.value(features) + place)) / total


def sampled(lattice: Tensor, places: Tensor) -> Tensor:
    """(B, C, *shape) and (B, N, d) places in its cells -> (B, N, C), linear between the middles of cells, constant beyond the outermost."""
    shape = places.new_tensor(lattice.shape[2:])
    where = (2 * places / shape - 1).flip(-1)  # grid_sample counts axes from the last
    where = where.reshape(len(places), *[1] * (where.shape[-1] - 1), -1, where.shape[-1])
    found = F.grid_sample(lattice, where.to(lattice.dtype), mode="bilinear", padding_mode="border", align_corners=False)
    return found.reshape(*found.shape[:2], -1).transpose(1, 2)
