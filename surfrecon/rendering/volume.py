"""What rays see of a field, from its values at samples, and the harmonics that a colour network takes for the direction of view.

Letters: R rays, S samples of all of them, N directions.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from surfrecon import ops
from surfrecon.errors import InputError

MIN_OPACITY = 1e-6  # of a ray that has a depth: below it the depth would be a quotient of roundings
MOST_BANDS = 5


class Rendering(NamedTuple):
    """What rays see.

    Attributes:
        color: (R, 3) over the background.
        depth: (R,) the mean t of what is seen, weighed by how much it is; NaN where nothing is. Along the ray, not the camera's axis.
        normal: (R, 3) the sum of weight times gradient: shorter where less is seen.
        opacity: (R,) 0 to 1.
        transmittance: (R,) 1 - opacity, to its own precision.
        weights: (S,) of each sample.
    """

    color: Tensor
    depth: Tensor
    normal: Tensor
    opacity: Tensor
    transmittance: Tensor
    weights: Tensor


def points(samples: ops.Samples, origins: Tensor, directions: Tensor) -> Tensor:
    """(S, 3) where samples are, on rays with (R, 3) origins and directions."""
    ray = samples.ray_of()
    return origins[ray] + samples.t[:, None] * directions[ray]


def render(
    samples: ops.Samples,
    directions: Tensor,
    sdf: Tensor,
    gradient: Tensor,
    color: Tensor,
    inv_s: Tensor,
    *,
    anneal: float = 1.0,
    background: Tensor | None = None,
) -> Rendering:
    """What rays see of a signed distance with colours, by the opacity of NeuS.

    Args:
        samples: S of R rays.
        directions: (R, 3) of unit length.
        sdf, gradient, color: (S,), (S, 3), (S, 3) at the samples.
        inv_s: () sharpness, > 0, in 1 / unit length.
        anneal: as of ops.neus_composite; 1 is none.
        background: (3,) or (R, 3) colour behind everything; None is black.
    Raises:
        InputError: a shape, dtype or device is another.
    Gradient: all but samples, first order; by plain torch these too.
    Source: Wang et al., NeuS, 2021.
    """
    found = ops.neus_composite(samples, directions, sdf, gradient, color, inv_s, anneal=anneal)
    seen = found.color if background is None else over(found.color, found.transmittance, background)
    opacity = found.opacity
    visible = opacity > MIN_OPACITY
    depth = torch.where(visible, found.depth / torch.where(visible, opacity, 1.0), torch.nan)
    return Rendering(seen, depth, found.normal, opacity, found.transmittance, found.weights)


def over(color: Tensor, transmittance: Tensor, background: Tensor) -> Tensor:
    """(R, 3) colours that rays gathered, in front of a background (3,) or (R, 3) that shows by their transmittance (R,)."""
    if tuple(background.shape) not in ((3,), tuple(color.shape)):
        raise InputError(f"background must be (3,) or {tuple(color.shape)}, got {tuple(background.shape)}")
    return color + transmittance[:, None] * background


def spherical_harmonics(directions: Tensor, bands: int = 4) -> Tensor:
    """Real spherical harmonics of (N, 3) unit vectors: (N, bands^2), band l from place l^2 on, m from -l to l; 1 to 5 bands.

    Orthonormal on the sphere, polynomials in x, y and z: K_lm times the m-th derivative of the Legendre polynomial P_l at z, times
    sqrt(2) Im (x + i y)^|m| for m < 0 and sqrt(2) Re (x + i y)^m for m > 0, with K_lm^2 = (2 l + 1) / (4 pi) (l - m)! / (l + m)!.

    Gradient: directions, to any order.
    """
    if not 1 <= bands <= MOST_BANDS:
        raise InputError(f"bands must be from 1 to {MOST_BANDS}, got {bands}; 4 are degrees 0 to 3")
    if directions.ndim != 2 or directions.shape[1] != 3 or not directions.is_floating_point():
        raise InputError(f"directions must be (any, 3) numbers of a floating dtype, got {tuple(directions.shape)} {directions.dtype}")
    x, y, z = directions.unbind(1)
    columns: list[Tensor] = [z] * bands**2
    real, imaginary = torch.ones_like(z), torch.zeros_like(z)  # of (x + i y)^m
    for m in range(bands):
        before, legendre = torch.zeros_like(z), torch.full_like(z, float(math.prod(range(1, 2 * m, 2))))  # of l = m - 1 and l = m
        for degree in range(m, bands):
            scale = math.sqrt((2 * degree + 1) / (4 * math.pi) * math.factorial(degree - m) / math.factorial(degree + m))
            middle = degree * (degree + 1)
            if m:
                columns[middle + m] = math.sqrt(2) * scale * legendre * real
                columns[middle - m] = math.sqrt(2) * scale * legendre * imaginary
            else:
                columns[middle] = scale * legendre
            before, legendre = legendre, ((2 * degree + 1) * z * legendre - (degree + m) * before) / (degree - m + 1)
        real, imaginary = x * real - y * imaginary, x * imaginary + y * real
    return torch.stack(columns, dim=1)
