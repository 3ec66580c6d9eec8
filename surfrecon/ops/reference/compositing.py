"""What rays gather from a signed distance: the opacity of NeuS, and the sums along rays. Letters and frame: see samples.py.

With f the signed distance at a sample, c <= 0 its slope along the ray, l the length of the interval, s the sharpness and Phi the logistic
function: a = s (f - c l / 2) and b = s (f + c l / 2) stand at the interval's ends, and 1 - alpha = Phi(b) / Phi(a). What counts is the
optical depth, tau = -log(1 - alpha) = log Phi(a) - log Phi(b) >= 0: finite and exact for any sharpness, without a constant that keeps
quotients finite. The transmittance before a sample is exp(-sum of tau before it), and the weight of the sample is that times alpha.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from surfrecon.ops.samples import Composite, Samples, check_composite


def neus_alpha(sdf: Tensor, slopes: Tensor, lengths: Tensor, inv_s: Tensor, *, anneal: float = 1.0) -> Tensor:
    """Opacity of intervals of rays, from the signed distance in their middle and its slope along the ray.

    Args:
        sdf: (S,) unit frame, negative inside.
        slopes: (S,) gradient times direction.
        lengths: (S,) >= 0, unit frame.
        inv_s: () sharpness of the logistic density, > 0, in 1 / unit length.
        anneal: as of neus_composite.
    Returns:
        (S,) in [0, 1].
    Gradient: sdf, slopes, lengths and inv_s, first order.
    Source: Wang et al., NeuS, 2021, eq. 13.
    """
    return -torch.expm1(-optical_depth(sdf, slopes, lengths, inv_s, anneal))


def neus_composite(
    samples: Samples, directions: Tensor, sdf: Tensor, gradient: Tensor, color: Tensor, inv_s: Tensor, *, anneal: float = 1.0
) -> Composite:
    """What rays see of samples, by the opacity of NeuS.

    Args:
        samples: S of R rays.
        directions: (R, 3) of unit length.
        sdf: (S,) unit frame, negative inside.
        gradient: (S, 3) of the signed distance, as it is: of any length.
        color: (S, 3).
        inv_s: () sharpness of the logistic density, > 0, in 1 / unit length.
        anneal: 0 to 1: the slope c along the ray counts as -(anneal max(-c, 0) + (1 - anneal) max(1 - c, 0) / 2), so that at the start, by
            a small one, surfaces seen from behind get a gradient too.
    Returns:
        What is gathered; zeros and a transmittance of 1 for rays without samples.
    Raises:
        InputError: a shape, dtype or device is another, or anneal is.
    Gradient: directions, sdf, gradient, color and inv_s, of all results at once, exact, first order. By the reference alone also the
        samples' t and lengths.
    Source: Wang et al., NeuS, 2021, eqs. 11 to 13; the annealing is of their published training.
    """
    check_composite(samples, directions, sdf, gradient, color, inv_s, anneal)
    ray = samples.ray_of()
    slopes = (gradient * directions[ray]).sum(1)
    tau = optical_depth(sdf, slopes, samples.lengths, inv_s, anneal)
    through, behind = _sums_along_rays(tau, ray, samples)
    weights = torch.exp(-(through - tau)) * -torch.expm1(-tau)
    gather = lambda values: values.new_zeros(samples.rays, *values.shape[1:]).index_add(0, ray, values)
    seen = weights[:, None]
    return Composite(weights, gather(seen * color), gather(weights * samples.t), gather(seen * gradient), torch.exp(-behind))


def optical_depth(sdf: Tensor, slopes: Tensor, lengths: Tensor, inv_s: Tensor, anneal: float) -> Tensor:
    falling = anneal * (-slopes).relu() + (1 - anneal) * (0.5 - 0.5 * slopes).relu()
    half = falling * lengths / 2
    return logsigmoid(inv_s * (sdf + half)) - logsigmoid(inv_s * (sdf - half))


def _sums_along_rays(values: Tensor, ray: Tensor, samples: Samples) -> tuple[Tensor, Tensor]:
    """(S,) the sum of a ray's values up to each, itself included, and (R,) of all: a sum over all rays would lose small ones' digits."""
    longest = int(samples.counts.max()) if samples.rays else 0
    place = torch.arange(len(samples), device=ray.device) - samples.offsets[ray]
    sums = values.new_zeros(samples.rays, longest).index_put((ray, place), values).cumsum(1)
    return sums[ray, place], sums[:, -1] if longest else values.new_zeros(samples.rays)
