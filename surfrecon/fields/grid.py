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
CACHED = 2**15  # points evaluated at once on a CPU: their stencils stay in its cache, which makes it 2.6 times as fast
NEAR = 2.0  # cells from the surface within which steepest() looks
# (fine nodes of a brick, coarse nodes from one before it) along one axis: 3/4 of the parent, 1/4 of its neighbour on the fine node's side
SUBDIVISION = ((0.25, 0.75, 0, 0), (0, 0.75, 0.25, 0), (0, 0.25, 0.75, 0), (0, 0, 0.75, 0.25))


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
        """(N, 3) unit frame -> (N, 3) lattice coordinates; points outside the box are moved to its border, half a step beyond the nodes."""
        return (x.clamp(-1, 1) + 1) / self.step - 0.5

    def stencil_slots(self, middle: Tensor) -> Tensor:
        """(N, 3) middle nodes -> (N, 27) rows of coefficients."""
        return self.window_slots(middle - 1, 3)

    def window_slots(self, first: Tensor, width: int) -> Tensor:
        """(N, 3) first nodes of cubes of width^3 nodes -> (N, width^3) rows of coefficients, last axis fastest.

        Rows are < 0 where no brick is stored; nodes outside the lattice are moved to its border.
        """
        per_axis = (first[:, None, :] + torch.arange(width, device=first.device)[None, :, None]).clamp(0, self.resolution - 1)
        bricks = self.resolution // BRICK
        brick, local = per_axis // BRICK, per_axis % BRICK
        b = (brick[:, :, None, None, 0] * bricks + brick[:, None, :, None, 1]) * bricks + brick[:, None, None, :, 2]
        n = (local[:, :, None, None, 0] * BRICK + local[:, None, :, None, 1]) * BRICK + local[:, None, None, :, 2]
        return self.table.view(-1)[b].mul_(BRICK_NODES).add_(n).reshape(-1, width**3)  # slot -1 gives -64 ... -1

    def holds(self, x: Tensor) -> Tensor:
        """(N,) whether each point lies in an active brick."""
        cell = ((x.clamp(-1, 1) + 1) / self.step).long().clamp(0, self.resolution - 1) // BRICK
        slot = self.table[cell[:, 0], cell[:, 1], cell[:, 2]]
        return (slot >= 0) & (slot < self.active)

    def corners(self) -> Tensor:
        """(bricks, 3) int64 first node of each stored brick."""
        where = torch.nonzero(self.table >= 0)
        corners = torch.empty_like(where)
        corners[self.table[where[:, 0], where[:, 1], where[:, 2]]] = where * BRICK
        return corners

    def nodes(self) -> Tensor:
        """(bricks * 64, 3) int64 node of each row of coefficients."""
        axis = torch.arange(BRICK, device=self.table.device)
        return (self.corners()[:, None, :] + torch.cartesian_prod(axis, axis, axis)[None]).reshape(-1, 3)

    def free_columns(self) -> Tensor:
        """(bricks * 64,) column of each coefficient among those that may change, -1 for those that tie the level to the coarser one.

        A coefficient may change where every point that it touches lies in an active brick; on a level without border, everywhere.
        """
        device = self.table.device
        axis = torch.arange(-1, 2, device=device)
        last = self.resolution // BRICK - 1
        around = (self.corners()[: self.active, None] // BRICK + torch.cartesian_prod(axis, axis, axis)).clamp(0, last)
        slot = self.table[around[..., 0], around[..., 1], around[..., 2]]
        active = (slot >= 0) & (slot < self.active)  # (bricks, 27)
        local = torch.arange(BRICK, device=device)
        corner = (torch.stack([local - 1, local + 1]) // BRICK) + 1  # (2, BRICK): of 3 bricks along an axis, the one that an end lies in
        x, y, z = corner[:, None, None, :, None, None], corner[None, :, None, None, :, None], corner[None, None, :, None, None, :]
        free = active[:, ((x * 3 + y) * 3 + z).reshape(8, BRICK_NODES)].all(1).reshape(-1)
        column = torch.full((len(self.coefficients),), -1, dtype=torch.long, device=device)
        column[: len(free)][free] = torch.arange(int(free.sum()), device=device)
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
    window = coarse.coefficients[coarse.window_slots(fine.corners() // 2 - 1, BRICK)].reshape(-1, BRICK, BRICK, BRICK)
    rule = torch.tensor(SUBDIVISION, dtype=window.dtype, device=device)
    for _ in range(3):  # each turn refines the last axis and puts it first
        window = (window @ rule.T).permute(0, 3, 1, 2)
    fine.coefficients = window.reshape(-1).contiguous()
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

    def _apply(self, fn, recurse: bool = True):
        """Move the levels along in .to(), which knows of parameters only."""
        for level in self.levels:
            level.table, level.coefficients = fn(level.table), fn(level.coefficients)
        return super()._apply(fn, recurse)

    def forward(self, x: Tensor) -> Tensor:
        return self._evaluate(x, gradient=False)[0]

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._evaluate(x, gradient=True)

    def steepest(self) -> float:
        """The largest slope at the finest level's nodes within NEAR cells of the surface: measured there, not proven between them."""
        level = self.levels[-1]
        active = level.active * BRICK_NODES
        near = level.positions()[:active][level.coefficients[:active].abs() < NEAR * level.step]
        return max((float(self._evaluate(part, True)[1].norm(dim=1).max()) for part in near.split(2**18) if len(part)), default=1.0)

    def _evaluate(self, x: Tensor, gradient: bool) -> tuple[Tensor, Tensor | None]:
        value = torch.empty(len(x), dtype=x.dtype, device=x.device)
        slope = torch.empty_like(x) if gradient else None
        for part in torch.arange(len(x), device=x.device).split(CACHED if x.device.type == "cpu" else max(1, len(x))):
            for level in reversed(self.levels):
                here = level.holds(x[part])
                rows, part = part[here], part[~here]
                if len(rows):
                    middle, weights, slopes = ops.bspline_weights(level.lattice(x[rows]), gradient=gradient)
                    v, g = ops.bspline_evaluate(level.coefficients, level.stencil_slots(middle), weights, slopes)
                    value[rows] = v
                    if gradient:
                        slope[rows] = g / level.step
        return value, slope
