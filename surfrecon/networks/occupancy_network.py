"""A convolutional occupancy network: from points without normals to the odds that a place is inside.

A point network pools over the cells of a grid and of planes, U-Nets carry what the cells know through the lattices, and a decoder reads
them at a query, beside the points nearest to it. Nothing is a mean over the whole lattice, so windows of a scene agree where they overlap.

Letters: B clouds of a batch, N points each, Q queries each, K neighbours, C channels. Places are in cells of the grid, from its corner.
Sources: Peng, Niemeyer, Mescheder, Pollefeys and Geiger, "Convolutional occupancy networks", 2020; attention to neighbours after Boulch
and Marlet, "POCO: point convolution for surface reconstruction", 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from surfrecon.networks.layout import AXES, Layout
from surfrecon.networks.neighbours import nearest_points
from surfrecon.networks.pooling import Attention, Cells, sampled
from surfrecon.networks.unet import UNet

Through = Callable[[UNet, Tensor], Tensor]

FAR = 4.0  # cells beyond which offsets from neighbours are cut: what lies there is told by its direction
NEAR = 0.25  # cells within which the direction to a neighbour isn't told


class Features(NamedTuple):
    """What a network knows of B clouds.

    Attributes:
        lattices: (axes, (B, C, *shape)) of the grid, whose axes are (), and of each plane.
        points: (B, N, 3) places.
        known: (B, N, width) of each point; None where queries don't attend to points.
    """

    lattices: list[tuple[tuple[int, ...], Tensor]]
    points: Tensor
    known: Tensor | None


class Block(nn.Module):
    """x + fc(relu(fc(relu(x)))), or with another width through a linear shortcut."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first, self.second = nn.Linear(inputs, outputs), nn.Linear(outputs, outputs)
        self.shortcut = nn.Identity() if inputs == outputs else nn.Linear(inputs, outputs, bias=False)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.second(F.relu(self.first(F.relu(x))))


