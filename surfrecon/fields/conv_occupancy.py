"""ConvOccupancyField: what a convolutional occupancy network makes of one cloud, as a field.

A network knows odds, not distances: the field is the logarithm of the odds of being outside, so that it is negative inside. Beyond the
lattice that it has features for everything is outside.
"""

from __future__ import annotations

import torch
from torch import Tensor

from surfrecon.fields.field import Field
from surfrecon.networks import Features, OccupancyNetwork
from surfrecon.networks.neighbours import Neighbours
from surfrecon.networks.windows import Lattice

AT_ONCE = 2**13  # queries that are decoded together: what they need fits into the processor's caches
OUTSIDE = 1.0  # value just beyond the lattice; it grows by one a cell
ROUNDING = 1e-3  # cells beyond which a place isn't in the lattice


class ConvOccupancyField(Field):
    """The odds of one cloud.

    Attributes:
        network: reads features.
        features: of the cloud.
        lattice: where its cells lie, unit frame.
        threshold: log odds above which a place is inside.
    """

    def __init__(
        self, network: OccupancyNetwork, features: Features, lattice: Lattice, *, threshold: float = 0.0, resolution: int | None = None
    ):
        super().__init__()
        self.network, self.features, self.lattice, self.threshold, self.resolution = network, features, lattice, threshold, resolution
        self.neighbours = Neighbours(features.points[0])

    def _apply(self, fn, recurse: bool = True):
        """Move the features along in .to(), which knows of parameters only."""
        lattices = [(axes, fn(lattice)) for axes, lattice in self.features.lattices]
        known = self.features.known
        self.features = Features(lattices, fn(self.features.points), None if known is None else fn(known))
        self.neighbours = Neighbours(self.features.points[0])
        return super()._apply(fn, recurse)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._values(part) for part in x.split(AT_ONCE)]) if len(x) else x.new_zeros(0)

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = [self._both(part) for part in x.split(AT_ONCE)] or [(x.new_zeros(0), x.new_zeros(0, 3))]
        return tuple(torch.cat(part) for part in zip(*found))

    def _both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            values = self._values(x)
            (slope,) = torch.autograd.grad(values.sum(), x)
        return values.detach(), slope

    def _values(self, x: Tensor) -> Tensor:
        places = self.lattice.cells_of(x)
        beyond = (x - self.lattice.place_of(places)).norm(dim=1)
        count = self.network.layout.neighbours
        nearest = self.neighbours(places, count)[None] if count else None
        odds = self.network.decode(self.features, places[None], nearest)[0] - self.threshold
        return torch.where(beyond > ROUNDING * self.lattice.step, OUTSIDE + beyond / self.lattice.step, -odds).to(x.dtype)
