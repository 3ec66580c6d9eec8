"""Level: one lattice of a sparse spline, stored in bricks of 4^3 nodes; the layout that the kernels on splines share.

A level has R cells of side h = 2 / R along each side of the unit box; node n of an axis stands at the middle of cell n, -1 + (n + 1/2) h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BRICK = 4  # nodes along a brick's side
BRICK_NODES = BRICK**3
FACE_NEIGHBOURS = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))  # kernels count on their order


@dataclass
class Level:
    """One lattice of a sparse spline.

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

    def cells(self, x: Tensor) -> Tensor:
        """(N, 3) unit frame -> (N, 3) the same in cells from the box's low corner; points outside the box are moved to its border."""
        return (x.clamp(-1, 1) + 1) * (self.resolution / 2)

    def lattice(self, x: Tensor) -> Tensor:
        """(N, 3) unit frame -> (N, 3) lattice coordinates; points outside the box are moved to its border, half a step beyond the nodes."""
        return self.cells(x) - 0.5

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

    def slots(self, x: Tensor) -> Tensor:
        """(N,) int64 slot of the brick that each point lies in, -1 where none is stored."""
        brick = self.cells(x).long().clamp(0, self.resolution - 1) // BRICK
        return self.table[brick[:, 0], brick[:, 1], brick[:, 2]]

    def holds(self, x: Tensor) -> Tensor:
        """(N,) whether each point lies in an active brick."""
        slot = self.slots(x)
        return (slot >= 0) & (slot < self.active)

    def corners(self) -> Tensor:
        """(bricks, 3) int64 first node of each stored brick."""
        where = torch.nonzero(self.table >= 0)
        corners = torch.empty_like(where)
        corners[self.table[where[:, 0], where[:, 1], where[:, 2]]] = where * BRICK
        return corners

    def neighbours(self, bricks: Tensor, offsets: Sequence[tuple[int, int, int]]) -> Tensor:
        """(K, 3) places of bricks, in bricks -> (K, offsets) int32 slots of those at these offsets from them, -1 beyond the lattice."""
        last = self.resolution // BRICK - 1
        found = torch.empty((len(bricks), len(offsets)), dtype=torch.int32, device=bricks.device)
        for column, offset in enumerate(offsets):
            at = bricks + torch.tensor(offset, device=bricks.device)
            inside = ((at >= 0) & (at <= last)).all(1)
            x, y, z = at.clamp_(0, last).unbind(1)
            found[:, column] = self.table[x, y, z].where(inside, -1)
        return found

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
