"""Furnished rooms: a floor, up to four walls and furniture on it, in metres, without a ceiling.

Conventions as in shapes.py. The floor's top is z = 0 and its middle is the origin.
"""

from __future__ import annotations

import numpy as np

from surfrecon.data_tools.families.draw import about, chance, pick
from surfrecon.data_tools.families.furniture import PIECES, slab
from surfrecon.data_tools.shapes import Shape, scattered

SIDE = (3.0, 8.0)
WALL_HEIGHT = (1.2, 3.0)  # some are low; most rooms have walls of 2.2 and more
THICKNESS = (0.01, 0.03)  # of floor and walls, of the room's longer side
PIECES_IN_ROOM = (4, 10)  # of the sides above at most; larger rooms hold more by their floor
GAP = 0.08  # between two pieces, and from a piece to a wall
SUNK = 0.01  # how far feet reach into the floor, so that all is one solid
PLACES = 60  # tried for each piece


def room(rng: np.random.Generator, sides: tuple[float, float] | None = None, walls: int | None = None) -> Shape:
    """A floor with 0 to 4 thin walls, some with doors and windows, and furniture on it, its pieces apart from each other.

    Args:
        sides: in metres; drawn from SIDE if not given.
        walls: how many; drawn if not given.
    """
    half = rng.uniform(*SIDE, 2) / 2 if sides is None else np.array(sides) / 2
    thick = rng.uniform(*THICKNESS) * 2 * float(half.max())
    height = rng.uniform(2.2, WALL_HEIGHT[1]) if chance(rng, 0.75) else rng.uniform(*WALL_HEIGHT)
    floor = slab([*(-half), -thick], [*half, 0])
    standing = rng.permutation(4)[: rng.integers(0, 5) if walls is None else walls]
    return scattered([floor, *(_wall(rng, half, side, thick, height) for side in standing), *_furnished(rng, half - thick - GAP)])


def _wall(rng: np.random.Generator, half: np.ndarray, side: int, thick: float, height: float) -> Shape:
    """A wall along side 0 to 3, standing on the floor's edge; two in five have a door or a window."""
    axis, sign = side % 2, 1 if side < 2 else -1
    low, high = np.array([*(-half), -thick / 2]), np.array([*half, height])
    low[axis], high[axis] = sorted([sign * half[axis], sign * (half[axis] - thick)])
    wall = slab(low, high)
    if chance(rng, 0.6):
        return wall
    wide = rng.uniform(0.8, 1.2)
    sill, top = pick(rng, (thick, 2.0), (0.9, 2.0))
    low, high = low - 1, high + 1
    other = 1 - axis
    low[other] = rng.uniform(-half[other] + 0.3, half[other] - 0.3 - wide)
    high[other] = low[other] + wide
    low[2], high[2] = sill, max(min(top, height - 0.2), sill + 0.1)
    return wall - slab(low, high)


def _furnished(rng: np.random.Generator, half: np.ndarray) -> list[Shape]:
    """Pieces within a rectangle of half sides (2,), their boxes GAP apart: most along the walls, square to them, others anywhere."""
    wanted = int(rng.integers(PIECES_IN_ROOM[0], PIECES_IN_ROOM[1] + 1) * max(1, 4 * half.prod() / SIDE[1] ** 2))
    pieces: list[Shape] = []
    for attempt in range(PLACES * wanted):
        if len(pieces) == wanted:
            break
        # Small pieces come last, when large ones no longer fit.
        names = list(PIECES) if attempt < PLACES * wanted // 2 else ["stool", "chair", "lamp"]
        piece = PIECES[pick(rng, *names)](rng)
        along_wall = chance(rng, 0.6)
        side = int(rng.integers(4))
        # A piece's back is towards +y: turned by k quarters it is towards +y, -x, -y, +x.
        turn = about(2, side * np.pi / 2 if along_wall or chance(rng) else rng.uniform(0, 2 * np.pi))
        piece = piece.rotated(np.round(turn, 12))
        low, high = piece.bounds[:, :2]
        free = half - (high - low) / 2
        if (free < 0).any():
            continue
        place = rng.uniform(-free, free)
        if along_wall:
            place[1 - side % 2] = free[1 - side % 2] * (1, -1, -1, 1)[side]
        offset = place - (low + high) / 2
        piece = piece.moved([*offset, -SUNK])
        if all(_apart(piece, other) for other in pieces):
            pieces.append(piece)
    return pieces


def _apart(a: Shape, b: Shape) -> bool:
    """Whether the boxes of two pieces, seen from above, are GAP apart."""
    return bool(((a.bounds[0, :2] > b.bounds[1, :2] + GAP) | (b.bounds[0, :2] > a.bounds[1, :2] + GAP)).any())
