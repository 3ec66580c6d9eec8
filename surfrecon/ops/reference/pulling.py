"""The objective of GridPull as published, on a dense lattice, and its terms.

All lengths are in the unit frame. Letters: q queries, t their targets on the scan, f the field, n = grad f / |grad f|, M nodes of the
lattice along each axis.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from surfrecon.ops.reference.trilinear import trilinear


def pulling(
    values: Tensor, queries: Tensor, targets: Tensor, weights: Tensor, *, smooth: float, surface: float, align: float
) -> Tensor:
    """The objective of GridPull as published: pull + smooth roughness + surface mean f(t)^2 + align misalignment.

    With f the field, n = grad f / |grad f|, q a query and t its target on the scan: the pull is the mean of exp(|q - t|) times
    |t - (q - f(q) n(q))|; the roughness the sum of (w_a + w_b) (f_a - f_b)^2 over the edges ab of the lattice, divided by the number of
    nodes that have a weight w; the misalignment one minus the mean cosine of the gradients at q and t.

    Args:
        values: (M, M, M), M >= 2.
        queries, targets: (N, 3) unit frame, N >= 1; fastest when neighbours in memory are neighbours in space.
        weights: (M, M, M) w >= 0 of the nodes.
        smooth, surface, align: what the terms weigh.
    Returns:
        ()
    Gradient: values, first order.
    Source: Chen, Liu and Han, GridPull, 2023.
    """
    value, slope = trilinear(values, torch.cat([queries, targets]))
    (at_q, at_t), (slope_q, slope_t) = value.chunk(2), slope.chunk(2)
    rough = roughness(values, edge_sums(weights), (weights > 0).sum().clamp(min=1))
    return pull(queries, targets, at_q, slope_q) + smooth * rough + surface * at_t.square().mean() + align * misalignment(slope_q, slope_t)


def pull(queries: Tensor, targets: Tensor, values: Tensor, gradients: Tensor) -> Tensor:
    """How far queries land from their targets: the mean of exp(|q - t|) |t - (q - f(q) n(q))|.

    Args:
        queries, targets: (N, 3).
        values, gradients: (N,), (N, 3) of the field at the queries.
    Gradient: values and gradients, first order.
    Source: Chen, Liu and Han, GridPull, 2023.
    """
    landing = queries - values[:, None] * normalize(gradients, dim=1)
    far = torch.linalg.vector_norm(queries - targets, dim=1).exp()
    return (far * torch.linalg.vector_norm(targets - landing, dim=1)).mean()


def misalignment(gradients: Tensor, others: Tensor) -> Tensor:
    """One minus the mean cosine between (N, 3) gradients and (N, 3) others: 0 where all agree, 2 where all are opposed.

    Gradient: both, first order.
    Source: Chen, Liu and Han, GridPull, 2023.
    """
    return 1 - cosine_similarity(gradients, others, dim=1).mean()


def edge_sums(weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(M, M, M) per node -> the sum of both ends of each edge along x, y and z: (M - 1, M, M), (M, M - 1, M), (M, M, M - 1)."""
    last = weights.shape[0] - 1
    x, y, z = (weights.narrow(axis, 0, last) + weights.narrow(axis, 1, last) for axis in range(3))
    return x, y, z


def roughness(values: Tensor, edges: tuple[Tensor, Tensor, Tensor], nodes: int | Tensor) -> Tensor:
    """The mean over nodes c of w_c times the sum of (f(c) - f(b))^2 over the neighbours b of c along the axes.

    Args:
        values: (M, M, M).
        edges: edge_sums of the weights w: each edge is met from both its ends.
        nodes: how many have a weight.
    Gradient: values, to any order.
    Source: Chen, Liu and Han, GridPull, 2023.
    """
    return sum((values.diff(dim=axis).square() * edge).sum() for axis, edge in enumerate(edges)) / nodes
