"""Endless random solids, by family: what a network that is to reconstruct any shape learns from.

Every family draws sizes, counts and proportions widely, about 2 units long. The same generator state gives the same shape.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import label

from surfrecon.data_tools.families.blocks import constructive, superquadrics
from surfrecon.data_tools.families.creatures import creatures
from surfrecon.data_tools.families.furniture import furniture
from surfrecon.data_tools.families.mechanical import mechanical
from surfrecon.data_tools.families.organic import blends, branching, displaced, swept
from surfrecon.data_tools.families.outlines import lofted, turned
from surfrecon.data_tools.families.sheets import perforated, shells
from surfrecon.data_tools.shapes import Shape, box
from surfrecon.errors import InputError

FAMILIES: dict[str, Callable[[np.random.Generator], Shape]] = {
    "constructive": constructive,
    "superquadrics": superquadrics,
    "blends": blends,
    "swept": swept,
    "lofted": lofted,
    "turned": turned,
    "shells": shells,
    "perforated": perforated,
    "branching": branching,
    "displaced": displaced,
    "furniture": furniture,
    "mechanical": mechanical,
    "creatures": creatures,
}
HELD_OUT = "turned"  # never trained on: tells how well a network carries over to shapes unlike its own

COARSE, FINE = 24, 40  # cells along the longest side, in the first and in the second look at a shape
CLOSE = 0.45  # of a cell: a node so near a solid counts as in it when bounds are found, so that thin parts aren't missed
LEAST_SLOPE = 0.05  # of a distance that falls short: below it bounds would be found too tight
FILLED = (0.015, 0.93)  # least and most part of its box that a shape may fill
ONE_PIECE = 0.995  # least part of a shape in its largest piece
DRAWS = 100  # at most


def random_shape(family: str, rng: np.random.Generator) -> Shape:
    """A random solid of one piece with tight bounds, drawn again where it came out empty, broken or without form.

    Raises:
        InputError: no such family.
    """
    if family not in FAMILIES:
        raise InputError(f"there is no family {family!r}; choose one of {', '.join(FAMILIES)}")
    for _ in range(DRAWS):
        shape = _fitted(FAMILIES[family](rng))
        if shape is not None:
            return shape
    raise AssertionError(f"no solid of one piece in {DRAWS} draws of {family}")


def _fitted(shape: Shape) -> Shape | None:
    """The shape with bounds that hold it closely, or None where it isn't one solid piece."""
    p, step = _lattice(shape.bounds, COARSE)
    near = shape.distance(p.reshape(-1, 3)).reshape(p.shape[:3]) <= step * np.sqrt(3) / 2  # cells that the solid may touch
    if not near.any():
        return None
    bounds = np.stack([p[near].min(axis=0), p[near].max(axis=0)]) + np.array([[-step / 2], [step / 2]])
    p, step = _lattice(bounds, FINE)
    d = shape.distance(p.reshape(-1, 3)).reshape(p.shape[:3])
    slope = np.linalg.norm(np.gradient(d, step), axis=0)  # less than 1 where the distance falls short
    near = d <= CLOSE * step * np.clip(slope, LEAST_SLOPE, 1)
    pieces, count = label(d < 0, np.ones((3, 3, 3)))  # corners join too, so that thin parts aren't broken
    if count == 0 or np.bincount(pieces.ravel())[1:].max() < ONE_PIECE * (pieces > 0).sum():
        return None
    margin = (1 - CLOSE) * step
    bounds = np.stack([p[near].min(axis=0), p[near].max(axis=0)]).astype(float) + np.array([[-margin], [margin]])
    sides = np.ptp(bounds, axis=0)
    if not FILLED[0] < (d < 0).sum() * step**3 / sides.prod() < FILLED[1]:
        return None
    return shape & box(sides).moved(bounds.mean(axis=0))


def _lattice(bounds: np.ndarray, cells: int) -> tuple[np.ndarray, float]:
    """(X, Y, Z, 3) float32 nodes in the middles of cubes that fill a box, and the side of the cubes."""
    sides = np.ptp(bounds, axis=0)
    step = float(sides.max()) / cells
    counts = np.maximum(np.ceil(sides / step - 1e-6), 2).astype(int)
    axes = [middle + step * (np.arange(n) - (n - 1) / 2) for middle, n in zip(bounds.mean(axis=0), counts)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32), step
