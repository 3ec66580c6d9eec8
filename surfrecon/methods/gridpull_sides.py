"""Inside and outside before gridpull's fit, by winding numbers, and where nobody scanned by what can have hidden there.

A scanner overlooks hollows, or a whole side. Unseen space counts as hollow, then, unless it faces a side of which much is missing: the area
vectors of a closed surface add up to nothing, those of a scan to what it lacks. Lengths are in the unit frame. The rule is ours.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from surfrecon.fields import Field
from surfrecon.fields.grid import dense_level
from surfrecon.ops import Level
from surfrecon.orientation import Orientation

INSIDE = 0.8  # winding number above which unseen space is full, in place of 1/2: hollows hide from scanners (their values part best there)
UNSEEN = (1.5, 3.0)  # from the first to the second of these distances to the data, in spacings, 1/2 goes over into INSIDE ...
OVERLOOKED = (0.07, 0.14)  # ... and back, where the surface faces a side of which this much is missing, over the area scanned
TRUST = 1.0  # in a prior, as a change of winding numbers, where it is sure and nothing was seen
SIDES_NODES = 97  # along the unit box, of the lattice on which the surface between the sides is looked for
SIDES_STEP = 2 / (SIDES_NODES - 1)


class Sides:
    """Inside and outside before the fit: the start, and what holds the field where there are no data."""

    def __init__(self, excess: Callable[[Tensor], Tensor], device: torch.device):
        """Args: excess: (N, 3) points -> (N,) values, > 0 inside."""
        self.excess, self.device = excess, device
        axis = torch.linspace(-1, 1, SIDES_NODES, device=device)
        values = excess(torch.cartesian_prod(axis, axis, axis)).reshape((SIDES_NODES,) * 3)
        crossings = []
        for dimension in range(3):
            a, b = (values.narrow(dimension, first, SIDES_NODES - 1) for first in (0, 1))
            crossed = (a > 0) != (b > 0)
            node = torch.nonzero(crossed).to(values.dtype)
            node[:, dimension] += a[crossed] / (a[crossed] - b[crossed])
            crossings.append(-1 + node * SIDES_STEP)
        self.surface = cKDTree(torch.cat(crossings).cpu().numpy())

    def level(self, resolution: int) -> Level:
        """The signed distance to the surface between the sides, as a dense level."""
        axis = -1 + (torch.arange(resolution, device=self.device) + 0.5) * (2 / resolution)
        x = torch.cartesian_prod(axis, axis, axis)
        distance = torch.as_tensor(self.surface.query(x.cpu().numpy(), workers=-1)[0], dtype=x.dtype, device=x.device)
        return dense_level(torch.where(self.excess(x) > 0, -distance, distance).reshape((resolution,) * 3))


class WindingExcess:
    """Winding numbers over what counts as inside: 1/2 near the data, INSIDE in hollows further off."""

    def __init__(self, orientation: Orientation, points: np.ndarray, spacing: np.ndarray):
        self.winding, self.tree, self.spacing = orientation.winding, cKDTree(points), np.append(spacing, spacing.max())
        self.missing = torch.as_tensor(orientation.missing).to(self.winding.values)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, 3) points -> (N,)."""
        winding, gradient = self.winding(x)
        overlooked = -torch.nn.functional.normalize(gradient, dim=1) @ self.missing
        hidden = self.unseen(x) * (1 - _between(overlooked, OVERLOOKED))
        return winding - (0.5 + (INSIDE - 0.5) * hidden)

    def unseen(self, x: Tensor, least: float = 0.0) -> Tensor:
        """(N, 3) points -> (N,) how far they count as away from the data, 0 to 1. least: spacing; no smaller one counts."""
        spacing = np.maximum(self.spacing, least)
        distance, nearest = self.tree.query(x.cpu().numpy(), workers=-1, distance_upper_bound=UNSEEN[1] * spacing.max())
        return _between(torch.as_tensor(distance / spacing[nearest]).to(x), UNSEEN)


class PriorExcess:
    """Winding numbers with the word of a field that knows shapes: away from the data it decides where they are nearly undecided.

    No nearer than what Sides can tell: a floor whose other side is empty, too, would be lost.
    """

    def __init__(self, winding: WindingExcess, prior: Field):
        """Args: prior: the logarithm of the odds of being outside."""
        self.winding, self.prior = winding, prior

    def __call__(self, x: Tensor) -> Tensor:
        """(N, 3) points -> (N,)."""
        excess, unseen = self.winding(x), self.winding.unseen(x, least=SIDES_STEP)
        rows = torch.nonzero(excess.abs() < TRUST * unseen)[:, 0]  # elsewhere it can't turn the sign
        return excess.index_add(0, rows, -TRUST * unseen[rows] * torch.tanh(self.prior(x[rows]) / 2).to(excess))


def _between(value: Tensor, bounds: tuple[float, float]) -> Tensor:
    """How far values have come from the first bound to the second, 0 to 1."""
    return ((value - bounds[0]) / (bounds[1] - bounds[0])).clamp(0, 1)
