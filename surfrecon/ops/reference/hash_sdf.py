"""A signed distance function on a hash grid: value, gradient and features at once. Layout, letters and frame: see hash_grid.py.

The gradient is one row of the network's Jacobian times that of the encoding, written out: r = e_0 W_last, then r <- (r * act') W_k down to
the inputs. Nothing here differentiates by autograd, so one ordinary backward gives derivatives of a loss on the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import linear, softplus

from surfrecon.ops.hash_grid import SOFTPLUS_BETA, SdfNetwork
from surfrecon.ops.reference.hash_encoding import hash_encode

SOFTPLUS_LINEAR = 40.0  # of beta a: beyond it softplus is a itself, in float64 too


def hash_sdf(
    network: SdfNetwork,
    table: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    x: Tensor,
    *,
    mask: Tensor | None = None,
    gradient: bool = True,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Signed distance, its gradient and the network's other outputs at points.

    Points beyond the box take all three of its border. A point that is NaN has NaN results.

    Args:
        network: the layout.
        table: (E, F).
        weights: (H, D), (H, H) ..., (C, H).
        biases: (H,), ..., (C,); empty where the network has none.
        x: (N, 3) unit frame.
        mask: (L,) weights of the levels' features, from coarse to fine; None is all ones. A level of weight 0 need not be computed.
        gradient: whether the second result is wanted.
    Returns:
        (N,) signed distance, negative inside; (N, 3) its gradient in the unit frame (of the border where x is beyond it), or None;
        (N, C - 1) features.
    Raises:
        InputError: a shape, dtype or device is not the layout's, or there are more or fewer weights or biases.
    Gradient: table, every weight and every bias, of all three results at once, exact, first order. By the reference alone, and as exactly,
        also mask and x: of all three (second derivatives of grid and network included), zero along an axis where x lies beyond the box.
    Source: Wang et al., NeuS2, 2023, section 3.3, has its derivatives of second order; the one row and its backward are our own.
    """
    network.check(table, weights, biases, x, mask)
    return composed(network, weights, biases, x, *hash_encode(network.grid, table, x, mask=mask, gradient=gradient))


def composed(
    network: SdfNetwork, weights: Sequence[Tensor], biases: Sequence[Tensor], x: Tensor, encoded: Tensor, slopes: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor]:
    """hash_sdf from features (N, L F) of the points and their derivatives (N, L F, 3), or None where the gradient isn't wanted."""
    inputs = torch.cat([encoded, x.clamp(-1, 1)], dim=1) if network.xyz else encoded
    outputs, row = perceptron(network.activation, weights, biases, inputs, gradient=slopes is not None)
    slope = None
    if row is not None:
        slope = torch.einsum("nid,ni->nd", slopes, row[:, : network.grid.encoded])
        if network.xyz:
            slope = slope + row[:, network.grid.encoded :]
    return outputs[:, 0] - network.radius, slope, outputs[:, 1:]


def perceptron(
    activation: str, weights: Sequence[Tensor], biases: Sequence[Tensor], inputs: Tensor, *, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """(N, D) inputs -> (N, C) outputs, (N, D) derivatives of output 0 with respect to the inputs, or None."""
    biases = biases or [None] * len(weights)
    hidden, rises = inputs, []
    for weight, bias in zip(weights[:-1], biases):
        hidden, rise = activated(activation, linear(hidden, weight, bias))
        rises.append(rise)
    outputs = linear(hidden, weights[-1], biases[-1])
    if not gradient:
        return outputs, None
    row = weights[-1][:1]
    for weight, rise in zip(reversed(weights[:-1]), reversed(rises)):
        row = (row * rise) @ weight
    return outputs, row


def activated(activation: str, a: Tensor) -> tuple[Tensor, Tensor]:
    """The activation and its derivative."""
    if activation == "softplus":
        return softplus(a, beta=SOFTPLUS_BETA, threshold=SOFTPLUS_LINEAR), torch.sigmoid(SOFTPLUS_BETA * a)
    if activation == "relu":
        return a.relu(), (a > 0).to(a.dtype)
    s = torch.sigmoid(a)
    return a * s, s * (1 + a * (1 - s))