class OccupancyNetwork(nn.Module):
    """Encoder and decoder of a layout."""

    def __init__(self, layout: Layout):
        super().__init__()
        self.layout = layout
        width, self.axes = layout.width, ([()] if layout.grid else []) + list(AXES[layout.planes])
        self.channels = [layout.plane if axes else layout.grid for axes in self.axes]
        self.dimensions = [len(axes) or 3 for axes in self.axes]
        inputs = sum(self.dimensions) + (3 if layout.places else 0)
        self.enter = nn.Linear(inputs, 2 * width)
        self.blocks = nn.ModuleList(Block(2 * width, width) for _ in range(layout.blocks))
        if layout.pooling == "attention":
            self.pools = nn.ModuleList(Attention(width, dimensions) for dimensions in self.dimensions)
        self.shares = nn.ModuleList(nn.Linear(width, channels) for channels in self.channels)
        self.unets = nn.ModuleList(
            UNet(dimensions, channels + 1, channels, layout.plane_depth if axes else layout.depth)
            for axes, dimensions, channels in zip(self.axes, self.dimensions, self.channels)
        )
        self.reads = nn.ModuleList(nn.Linear(channels, layout.decoder) for channels in self.channels)
        if layout.neighbours:
            self.knows = nn.ModuleList([nn.Linear(width, width), *(nn.Linear(channels, width) for channels in self.channels)])
            self.meets = nn.Linear(7, width)
            self.mixes = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU())
            self.weighs, self.tells = nn.Linear(width, layout.decoder), nn.Linear(width, layout.decoder)
        if layout.places:
            self.where = nn.Linear(3, layout.decoder)
        self.injected = nn.ModuleList(nn.Linear(layout.decoder, layout.decoder) for _ in range(layout.decoder_blocks))
        self.decoder = nn.ModuleList(Block(layout.decoder, layout.decoder) for _ in range(layout.decoder_blocks))
        self.leave = nn.Linear(layout.decoder, 1)

    def encode(self, points: Tensor, shape: Sequence[int], through: Through | None = None) -> Features:
        """What the network knows of clouds.

        Args:
            points: (B, N, 3) in cells of the grid, from its corner.
            shape: (3,) cells of the grid; those of the layout where places count.
            through: what applies a U-Net to its lattice, for windows; None does it at once.
        Gradient: parameters.
        """
        finer = self.layout.finer
        lattices = [
            Cells(points[..., list(axes)] * finer, [shape[axis] * finer for axis in axes]) if axes else Cells(points, shape)
            for axes in self.axes
        ]
        inputs = [cells.offset for cells in lattices] + ([self._where(points)] if self.layout.places else [])
        net = self.blocks[0](self.enter(torch.cat(inputs, dim=-1)))
        for block in self.blocks[1:]:
            net = block(torch.cat([net, self._pooled(lattices, net)], dim=-1))
        maps = []
        for axes, cells, share, unet in zip(self.axes, lattices, self.shares, self.unets):
            mean = cells.mean(torch.cat([share(net), torch.ones_like(net[..., :1])], dim=-1))  # the last channel: whether there are points
            lattice = cells.lattice(mean)
            maps.append((axes, through(unet, lattice) if through else unet(lattice)))
        known = None
        if self.layout.neighbours:
            known = self.knows[0](net)
            for read, (axes, lattice) in zip(self.knows[1:], maps):
                known = known + read(self._at(axes, lattice, points))
        return Features(maps, points, known)

    def decode(self, features: Features, x: Tensor, nearest: Tensor | None = None) -> Tensor:
        """(B, Q) log odds that places are inside.

        Args:
            features: of the clouds.
            x: (B, Q, 3) places.
            nearest: (B, Q, K) of the cloud's points those next to each place, if they are known already.
        Gradient: features, parameters and x, first order.
        """
        read = sum(linear(self._at(axes, lattice, x)) for linear, (axes, lattice) in zip(self.reads, features.lattices))
        if self.layout.neighbours:
            nearest = nearest_points(features.points, x, self.layout.neighbours) if nearest is None else nearest
            read = read + self._attended(features, x, nearest)
        net = torch.zeros_like(read)
        if self.layout.places:
            net = net + self.where(self._where(x))
        for inject, block in zip(self.injected, self.decoder):
            net = block(net + inject(read))
        return self.leave(F.relu(net))[..., 0]

    def forward(self, points: Tensor, x: Tensor, nearest: Tensor | None = None) -> Tensor:
        """(B, Q) log odds at (B, Q, 3) places, of (B, N, 3) points in the box that the network is trained on."""
        return self.decode(self.encode(points, [self.layout.cells] * 3), x, nearest)

    def _pooled(self, lattices: list[Cells], net: Tensor) -> Tensor:
        """(B, N, width) what the points of each point's cells come to, all lattices together."""
        pools = self.pools if self.layout.pooling == "attention" else [Cells.maximum] * len(lattices)
        return sum(cells.at_points(pool(cells, net)) for cells, pool in zip(lattices, pools))

    def _at(self, axes: tuple[int, ...], lattice: Tensor, places: Tensor) -> Tensor:
        return sampled(lattice, places[..., list(axes)] * self.layout.finer if axes else places)

    def _where(self, places: Tensor) -> Tensor:
        """Places as -1 to 1 along each side of the box that the network is trained on."""
        return 2 * places / self.layout.cells - 1

    def _attended(self, features: Features, x: Tensor, nearest: Tensor) -> Tensor:
        """(B, Q, decoder) what the points next to places tell of them."""
        cloud = torch.arange(len(x), device=x.device)[:, None, None]
        offset = x[:, :, None] - features.points[cloud, nearest]
        length = offset.norm(dim=-1, keepdim=True)
        shown = torch.cat([offset.clamp(-FAR, FAR), offset / (length + NEAR), length.clamp(max=FAR)], dim=-1)
        met = self.mixes(features.known[cloud, nearest] + self.meets(shown))
        return (torch.softmax(self.weighs(met), dim=2) * self.tells(met)).sum(dim=2)
