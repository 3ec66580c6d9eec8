"""A surface's values on a lattice of the unit box: cheap enough to find, for every ray, the places on it that tell what it sees.

Letters: M cells along each side of the box [-1, 1]^3, R rays, S samples. Fields are functions of (N, 3) points to (N,) values.
"""

from __future__ import annotations

import torch
from torch import Tensor

from surfrecon.ops import Samples, Surface, march, trilinear
from surfrecon.rendering.occupancy import Occupancy, Values
from surfrecon.rendering.rays import Rays

CELLS = 192
BAND = 5.0  # half the thickness of what rays see of a surface, in 1 / inv_s: beyond, its density is 3 % of its peak
LOOSE = 0.8  # of the sharpness, by which samples are chosen: the surface moves until the next choice
DARK = 1e-2  # of what a ray lets through: behind that nothing is seen; more than what the band itself lets through, e^-BAND
LOOK = 4  # steps at a time on a first look, which tells how long the band is along a ray
SLOPE = 1.1  # of the field near its surface
MOST_SAMPLES = 512  # of a ray, before they are chosen
AT_ONCE = 2**18  # places that a field is asked for


class Lattice:
    """Values at the nodes of a lattice; those that may change are taken anew by refresh().

    Attributes:
        values: (M + 1, M + 1, M + 1).
        near: (K,) numbers of the nodes, last axis fastest, that refresh() asks for.
    """

    @torch.no_grad()
    def __init__(self, values: Values, *, reach: float, cells: int = CELLS, device: torch.device | str = "cpu"):
        """Args: reach: nodes with values beyond it, either side, keep them."""
        self.cells = cells
        self.values = self._asked(values, torch.arange((cells + 1) ** 3, device=device)).view((cells + 1,) * 3)
        self.near = torch.nonzero(self.values.view(-1).abs() < reach)[:, 0]
        self.occupancy = Occupancy(cells, decay=0.0, device=device)

    @property
    def step(self) -> float:
        """Side of a cell, unit frame."""
        return 2 / self.cells

    def nodes(self, numbers: Tensor) -> Tensor:
        """(K, 3) places of nodes (K,), by their numbers."""
        side = self.cells + 1
        place = torch.stack([numbers // side**2, numbers // side % side, numbers % side], dim=1)
        return place * self.step - 1

    @torch.no_grad()
    def refresh(self, values: Values, inv_s: Tensor) -> None:
        """Take the surface as it is now, for rays that see it with this sharpness ()."""
        self.values.view(-1)[self.near] = self._asked(values, self.near)
        self.occupancy.update(lambda x: trilinear(self.values, x, gradient=False)[0], LOOSE * inv_s, slope=SLOPE)

    @torch.no_grad()
    def samples(self, rays: Rays, inv_s: Tensor, *, step: float, most: int, jitter: Tensor) -> Samples:
        """What rays see of the surface: intervals in the band around it, up to where nothing gets through.

        Args:
            rays: R, unit frame.
            inv_s: () sharpness, in 1 / unit length.
            step: length of an interval, unit frame, on rays that meet the surface straight on.
            most: about as many intervals has a ray that grazes the surface, as long as need be: along it the distance changes slowly.
            jitter: (R,) 0 to 1, by which a ray's intervals are moved.
        """
        long = self._seen(rays, inv_s, LOOK * step, jitter).counts * (LOOK * step)  # of the band, along each ray
        return self._seen(rays, inv_s, (long / most).clamp(min=step), jitter)

    def _seen(self, rays: Rays, inv_s: Tensor, step: float | Tensor, jitter: Tensor) -> Samples:
        loose = LOOSE * float(inv_s)
        surface = Surface(self.values, loose, BAND / loose, DARK)
        return march(self.occupancy.occupied, *rays, step=step, jitter=jitter, most=MOST_SAMPLES, surface=surface)

    def steepest(self, field) -> float:
        """The largest slope of a Field at the nodes next to its surface: measured there, not proven between them."""
        numbers = self.near[self.values.view(-1)[self.near].abs() < 2 * self.step]
        slopes = [field.value_and_gradient(self.nodes(part))[1].norm(dim=1).max() for part in numbers.split(AT_ONCE) if len(part)]
        return max((float(slope) for slope in slopes), default=1.0)

    def _asked(self, values: Values, numbers: Tensor) -> Tensor:
        """(K,) values at nodes (K,)."""
        return torch.cat([values(self.nodes(part)) for part in numbers.split(AT_ONCE)])
