"""HashGridField: a signed distance on a multiresolution hash grid, as the residual to a coarser field.

The residual counts near the start's surface only: f = start + gate(start) scale net, where gate falls from 1 to 0 as |start| goes from
REACH[0] to REACH[1] times scale. Further off nothing trains the network, and the start knows the sides. Frame: the unit box.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from surfrecon import ops
from surfrecon.fields.field import Field
from surfrecon.ops import SdfNetwork

REACH = (1.5, 2.5)  # of the residual, in its scale
PART = 2**18  # points evaluated in one go


class HashGridField(Field):
    """A network on a hash grid.

    Attributes:
        network: the layout of table, weights and biases, which are parameters.
        start: what the network is the residual to.
        scale: unit of the residual, unit frame.
        mask: (L,) share of each level that counts, or None: all do.
    """

    def __init__(
        self,
        network: SdfNetwork,
        table: Tensor,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        *,
        start: Field,
        scale: float,
    ):
        super().__init__()
        self.network, self.start, self.scale = network, start, scale
        self.mask: Tensor | None = None
        self.table = nn.Parameter(table)
        self.weights, self.biases = nn.ParameterList(weights), nn.ParameterList(biases)

    def forward(self, x: Tensor) -> Tensor:
        return self._in_parts(x, gradient=False)[0]

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._in_parts(x, gradient=True)

    def net(self, x: Tensor, *, gradient: bool = True) -> tuple[Tensor, Tensor | None, Tensor]:
        """The network's own value, gradient and features at (N, 3) points, with derivatives to its parameters."""
        return ops.hash_sdf(self.network, self.table, list(self.weights), list(self.biases), x, mask=self.mask, gradient=gradient)

    def with_features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Value and gradient at (N, 3) points, and the network's features there, with derivatives to its parameters."""
        with torch.no_grad():
            start = self.start.value_and_gradient(x)
        value, rise, features = self.net(x)
        return *self.combined(start, (value, rise)), features

    def combined(self, start: tuple[Tensor, Tensor], net: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
        """Value and gradient of the whole from those of its start and of its network at the same points."""
        (base, slope), (value, rise) = start, net
        gate, fall = self._gate(base)
        whole = base + self.scale * gate * value
        if rise is None:
            return whole, None
        return whole, slope + self.scale * (gate[:, None] * rise + (fall * value)[:, None] * slope)

    def _in_parts(self, x: Tensor, *, gradient: bool) -> tuple[Tensor, Tensor | None]:
        values, slopes = [], []
        for part in x.split(PART):
            value, slope = self._corrected(part, gradient=gradient)
            values.append(value)
            slopes.append(slope)
        if not values:
            return x.new_zeros(0), x.new_zeros(0, 3) if gradient else None
        return torch.cat(values), torch.cat(slopes) if gradient else None

    def _corrected(self, x: Tensor, *, gradient: bool) -> tuple[Tensor, Tensor | None]:
        """The start, and the residual where that counts."""
        if gradient:
            value, slope = self.start.value_and_gradient(x)
        else:
            value, slope = self.start(x), None
        near = torch.nonzero(value.abs() < REACH[1] * self.scale)[:, 0]
        if len(near):
            net = self.net(x[near], gradient=gradient)[:2]
            whole, rise = self.combined((value[near], slope[near] if gradient else None), net)
            value = value.index_put((near,), whole)
            slope = slope.index_put((near,), rise) if gradient else None
        return value, slope

    def _gate(self, base: Tensor) -> tuple[Tensor, Tensor]:
        """(N,) share of the residual that counts where the start has these values, and its derivative by them: a smoothstep."""
        width = (REACH[1] - REACH[0]) * self.scale
        t = ((REACH[1] * self.scale - base.abs()) / width).clamp(0, 1)
        return t * t * (3 - 2 * t), -6 * t * (1 - t) * base.sign() / width
