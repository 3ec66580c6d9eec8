"""TrilinearField: values at the nodes of a dense lattice over the unit box, linear along each axis between them.

M nodes along each side of the box [-1, 1]^3, node i of an axis at -1 + i h with h = 2 / (M - 1). The gradient jumps between cells.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from surfrecon import ops
from surfrecon.fields.field import Field


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
        return ops.trilinear(self.values, x, gradient=False)[0]

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Points beyond the box take the value and the gradient of its border.

        Gradient: the values, first order (both results are linear in them); not x.
        """
        return ops.trilinear(self.values, x)

    def slope_bound(self) -> float:
        """The least upper bound of |gradient| that the steepest edges of each cell give: a slope is a mean of four parallel edges."""
        squares = 0.0
        for axis in range(3):
            edges = self.values.detach().diff(dim=axis).abs()
            for other in {0, 1, 2} - {axis}:
                edges = torch.maximum(edges.narrow(other, 0, self.cells), edges.narrow(other, 1, self.cells))
            squares = squares + edges.square()
        return float(squares.max()) ** 0.5 / self.step
