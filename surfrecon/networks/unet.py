"""A U-Net on a plane or a grid, without statistics over the lattice: what a cell gets depends on its surroundings alone.

Letters: B lattices of a batch, C channels. Source: Ronneberger, Fischer and Brox, "U-Net", 2015; blocks and the sums in place of
concatenations as in He et al., "Identity mappings in deep residual networks", 2016.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

KERNEL = 3


class Residual(nn.Module):
    """x + conv(relu(conv(relu(x)))), the identity at the start."""

    def __init__(self, dimensions: int, channels: int):
        super().__init__()
        convolution = (nn.Conv2d, nn.Conv3d)[dimensions - 2]
        self.first = convolution(channels, channels, KERNEL, padding=KERNEL // 2)
        self.second = convolution(channels, channels, KERNEL, padding=KERNEL // 2)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(F.relu(x))))


class UNet(nn.Module):
    """(B, C in, ...) -> (B, channels, ...) of the same cells, whose numbers are multiples of 2^(depth - 1)."""

    def __init__(self, dimensions: int, inputs: int, channels: int, depth: int):
        super().__init__()
        convolution = (nn.Conv2d, nn.Conv3d)[dimensions - 2]
        self.pool = (F.max_pool2d, F.max_pool3d)[dimensions - 2]
        widths = [channels * 2**level for level in range(depth)]
        self.enter = convolution(inputs, channels, 1)
        self.down = nn.ModuleList(Residual(dimensions, width) for width in widths)
        self.wider = nn.ModuleList(convolution(width, 2 * width, 1) for width in widths[:-1])
        self.narrower = nn.ModuleList(convolution(2 * width, width, 1) for width in widths[:-1])
        self.up = nn.ModuleList(Residual(dimensions, width) for width in widths[:-1])

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        kept = []
        for level, block in enumerate(self.down):
            x = block(x)
            if level < len(self.wider):
                kept.append(x)
                x = self.wider[level](self.pool(x, 2))
        for level in reversed(range(len(kept))):
            x = self.up[level](kept[level] + F.interpolate(self.narrower[level](x), scale_factor=2))
        return x

    @property
    def reach(self) -> int:
        """Cells on each side of one that its result depends on, at most."""
        convolutions = 2 * (KERNEL // 2)
        depth = len(self.down)
        return sum(2 * convolutions * 2**level for level in range(depth - 1)) + (convolutions + 1) * 2 ** (depth - 1)
