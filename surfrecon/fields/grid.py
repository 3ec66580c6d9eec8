"""GridField: a quadratic B-spline on nested lattices, dense at the coarsest level, 4^3-node bricks near the surface at the finer ones.

Level l has R cells of side h = 2 / R along each side of the unit box; node n of an axis stands at the middle of cell n, -1 + (n + 1/2) h.
Refinement is exact: a fine node is 3/4 of its coarse parent and 1/4 of the parent's neighbour on its side, axis by axis.
A point is evaluated at the finest level whose active brick holds it. Nodes within one step of an active brick's outer border keep the
refined coarse values, so the field is C1 across levels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from surfrecon import ops
from surfrecon.fields.field import Field
from surfrecon.ops import BRICK, BRICK_NODES, Level

NEAR = 2.0  # cells from the surface within which steepest() looks
# (fine nodes of a brick, coarse nodes from one before it) along one axis: 3/4 of the parent, 1/4 of its neighbour on the fine node's side
SUBDIVISION = ((0.25, 0.75, 0, 0), (0, 0.75, 0.25, 0), (0, 0.25, 0.75, 0), (0, 0, 0.75, 0.25))


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
        return ops.spline_field(self.levels, x, gradient=False)[0]

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return ops.spline_field(self.levels, x)

    def finest_nodes(self, reach: float = math.inf) -> tuple[Tensor, Tensor]:
        """(K, 3) positions of the nodes that count, each place's finest, and (K,) the side of their cells.

        Args:
            reach: most absolute value of their coefficients, in these cells.
        """
        positions, steps = [], []
        for level, finer in zip(self.levels, [*self.levels[1:], None]):
            active = level.active * BRICK_NODES
            x = level.positions()[:active][level.coefficients[:active].abs() < reach * level.step]
            positions.append(x if finer is None else x[~finer.holds(x)])
            steps.append(x.new_full((len(positions[-1]),), level.step))
        return torch.cat(positions), torch.cat(steps)

    def steepest(self) -> float:
        """The largest slope at the nodes within NEAR cells of the surface: measured there, not proven between them."""
        near, _ = self.finest_nodes(NEAR)
        return max((float(self.value_and_gradient(part)[1].norm(dim=1).max()) for part in near.split(2**18) if len(part)), default=1.0)
