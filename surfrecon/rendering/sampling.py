"""Where rays are sampled: cells of the box that may hold something, or a band around the surface that a ray meets first.

Fields are given as functions from (N, 3) points to (N,) values, negative inside. A ray is o + t d, |d| = 1. Letters: R rays, M cells along
each side of the box [-1, 1]^3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from surfrecon import ops
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


@dataclass(frozen=True)
class Crossings:
    """Where rays first meet the surface.

    Attributes:
        t: (R,) there; for a ray that doesn't, where it comes nearest to it, by the values seen on the way; NaN if it misses the box.
        hit: (R,) bool, whether it does.
    """

    t: Tensor
    hit: Tensor


@torch.no_grad()
def first_crossings(
    values: Values,
    origins: Tensor,
    directions: Tensor,
    *,
    step: float,
    slope: float = SLOPE,
    most: int = 256,
    halvings: int = 6,
) -> Crossings:
    """The first places in the box where rays come from outside to inside, by sphere tracing, then halving, then a straight line.

    A ray that begins or enters the box inside is taken to meet the surface there.

    Args:
        values: of the field.
        origins: (R, 3) unit frame.
        directions: (R, 3) of unit length.
        step: shortest way from place to place, unit frame, > 0: thinner walls may be missed.
        slope: bound of |gradient|: from a place with value f the next is |f| / slope further.
        most: places on a ray; one that needs more has not hit.
        halvings: of the interval between the places on both sides of the surface.
    Raises:
        InputError: the step or slope is not > 0.
    """
    if not step > 0 or not slope > 0:
        raise InputError(f"step (unit frame) and slope must be > 0, got {step} and {slope}")
    near, far = ops.box_interval(origins, directions)
    at = lambda rays, t: values(origins[rays] + t[:, None] * directions[rays])
    t, least = torch.full_like(near, torch.nan), torch.full_like(near, torch.inf)
    hit = torch.zeros_like(near, dtype=torch.bool)
    outside, inside, above, below = near.clone(), near.clone(), torch.ones_like(near), torch.zeros_like(near)  # around the crossing
    rays = (far > near).nonzero()[:, 0]
    here = near[rays]
    for _ in range(most):
        if not len(rays):
            break
        f = at(rays, here)
        nearer = f < least[rays]
        t[rays], least[rays] = torch.where(nearer, here, t[rays]), torch.where(nearer, f, least[rays])
        crossed = f <= 0
        hit[rays] = crossed
        inside[rays], below[rays] = here, f
        going = ~crossed & (here < far[rays])  # NaN goes on
        outside[rays] = torch.where(crossed, outside[rays], here)
        above[rays] = torch.where(crossed, above[rays], f)
        rays, here, f = rays[going], here[going], f[going]
        here = torch.minimum(here + (f.nan_to_num().abs() / slope).clamp(min=step), far[rays])
    rays = hit.nonzero()[:, 0]
    a, b, fa, fb = outside[rays], inside[rays], above[rays], below[rays]
    for _ in range(halvings if len(rays) else 0):
        middle = (a + b) / 2
        f = at(rays, middle)
        within = f <= 0
        a, fa = torch.where(within, a, middle), torch.where(within, fa, f)
        b, fb = torch.where(within, middle, b), torch.where(within, f, fb)
    t[rays] = a + (b - a) * (fa / (fa - fb)).nan_to_num(0.5)
    return Crossings(t, hit)


def band(crossings: Crossings, *, width: float | Tensor, count: int, jitter: Tensor | None = None) -> ops.Samples:
    """As many samples on each ray that meets the box, in a band around where it meets the surface or comes nearest.

    The band is cut into equal parts, and each border between intervals moves by up to half a part to either side.

    Args:
        width: of the band, unit frame, > 0: of all rays, or (R,).
        count: samples of a ray, >= 1.
        jitter: (R, count + 1) 0 to 1; None is 1/2, equal intervals.
    Returns:
        Intervals one after the other; what would lie before a ray's origin is left empty, of length 0.
    Raises:
        InputError: a count below 1, or a shape is another.
    """
    t = crossings.t
    if count < 1:
        raise InputError(f"count must be >= 1 sample a ray, got {count}")
    if jitter is not None and tuple(jitter.shape) != (len(t), count + 1):
        raise InputError(f"jitter must be {(len(t), count + 1)}, a number for each border of an interval, got {tuple(jitter.shape)}")
    if isinstance(width, Tensor) and width.shape not in ((), t.shape):
        raise InputError(f"width must be a number or {tuple(t.shape)}, got {tuple(width.shape)}")
    width = torch.as_tensor(width, dtype=t.dtype, device=t.device).expand_as(t)
    moved = 0 if jitter is None else jitter - 0.5
    parts = (torch.arange(count + 1, dtype=t.dtype, device=t.device) + moved) / count - 0.5
    borders = (t[:, None] + width[:, None] * parts).clamp(min=0)
    met = ~t.isnan()
    borders = borders[met]
    middles, lengths = (borders[:, 1:] + borders[:, :-1]) / 2, borders.diff(dim=1)
    offsets = torch.cat([met.new_zeros(1, dtype=torch.int64), (count * met).cumsum(0)])
    return ops.Samples(middles.reshape(-1), lengths.reshape(-1), offsets)
