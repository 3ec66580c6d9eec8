"""GridField: a quadratic B-spline on nested lattices, dense at the coarsest level, 4^3-node bricks near the surface at the finer ones.

Level l has R cells of side h = 2 / R along each side of the unit box; node n of an axis stands at the middle of cell n, -1 + (n + 1/2) h.
Refinement is exact: a fine node is 3/4 of its coarse parent and 1/4 of the parent's neighbour on its side, axis by axis.
A point is evaluated at the finest level whose active brick holds it. Nodes within one step of an active brick's outer border keep the
refined coarse values, so the field is C1 across levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from surfrecon import ops
from surfrecon.fields.field import Field

BRICK = 4  # nodes along a brick's side
BRICK_NODES = BRICK**3


@dataclass
class Level:
    """One lattice of a GridField.

    Attributes:
        resolution: R, cells along a side; a multiple of BRICK.
        table: (R/4, R/4, R/4) int64 slot of each stored brick, -1 where none; active bricks come first.
        active: number of active bricks: points inside them are evaluated here. The rest is halo: their stencils' outer nodes.
        coefficients: (bricks * 64,) values of the nodes, brick by brick, last axis fastest.
    """

    resolution: int
    table: Tensor
    active: int
    coefficients: Tensor

    @property
    def step(self) -> float:
        """Side of a cell, unit frame."""
        return 2.0 / self.resolution

    def lattice(self, x: Tensor) -> Tensor:
        """(N, 3) unit frame -> (N, 3) lattice coordinates; points outside the box are moved to its border."""
        return ((x.clamp(-1, 1) + 1) / self.step - 0.5).clamp(0, self.resolution - 1)

    def slots(self, nodes: Tensor) -> Tensor:
        """(..., 3) nodes -> (...) rows of coefficients, -1 where no brick is stored; nodes outside the lattice are moved to its border."""
        nodes = nodes.clamp(0, self.resolution - 1)
        brick, local = nodes // BRICK, nodes % BRICK
        slot = self.table[brick[..., 0], brick[..., 1], brick[..., 2]]
        row = slot * BRICK_NODES + (local[..., 0] * BRICK + local[..., 1]) * BRICK + local[..., 2]
        return torch.where(slot < 0, slot, row)

    def stencil_slots(self, middle: Tensor) -> Tensor:
        """(N, 3) middle nodes -> (N, 27) rows of coefficients."""
        per_axis = (middle[:, None, :] + torch.arange(-1, 2, device=middle.device)[None, :, None]).clamp(0, self.resolution - 1)
        bricks = self.resolution // BRICK
        brick, local = per_axis // BRICK, per_axis % BRICK
        b = (brick[:, :, None, None, 0] * bricks + brick[:, None, :, None, 1]) * bricks + brick[:, None, None, :, 2]
        n = (local[:, :, None, None, 0] * BRICK + local[:, None, :, None, 1]) * BRICK + local[:, None, None, :, 2]
        slot = self.table.view(-1)[b.reshape(-1, 27)]
        return torch.where(slot < 0, slot, slot * BRICK_NODES + n.reshape(-1, 27))

    def holds(self, x: Tensor) -> Tensor:
        """(N,) whether each point lies in an active brick."""
        cell = ((x.clamp(-1, 1) + 1) / self.step).long().clamp(0, self.resolution - 1) // BRICK
        slot = self.table[cell[:, 0], cell[:, 1], cell[:, 2]]
        return (slot >= 0) & (slot < self.active)

    def nodes(self) -> Tensor:
        """(bricks * 64, 3) int64 node of each row of coefficients."""
        device = self.table.device
        corners = torch.empty(len(self.coefficients) // BRICK_NODES, 3, dtype=torch.long, device=device)
        where = torch.nonzero(self.table >= 0)
        corners[self.table[where[:, 0], where[:, 1], where[:, 2]]] = where * BRICK
        axis = torch.arange(BRICK, device=device)
        return (corners[:, None, :] + torch.cartesian_prod(axis, axis, axis)[None]).reshape(-1, 3)

    def free_columns(self) -> Tensor:
        """(bricks * 64,) column of each coefficient among those that may change, -1 for those that tie the level to the coarser one.

        A coefficient may change where every point that it touches lies in an active brick; on a level without border, everywhere.
        """
        inside = (self.table >= 0) & (self.table < self.active)
        nodes = self.nodes()[: self.active * BRICK_NODES]
        free = torch.ones(len(nodes), dtype=torch.bool, device=nodes.device)
        for corner in torch.cartesian_prod(*[torch.tensor([-1, 1], device=nodes.device)] * 3):
            brick = (nodes + corner).clamp(0, self.resolution - 1) // BRICK
            free &= inside[brick[:, 0], brick[:, 1], brick[:, 2]]
        column = torch.full((len(self.coefficients),), -1, dtype=torch.long, device=nodes.device)
        rows = torch.nonzero(free)[:, 0]
        column[rows] = torch.arange(len(rows), device=nodes.device)
        return column

    def positions(self) -> Tensor:
        """(bricks * 64, 3) unit-frame position of each row of coefficients."""
        return -1 + (self.nodes().to(self.coefficients.dtype) + 0.5) * self.step


def dense_level(values: Tensor) -> Level:
    """A level all of whose bricks are active, from (R, R, R) coefficients."""
    resolution = values.shape[0]
    bricks = resolution // BRICK
    table = torch.arange(bricks**3, device=values.device).reshape(bricks, bricks, bricks)
    blocks = values.reshape(bricks, BRICK, bricks, BRICK, bricks, BRICK).permute(0, 2, 4, 1, 3, 5)
    return Level(resolution, table, bricks**3, blocks.reshape(-1).clone())


def refined(coarse: Level, near: Tensor) -> Level:
    """A level of twice the resolution, active in the bricks around given points, with exactly the coarse spline's values.

    Args:
        coarse: the level above; it must hold every brick that is asked for, with its neighbours.
        near: (K, 3) unit-frame points; each makes the fine brick that holds it active, clipped to what the coarse level can refine.
    Returns:
        the finer level, halo bricks included.
    """
    resolution = 2 * coarse.resolution
    bricks = resolution // BRICK
    device = coarse.table.device
    wanted = torch.zeros((bricks,) * 3, dtype=torch.bool, device=device)
    cell = ((near.clamp(-1, 1) + 1) * (bricks / 2)).long().clamp(0, bricks - 1)
    wanted[cell[:, 0], cell[:, 1], cell[:, 2]] = True
    # A fine brick covers half a coarse brick a side; it and its halo are refined from an active coarse brick and that one's stored halo.
    held = (coarse.table >= 0) & (coarse.table < coarse.active)
    wanted &= held.repeat_interleave(2, 0).repeat_interleave(2, 1).repeat_interleave(2, 2)
    halo = dilated(wanted) & ~wanted
    table = torch.full((bricks,) * 3, -1, dtype=torch.long, device=device)
    active = int(wanted.sum())
    table[wanted] = torch.arange(active, device=device)
    table[halo] = torch.arange(active, active + int(halo.sum()), device=device)
    empty = torch.zeros((active + int(halo.sum())) * BRICK_NODES, dtype=coarse.coefficients.dtype, device=device)
    fine = Level(resolution, table, active, empty)
    node = fine.nodes()
    parent, side = node // 2, 2 * (node % 2) - 1
    for dx in (0, 1):
        for dy in (0, 1):
            for dz in (0, 1):
                step = torch.tensor([dx, dy, dz], device=device)
                weight = 0.25 ** (dx + dy + dz) * 0.75 ** (3 - dx - dy - dz)
                fine.coefficients += weight * coarse.coefficients[coarse.slots(parent + step * side)]
    return fine


def dilated(mask: Tensor) -> Tensor:
    """(X, Y, Z) mask grown by one cell in all 26 directions."""
    return torch.nn.functional.max_pool3d(mask[None, None].float(), 3, 1, 1)[0, 0] > 0


class GridField(Field):
    """A signed distance as a B-spline on nested levels, coarsest first."""

    def __init__(self, levels: list[Level], *, lipschitz: float | None = None):
        super().__init__()
        self.levels = levels
        self.lipschitz = lipschitz

    def forward(self, x: Tensor) -> Tensor:
        return self._evaluate(x, gradient=False)[0]

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._evaluate(x, gradient=True)

    def slope_bound(self) -> float:
        """An upper bound of |gradient|: no spline rises faster along an axis than its steepest pair of neighbouring coefficients."""
        bound = 0.0
        for level in self.levels:
            nodes = level.nodes()[: level.active * BRICK_NODES]
            here = level.coefficients[: len(nodes)]
            squares = 0.0
            for axis in range(3):
                step = torch.zeros(3, dtype=torch.long, device=nodes.device)
                step[axis] = 1
                rise = level.coefficients[level.slots(nodes + step)] - here
                squares += float(rise.abs().max() / level.step) ** 2
            bound = max(bound, squares**0.5)
        return bound

    def _evaluate(self, x: Tensor, gradient: bool) -> tuple[Tensor, Tensor | None]:
        value = torch.empty(len(x), dtype=x.dtype, device=x.device)
        slope = torch.empty_like(x) if gradient else None
        rest = torch.arange(len(x), device=x.device)
        for level in reversed(self.levels):
            here = level.holds(x[rest])
            rows = rest[here]
            if len(rows):
                u = level.lattice(x[rows])
                middle, weights, slopes = ops.bspline_weights(u, gradient=gradient)
                v, g = ops.bspline_evaluate(level.coefficients, level.stencil_slots(middle), weights, slopes)
                value[rows] = v
                if gradient:
                    slope[rows] = g / level.step
            rest = rest[~here]
        return value, slope
