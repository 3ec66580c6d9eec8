"""How well points show their surface, region by region: their spacing, their noise, what of their relief is to be believed.

Noise asks for many neighbours, detail for few. How many is decided by leaving points out, one at a time: the neighbourhood whose quadrics
predict the left-out points best. By how much they miss them tells the noise, and that the widest neighbourhoods miss them by more tells
relief. A region is what the REGION left-out points next to each other say together.

Letters: N points, J judges, the points that are left out; S sizes of neighbourhoods. Lengths are in the points' own units.
Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from surfrecon.geometry import area_spacing
from surfrecon.quadrics import batches, quadrics

SIZES = (8, 12, 18, 27, 40, 60, 90, 130)  # neighbourhoods that compete
JUDGES = 3000  # points that are left out, one at a time: more where points are dense, and know best (chosen by area they did worse)
REGION = 500  # judges that speak for a place
SPOKESMEN = 4  # judges whose regions a place between them takes the mean of
TRIMMED = 0.1  # share of the largest misses that don't count: outliers, edges
GAIN = 0.05  # a larger neighbourhood must predict better by this share of the squared miss, else the smaller one is kept
NOISE_OF_MISS = 1.16  # standard deviation of the noise per root mean squared trimmed miss of a left-out point
TURN_OF_NOISE = 10.0  # radians that noise turns a normal by, times neighbours, per standard deviation in spacings (measured)
# Neighbourhoods are large enough to keep that below this. Left-out points don't see it in strong noise: one that is centred at a point off
# the surface predicts that point.
STEADY_TURN = 0.133
LEAST_SMOOTHING = 0.1  # of clean points, in spacings
CLEAN_REACH = 0.1  # noise beyond the least smoothing, in spacings, with which points go over from clean to noisy
# Smoothing, in spacings, by noise, in spacings, and relief: the squared miss of the widest neighbourhoods over that of the best, less 1, of
# which less than the least can't be told from none. Powers of about 1/3 and -1/6 balance the noise that smoothing leaves against the bias
# by relief that it brings; tuned on noisy, simulated and real scans.
SMOOTHING, NOISE_POWER, RELIEF_POWER = 0.71, 0.4, -0.15
LEAST_RELIEF, MOST_RELIEF, USUAL_RELIEF = 0.02, 1e6, 0.1


@dataclass(frozen=True)
class Quality:
    """How well points show their surface around P places.

    Attributes:
        places: (P, 3).
        spacing: (P,) typical distance between neighbouring points.
        noise: (P,) standard deviation of the points from their surface.
        smoothing: (P,) length below which relief can't be told from noise.
        clean: (P,) from 1, points without noise, to 0, others.
        neighbours: (P,) how many tell most of the surface at a point, itself included.
        turn: (P,) radians that noise turns the normals of such neighbourhoods by.
    """

    places: np.ndarray
    spacing: np.ndarray
    noise: np.ndarray
    smoothing: np.ndarray
    clean: np.ndarray
    neighbours: np.ndarray
    turn: np.ndarray

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.places)

    def at(self, x: np.ndarray) -> Quality:
        """The same around other places (N, 3)."""
        nearest = self._tree.query(x, min(SPOKESMEN, len(self.places)), workers=-1)[1].reshape(len(x), -1)
        mean = lambda values: values[nearest].mean(1)
        geometric = lambda values: np.exp(mean(np.log(np.maximum(values, np.finfo(float).tiny))))
        of_first = self.neighbours[nearest[:, 0]], self.turn[nearest[:, 0]]
        return Quality(x, geometric(self.spacing), geometric(self.noise), geometric(self.smoothing), mean(self.clean), *of_first)


def quality(points: np.ndarray, *, tree: cKDTree | None = None, generator: np.random.Generator | None = None) -> Quality:
    """The quality of a cloud around some of its points.

    Args:
        points: (N, 3), N >= 3.
        tree: of them, if there is one.
        generator: picks the points that are left out.
    """
    tree, generator = tree or cKDTree(points), generator or np.random.default_rng(0)
    judges = generator.choice(len(points), min(JUDGES, len(points)), replace=False)
    sizes = [size for size in SIZES if size < len(points) // 2] or [min(SIZES[0], len(points) - 1)]
    distance, nearest = (found[:, 1:] for found in tree.query(points[judges], max(sizes) + 1, workers=-1))
    squared = np.stack([
        np.concatenate([quadrics(points[judges[rows]], points[nearest[rows, :size]])[1] for rows in batches(len(judges), size)]) ** 2
        for size in sizes
    ])
    places = points[judges]
    around = cKDTree(places).query(places, min(REGION, len(places)), workers=-1)[1].reshape(len(places), -1)
    kept = max(1, round((1 - TRIMMED) * around.shape[1]))
    misses = np.stack([np.sqrt(np.sort(row[around], axis=1)[:, :kept].mean(1)) for row in squared])
    spacing = np.median(area_spacing(distance)[around], axis=1)
    return judged(places, spacing, np.array(sizes), misses)


def judged(places: np.ndarray, spacing: np.ndarray, sizes: np.ndarray, misses: np.ndarray) -> Quality:
    """The quality around P places where neighbourhoods of S sizes miss left-out points by so much.

    Args:
        places: (P, 3). spacing: (P,).
        sizes: (S,) rising.
        misses: (S, P) root mean square.
    """
    best = misses.min(0)
    noise = NOISE_OF_MISS * best / spacing
    relief = np.minimum(misses[-1] / np.maximum(best, np.finfo(float).tiny), MOST_RELIEF**0.5) ** 2 - 1
    smoothing = SMOOTHING * noise**NOISE_POWER * (np.maximum(relief, LEAST_RELIEF) / USUAL_RELIEF) ** RELIEF_POWER
    clean = np.clip(1 - (noise - LEAST_SMOOTHING) / CLEAN_REACH, 0, 1)
    smoothing = LEAST_SMOOTHING * np.maximum(1, smoothing / LEAST_SMOOTHING) ** (1 - clean)
    turns = noise_turn(sizes[:, None], misses / spacing)
    enough = misses**2 <= (1 + GAIN) * best**2
    enough = np.maximum.accumulate(enough, axis=0) & (turns <= STEADY_TURN)
    enough[-1] = True
    chosen = enough.argmax(0)
    turn = np.take_along_axis(turns, chosen[None], axis=0)[0]
    return Quality(places, spacing, noise * spacing, smoothing * spacing, clean, sizes[chosen], turn)


def noise_turn(neighbours: np.ndarray, miss: np.ndarray) -> np.ndarray:
    """By how much noise turns the normals of quadrics, radians; miss: of left-out points, root mean square, in spacings."""
    return TURN_OF_NOISE * NOISE_OF_MISS * miss / neighbours
