"""Trilinear interpolation on a dense lattice over the unit box, and the objective of GridPull on it.

M nodes along each side of the box [-1, 1]^3, node i of an axis at -1 + i h with h = 2 / (M - 1). Points beyond the box take the value and
the gradient of its border. The gradient jumps between cells; a node belongs to the cell above it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

CORNERS = 8  # of a cell, last axis fastest


def trilinear(values: Tensor, x: Tensor, *, gradient: bool = True) -> tuple[Tensor, Tensor | None]:
    """Value and gradient at points.

    Args:
        values: (M, M, M), M >= 2.
        x: (N, 3) unit frame.
        gradient: whether the second result is wanted.
    Returns:
        (N,) values, (N, 3) gradients or None.
    Gradient: values, to any order (both results are linear in them), natively to the first; x, of the value.
    """
    nodes = values.shape[0]
    step = 2 / (nodes - 1)
    u = (x.clamp(-1, 1) + 1) / step
    low = u.floor().clamp(0, nodes - 2)
    t = u - low
    node = low.long()
    place = (node[:, 0] * nodes + node[:, 1]) * nodes + node[:, 2]
    around = torch.cartesian_prod(*[torch.arange(2, device=x.device)] * 3) @ torch.tensor([nodes * nodes, nodes, 1], device=x.device)
    # index_select: its backward is three times faster on a CPU than that of values[corners].
    local = values.reshape(-1).index_select(0, (place[:, None] + around).view(-1)).view(-1, CORNERS)
    w = torch.stack([1 - t, t], dim=-1)  # (N, 3 axes, 2 nodes)
    wx, wy, wz = w[:, 0, :, None, None], w[:, 1, None, :, None], w[:, 2, None, None, :]
    value = (local * (wx * wy * wz).reshape(-1, CORNERS)).sum(1)
    if not gradient:
        return value, None
    rise = torch.tensor([-1.0, 1.0], dtype=x.dtype, device=x.device)
    dx, dy, dz = rise[:, None, None], rise[:, None], rise
    slopes = torch.stack([s.reshape(-1, CORNERS) for s in (dx * wy * wz, wx * dy * wz, wx * wy * dz)], dim=-1)
    return value, torch.einsum("nk,nkd->nd", local, slopes) / step


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
    miss = targets - queries + at_q[:, None] * normalize(slope_q, dim=1)
    pull = (torch.linalg.vector_norm(queries - targets, dim=1).exp() * torch.linalg.vector_norm(miss, dim=1)).mean()
    misalignment = 1 - cosine_similarity(slope_q, slope_t, dim=1).mean()
    last = len(values) - 1
    edges = [weights.narrow(axis, 0, last) + weights.narrow(axis, 1, last) for axis in range(3)]
    roughness = sum((values.diff(dim=axis).square() * edge).sum() for axis, edge in enumerate(edges)) / (weights > 0).sum().clamp(min=1)
    return pull + smooth * roughness + surface * at_t.square().mean() + align * misalignment
