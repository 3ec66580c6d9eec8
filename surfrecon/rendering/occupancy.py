"""Where rays are sampled: the cells of the box that may hold something.

Fields are given as functions from (N, 3) points to (N,) values, negative inside. Letters: M cells along each side of the box [-1, 1]^3.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from surfrecon.errors import InputError

Values = Callable[[Tensor], Tensor]

WORTHY = 0.01  # weight of a cell that is worth a sample
SLOPE = 1.5  # of a field that is nearly a distance, at most
POINTS_AT_ONCE = 2**18  # that a field is asked for


class Occupancy:
    """Which cells rays must sample, kept up to date from a signed distance while that is learnt. At the start all are.

    Attributes:
        weights: (M, M, M) of each cell in what a ray from outside sees, at most; the state, for checkpoints: see restore().
        occupied: (M, M, M) bool.
    """

    def __init__(self, cells: int, *, decay: float = 0.95, device: torch.device | str = "cpu"):
        """Args: decay: 0 to 1: what is left of a cell's weight when it is looked at and found emptier."""
        if cells < 1 or not 0 <= decay <= 1:
            raise InputError(f"an occupancy has cells >= 1 along a side and a decay from 0 to 1, got {cells} and {decay}")
        self.decay = decay
        self.restore(torch.ones(cells, cells, cells, device=device))

    @property
    def cells(self) -> int:
        """M."""
        return len(self.weights)

    @property
    def diagonal(self) -> float:
        """Of a cell, unit frame."""
        return 2 * 3**0.5 / self.cells

    def restore(self, weights: Tensor) -> None:
        """Take earlier weights (M, M, M)."""
        self.weights = weights
        # At most half the mean, so that thin air at the start isn't taken for nothing; without anything in it, the whole box is sampled.
        self.occupied = weights >= (weights.mean() / 2).clamp(max=WORTHY)

    @torch.no_grad()
    def update(
        self, values: Values, inv_s: Tensor, *, slope: float = SLOPE, share: float = 1.0, generator: torch.Generator | None = None
    ) -> None:
        """Look at cells again, each at its centre.

        With s the sharpness and Phi the logistic function, a cell weighs Phi(s (f + h)) - Phi(s (f - h)), where h is how far the field
        changes from its centre to its corners at most: what NeuS's opacity gives to that interval of a ray that meets nothing before it.
        Cells with a piece of surface in them weigh 1/2 at least for large s, those within the solid nothing.

        Args:
            values: of the field.
            inv_s: () sharpness, in 1 / unit length.
            slope: bound of |gradient| near the surface.
            share: 0 to 1, of all cells: half of these from anywhere, half from occupied ones. 1 is every cell, once.
            generator: draws the cells; on the device of the cells.
        Raises:
            InputError: a share beyond its range, or one less than 1 without a generator.
        """
        count = self.weights.numel()
        if not 0 <= share <= 1 or (share < 1 and generator is None):
            raise InputError(f"share must be from 0 to 1, and less than 1 only with a generator, got {share}")
        if share == 1:
            cells = torch.arange(count, device=self.weights.device)
        else:
            cells = self._drawn(round(share * count), generator)
        weights, reach = self.weights.flatten(), slope * self.diagonal / 2
        found = [weights[:0]]
        for some in cells.split(POINTS_AT_ONCE):
            sdf = values(self.centers(some))
            found.append((torch.sigmoid(inv_s * (sdf + reach)) - torch.sigmoid(inv_s * (sdf - reach))).to(weights.dtype))
        fresh = torch.maximum(self.decay * weights[cells], torch.cat(found))
        self.restore(weights.index_put((cells,), fresh).view_as(self.weights))  # a cell that was drawn twice gets the same twice

    def centers(self, cells: Tensor) -> Tensor:
        """(N,) numbers of cells, last axis fastest -> (N, 3)."""
        m = self.cells
        places = torch.stack([cells // (m * m), cells // m % m, cells % m], dim=1)
        return (places + 0.5) * (2 / m) - 1

    def _drawn(self, count: int, generator: torch.Generator) -> Tensor:
        device = self.weights.device
        anywhere = torch.randint(self.weights.numel(), (count - count // 2,), generator=generator, device=device)
        occupied = self.occupied.view(-1).nonzero()[:, 0]
        if not len(occupied):
            return anywhere
        return torch.cat([anywhere, occupied[torch.randint(len(occupied), (count // 2,), generator=generator, device=device)]])
