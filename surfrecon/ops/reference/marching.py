"""Samples of rays where a lattice of cells says that there may be something. Letters and frame: see samples.py.

M cells along each side of the box [-1, 1]^3, cell i of an axis from -1 + 2 i / M to the next. Places on rays are computed in double, in
cells from the box's corner: then the same ones are met however a compiler takes the formula, on borders of cells too.
"""

from __future__ import annotations

import torch
from torch import Tensor

from surfrecon.ops.reference.compositing import neus_composite
from surfrecon.ops.reference.trilinear import trilinear
from surfrecon.ops.samples import Samples, Surface, box_interval, check_march, check_steps

AT_ONCE = 2**20  # places that are looked at together


@torch.no_grad()
def march(
    occupied: Tensor,
    origins: Tensor,
    directions: Tensor,
    *,
    step: float | Tensor,
    jitter: Tensor,
    most: int,
    surface: Surface | None = None,
) -> Samples:
    """Samples at regular steps through the box, those in occupied cells.

    A ray enters the box at t0, or begins in it at t0 = 0. Of the intervals from t0 + (k + jitter) step to t0 + (k + 1 + jitter) step, with
    k = 0, 1 ..., it has those whose middle is in the box and in an occupied cell.

    With a surface it keeps of these the ones in its band before which more than `dark` gets through: by the field, not by their weights,
    for those of a ray that grazes the surface are small, and leaving them out would let it swell.

    Args:
        occupied: (M, M, M) bool.
        origins: (R, 3) unit frame.
        directions: (R, 3) of unit length; zeros in them are as good as other numbers.
        step: unit frame, > 0: of all rays, or (R,).
        jitter: (R,) 0 to 1; the same one for a ray's samples.
        most: samples of a ray, >= 1, before they are chosen by the surface: those behind them are left out.
        surface: that the rays see; None keeps all samples.
    Returns:
        The samples, none for rays that miss the box or are not finite.
    Raises:
        InputError: a shape, dtype or device is another, or a step or `most` is too small.
    Gradient: none.
    Source: Müller, Evans, Schied and Keller, "Instant neural graphics primitives with a multiresolution hash encoding", 2022, appendix E,
        with steps of one length.
    """
    step = check_march(occupied, origins, directions, step, jitter, most, surface)
    check_steps(step)
    o, d, h, first = origins.double(), directions.double(), step.double(), jitter.double() + 0.5
    near, far = box_interval(o, d)
    begins, speed = (o + 1) * (len(occupied) / 2), d * (len(occupied) / 2)  # in cells, and cells per unit length
    longest = torch.where(far > near, (far - near) / h, 0.0).max() if len(o) else torch.zeros(())
    places = int(longest.ceil())  # k of any ray is less
    rays_at_once = max(AT_ONCE // max(places, 1), 1)
    found = [torch.zeros(3, 0, dtype=torch.float64, device=o.device)]
    for some in torch.arange(len(o), device=o.device).split(rays_at_once):
        t = near[some, None] + (torch.arange(places, device=o.device) + first[some, None]) * h[some, None]
        met = (t < far[some, None]) & _at(occupied, begins[some, None] + t[..., None] * speed[some, None])
        met &= met.cumsum(1) <= most
        ray, place = met.nonzero(as_tuple=True)
        found.append(torch.stack([t[ray, place], h[some][ray], some[ray].double()]))
    t, lengths, ray = torch.cat(found, dim=1)
    counts = torch.bincount(ray.long(), minlength=len(o))
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    samples = Samples(t.to(origins.dtype), lengths.to(origins.dtype), offsets)
    return samples if surface is None else _seen(samples, origins, directions, surface)


def _seen(samples: Samples, origins: Tensor, directions: Tensor, surface: Surface) -> Samples:
    """The samples that rays see of a surface."""
    ray = samples.ray_of()
    value, gradient = trilinear(surface.values, origins[ray] + samples.t[:, None] * directions[ray])
    inv_s = value.new_tensor(surface.inv_s)
    weights = neus_composite(samples, directions, value, gradient, torch.zeros_like(gradient), inv_s).weights
    passed = torch.cat([weights.new_zeros(1, dtype=torch.float64), weights.double().cumsum(0)])
    through = 1 - (passed[:-1] - passed[samples.offsets[:-1]][ray])
    keep = (value.abs() < surface.band) & (through > surface.dark)
    offsets = torch.cat([keep.new_zeros(1, dtype=torch.int64), keep.cumsum(0)])[samples.offsets]
    return Samples(samples.t[keep], samples.lengths[keep], offsets)


def _at(occupied: Tensor, u: Tensor) -> Tensor:
    """Whether places (..., 3), in cells, lie in occupied ones, those beyond the box in the cell next to them."""
    cells = len(occupied)
    cell = u.floor().nan_to_num().clamp(0, cells - 1).long()  # NaN on rays that miss the box
    return occupied.reshape(-1)[(cell[..., 0] * cells + cell[..., 1]) * cells + cell[..., 2]]
