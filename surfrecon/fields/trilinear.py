"""TrilinearField: values at the nodes of a dense lattice over the unit box, linear along each axis between them.

M nodes along each side of the box [-1, 1]^3, node i of an axis at -1 + i h with h = 2 / (M - 1). The gradient jumps between cells.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from surfrecon.fields.field import Field

CORNERS = 8  # of a cell, last axis fastest


class TrilinearField(Field):
    """A dense lattice of values; both value and gradient are linear in them, so a loss of either needs first-order autograd only.

    Attributes:
        values: (M, M, M) parameter.
        cells: M - 1, along the box.
        resolution: at which it is worth extracting: two samples a cell, as published grids are.
    """

    def __init__(self, values: Tensor, *, lipschitz: float | None = None):
        super().__init__()
        self.values = nn.Parameter(values)
        self.cells = values.shape[0] - 1
        self.resolution = 2 * self.cells
        self.lipschitz = lipschitz

    @property
    def step(self) -> float:
        """Side of a cell, unit frame."""
        return 2 / self.cells

    def forward(self, x: Tensor) -> Tensor:
        corners, weights, _ = self._stencil(x, gradient=False)
        return (self._at(corners) * weights).sum(1)

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Points beyond the box take the value and the gradient of its border.

        Gradient: the values, to any order (both results are linear in them); not x.
        """
        corners, weights, slopes = self._stencil(x, gradient=True)
        local = self._at(corners)
        return (local * weights).sum(1), torch.einsum("nk,nkd->nd", local, slopes) / self.step

    def slope_bound(self) -> float:
        """The least upper bound of |gradient| that the steepest edges of each cell give: a slope is a mean of four parallel edges."""
        squares = 0.0
        for axis in range(3):
            edges = self.values.detach().diff(dim=axis).abs()
            for other in {0, 1, 2} - {axis}:
                edges = torch.maximum(edges.narrow(other, 0, self.cells), edges.narrow(other, 1, self.cells))
            squares = squares + edges.square()
        return float(squares.max()) ** 0.5 / self.step

    def _at(self, corners: Tensor) -> Tensor:
        # index_select: its backward is three times faster on a CPU than that of values[corners].
        return self.values.view(-1).index_select(0, corners.view(-1)).view(-1, CORNERS)

    def _stencil(self, x: Tensor, *, gradient: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """(N, 8) places in the flattened values, (N, 8) weights that sum to 1, (N, 8, 3) their slopes in lattice units, or None."""
        u = (x.clamp(-1, 1) + 1) / self.step
        low = u.floor().clamp(0, self.cells - 1)
        t = u - low
        nodes = self.cells + 1
        node = low.long()
        place = (node[:, 0] * nodes + node[:, 1]) * nodes + node[:, 2]
        around = torch.cartesian_prod(*[torch.arange(2, device=x.device)] * 3) @ torch.tensor([nodes * nodes, nodes, 1], device=x.device)
        corners = place[:, None] + around
        w = torch.stack([1 - t, t], dim=-1)  # (N, 3 axes, 2 nodes)
        wx, wy, wz = w[:, 0, :, None, None], w[:, 1, None, :, None], w[:, 2, None, None, :]
        weights = (wx * wy * wz).reshape(-1, CORNERS)
        if not gradient:
            return corners, weights, None
        rise = torch.tensor([-1.0, 1.0], dtype=x.dtype, device=x.device)
        dx, dy, dz = rise[:, None, None], rise[:, None], rise
        slopes = torch.stack([s.reshape(-1, CORNERS) for s in (dx * wy * wz, wx * dy * wz, wx * wy * dz)], dim=-1)
        return corners, weights, slopes
