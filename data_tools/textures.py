"""Solid textures: colours of space itself, so that any surface that is cut out of it is painted without seams.

Conventions: points (N, 3) of any frame; colours (N, 3) sRGB in [0, 1]. Noise is a table of random numbers at the nodes of a lattice that
repeats, linear between them; each octave doubles the frequency.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.ndimage import map_coordinates

Texture = Callable[[np.ndarray], np.ndarray]

TABLE = 32  # nodes after which the noise repeats
COARSEST = 0.12  # of the object's diagonal: one cell of the first octave. The finest of five is 0.75 %, some pixels of a photograph
OCTAVES = 5
BANDS = 9.0  # strata along the diagonal
WARP = 3.2  # by how many bands the noise shifts them
ROUGHNESS = 0.5, 0.75  # share of each octave in the one before: in the strata's shift, in the grain
PALETTE = np.array([[0.86, 0.78, 0.62], [0.62, 0.30, 0.19], [0.24, 0.38, 0.45], [0.78, 0.55, 0.29], [0.40, 0.47, 0.30]])
GRAIN = 0.9  # how far the finer noise darkens or lightens the strata


def noise(seed: int, roughness: float = 0.5, octaves: int = OCTAVES) -> Callable[[np.ndarray], np.ndarray]:
    """A function (N, 3) -> (N,) in [-1, 1] with cells of size 1, 1/2, 1/4 ..."""
    tables = np.random.default_rng(seed).uniform(-1, 1, (octaves, TABLE, TABLE, TABLE))
    shares = roughness ** np.arange(octaves)
    shares /= shares.sum()

    def values(p: np.ndarray) -> np.ndarray:
        total = np.zeros(len(p))
        for octave, (table, share) in enumerate(zip(tables, shares)):
            total += share * map_coordinates(table, 2.0**octave * p.T, order=1, mode="grid-wrap")
        return total

    return values


def stone(bounds: np.ndarray, seed: int = 0) -> Texture:
    """Warped strata of five colours with grain at all scales, fitted to an object's box (2, 3)."""
    low, diagonal = bounds[0], float(np.linalg.norm(bounds[1] - bounds[0]))
    along = np.random.default_rng([seed, 1]).standard_normal(3)
    along /= np.linalg.norm(along)
    shift, grain = (noise(2 * seed + i, roughness) for i, roughness in enumerate(ROUGHNESS))
    ring = np.concatenate([PALETTE, PALETTE[:1]])

    def colors(p: np.ndarray) -> np.ndarray:
        place = (p - low) / diagonal
        layer = (BANDS * place @ along + WARP * shift(place / COARSEST)) % len(PALETTE)
        paint = np.stack([np.interp(layer, np.arange(len(ring)), channel) for channel in ring.T], axis=1)
        fine = grain(2 * place / COARSEST)[:, None]
        return np.clip(paint * (1 + GRAIN * fine), 0.02, 0.95)

    return colors
