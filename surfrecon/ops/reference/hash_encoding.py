"""Features of points on a multiresolution hash grid. Layout, letters and frame: see hash_grid.py."""

from __future__ import annotations

import torch
from torch import Tensor

from surfrecon.ops.hash_grid import HashGrid

CORNERS = 8  # of a cell, last axis fastest


def hash_encode(
    grid: HashGrid, table: Tensor, x: Tensor, *, mask: Tensor | None = None, gradient: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Features at points, and their derivatives.

    Points beyond the box take the features and the derivatives of its border. Derivatives jump between cells unless the grid is smooth; a
    point on a vertex belongs to the cell above it. A point that is NaN has NaN features.

    Args:
        grid: the layout.
        table: (E, F).
        x: (N, 3) unit frame.
        mask: (L,) weights of the levels, from coarse to fine; None is all ones. A level of weight 0 need not be computed.
        gradient: whether the second result is wanted.
    Returns:
        (N, L F) features, (N, L F, 3) their derivatives with respect to x (unit frame, of the border where x is beyond it), or None.
    Raises:
        InputError: a shape, dtype or device is not the layout's.
    Gradient: table, of both results, which are linear in it. By the reference alone, and exactly, also mask and x: of both results (second
        derivatives across a cell and, where smooth, along its axes), zero along an axis where x lies beyond the box.
    Source: Müller, Evans, Schied and Keller, 2022, section 3; its derivatives are our own.
    """
    grid.check(table, x, mask)
    u = (x.clamp(-1, 1) + 1) / 2
    features, slopes = [], []
    for level in range(grid.levels):
        value, slope = _level(grid, level, table, u, gradient)
        weight = 1 if mask is None else mask[level]
        features.append(value * weight)
        if slope is not None:
            slopes.append(slope * weight)
    return torch.cat(features, dim=1), torch.cat(slopes, dim=1) if gradient else None


def _level(grid: HashGrid, level: int, table: Tensor, u: Tensor, gradient: bool) -> tuple[Tensor, Tensor | None]:
    """(N, F) features of a level at (N, 3) u = (x + 1) / 2, (N, F, 3) their derivatives with respect to x."""
    place = u * grid.scales[level] + 0.5
    low = place.detach().floor()
    t = place - low
    ends = torch.stack([low, low + 1], dim=-1).nan_to_num().long()  # (N, 3 axes, 2 vertices); NaN stays in t
    rows = grid.rows(level, ends[:, 0, :, None, None], ends[:, 1, None, :, None], ends[:, 2, None, None, :])
    local = table.index_select(0, rows.reshape(-1)).view(len(u), CORNERS, grid.features)
    upper = t * t * (3 - 2 * t) if grid.smooth else t
    w = torch.stack([1 - upper, upper], dim=-1)
    wx, wy, wz = w[:, 0, :, None, None], w[:, 1, None, :, None], w[:, 2, None, None, :]
    value = torch.einsum("nkf,nk->nf", local, (wx * wy * wz).flatten(1))
    if not gradient:
        return value, None
    rise = (6 * t * (1 - t) if grid.smooth else torch.ones_like(t)) * (grid.scales[level] / 2)
    d = torch.stack([-rise, rise], dim=-1)
    dx, dy, dz = d[:, 0, :, None, None], d[:, 1, None, :, None], d[:, 2, None, None, :]
    slopes = torch.stack([s.flatten(1) for s in (dx * wy * wz, wx * dy * wz, wx * wy * dz)], dim=-1)
    return value, torch.einsum("nkf,nkd->nfd", local, slopes)
