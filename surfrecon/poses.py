"""Poses of cameras as unknowns of least squares: steps of them, what pulls them back to where they were given, and the solver's algebra.

Letters: V views, N items seen from them. A pose is a rotation (3, 3) cam_from_world and a centre (3,); a step of it is (6,): a turn about
the camera's own axes, radians, and a shift of the centre.
Source: Triggs, McLauchlan, Hartley and Fitzgibbon, Bundle Adjustment - A Modern Synthesis, 2000.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.sparse import bsr_matrix
from scipy.spatial.transform import Rotation

from surfrecon.errors import InputError

GIVEN_CAUCHY = 3.0  # doubts at which the pull of a given pose is halved: one bad camera must not draw the frame after it
MEAN_LENGTH = np.sqrt(8 / np.pi)  # of normal vectors in space, in standard deviations along an axis
AT_INFINITY = 1e-9  # relative to the sum of the rays' projections: below, they are parallel
ROUNDS_IN_FRAME = 4
DAMPING, CALMER, BOLDER = 1e-4, 0.2, 10.0  # of the first step; its factors after a step that helps, and one that doesn't
ENOUGH = 1e-4  # share by which a step must lower the cost for another to follow

State = TypeVar("State")
Cost, Step = Callable[[State], float], Callable[[State, float], State]


@dataclass(frozen=True)
class Doubt:
    """How far the given cameras may be off, on average.

    Attributes:
        degrees: of their directions.
        share: of their places, as a share of the distance to the object.
    """

    degrees: float = 0.5
    share: float = 0.005

    def __post_init__(self):
        if not (0 < self.degrees < 10 and 0 < self.share < 0.2):
            raise InputError(
                f"the doubt about cameras must be > 0 and below 10 degrees and a share of 0.2, got {self.degrees} and {self.share}: "
                "cameras that are worse need structure from motion"
            )


@dataclass(frozen=True, eq=False)
class Poses:
    """rotations (V, 3, 3) cam_from_world, and centres (V, 3)."""

    rotations: np.ndarray
    centres: np.ndarray

    @property
    def cam_from_world(self) -> np.ndarray:
        return np.concatenate([self.rotations, -self.rotations @ self.centres[:, :, None]], axis=2)

    def stepped(self, step: np.ndarray) -> Poses:
        """After (V, 6) steps."""
        return Poses(Rotation.from_rotvec(step[:, :3]).as_matrix() @ self.rotations, self.centres + step[:, 3:])

    def turn_from(self, other: Poses) -> np.ndarray:
        """(V, 3) the turns that make the other's rotations these."""
        return Rotation.from_matrix(self.rotations @ other.rotations.transpose(0, 2, 1)).as_rotvec()


@dataclass(frozen=True, eq=False)
class Prior:
    """What is known of poses from the start: where they were given, and how far off that may be.

    Attributes:
        given: in a frame whose origin is the object's middle.
        doubt: of them.
    """

    given: Poses
    doubt: Doubt

    @property
    def distance(self) -> np.ndarray:
        """(V,) from the cameras to the object's middle."""
        return np.linalg.norm(self.given.centres, axis=1)

    def pulled(self, poses: Poses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(V, 6) how far poses are from the given ones, in doubts; the (V, 6) doubts: radians, lengths; and the (V,) weight of each."""
        doubts = np.stack([np.full(len(self.distance), np.radians(self.doubt.degrees)), self.doubt.share * self.distance], axis=1)
        doubts = np.repeat(doubts / MEAN_LENGTH, 3, axis=1)
        off = np.concatenate([poses.turn_from(self.given), poses.centres - self.given.centres], axis=1) / doubts
        return off, doubts, cauchy((off**2).sum(axis=1), GIVEN_CAUCHY)[1]

    def cost(self, poses: Poses) -> float:
        return float(cauchy((self.pulled(poses)[0] ** 2).sum(axis=1), GIVEN_CAUCHY)[0].sum())

    def normal(self, poses: Poses) -> tuple[np.ndarray, np.ndarray]:
        """(V, V, 6, 6) and (V, 6): half the second and first derivatives of the cost to a step, in least squares."""
        off, doubts, weight = self.pulled(poses)
        every = np.arange(len(off))
        hessian = np.zeros((len(off), len(off), 6, 6))
        hessian[every, every] = np.eye(6) * (weight[:, None] / doubts**2)[:, None]
        return hessian, weight[:, None] * off / doubts

    def in_frame(self, poses: Poses) -> Poses:
        """The poses moved, turned and scaled as a whole to where the pull towards the given ones is least: what is seen says nothing of it.

        A turn q, shift t and scale 1 + s of the world make a rotation R exp(-R q) R and a centre c + q x c + t + s c.
        """
        for _ in range(ROUNDS_IN_FRAME):
            off, doubts, weight = self.pulled(poses)
            weight = np.sqrt(weight)[:, None]
            slope = np.zeros((len(off), 6, 7))
            slope[:, :3, :3] = -poses.rotations
            slope[:, 3:, :3] = -crossing(poses.centres)
            slope[:, 3:, 3:6] = np.eye(3)
            slope[:, 3:, 6] = poses.centres
            slope *= (weight / doubts)[:, :, None]
            step = -np.linalg.lstsq(slope.reshape(-1, 7), (weight * off).ravel(), rcond=None)[0]
            turn = Rotation.from_rotvec(step[:3]).as_matrix()
            centres = np.exp(step[6]) * poses.centres @ turn.T + step[3:6]
            poses = Poses(poses.rotations @ turn.T, centres)
        return poses


def descended(state: State, around: Callable[[State], tuple[Cost, Step]], *, steps: int) -> State:
    """After at most so many steps of Levenberg and Marquardt.

    Args:
        around: of a state the cost and the damped step about it: what is weighed, and by what, may follow the state.
    """
    damping = DAMPING
    for _ in range(steps):
        cost, step = around(state)
        before = cost(state)
        while True:
            new = step(state, damping)
            lower = cost(new)
            if lower <= before or damping > 1:
                break
            damping *= BOLDER
        if lower > before:
            break
        state, damping = new, damping * CALMER
        if lower > (1 - ENOUGH) * before:
            break
    return state


def solved(
    hessian: np.ndarray,
    slope: np.ndarray,
    inner: np.ndarray,
    inner_slope: np.ndarray,
    mixed: np.ndarray,
    mixed_views: np.ndarray,
    mixed_items: np.ndarray,
    damping: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Steps (V, 6) of poses and (N, 3) of items that are seen from them, where a damped quadratic is least: items go first (Schur).

    Args:
        hessian, slope: (V, V, 6, 6) and (V, 6) of the poses.
        inner, inner_slope: (N, 3, 3) and (N, 3) of the items; changed.
        mixed: (O, 3, 6) of an item, (O,) sorted, and a pose, (O,): the derivatives to both.
    """
    count, items = len(slope), len(inner)
    full = hessian.transpose(0, 2, 1, 3).reshape(6 * count, 6 * count)
    full[np.diag_indices_from(full)] *= 1 + damping
    right = slope.ravel()
    if items:
        diagonal = np.einsum("nii->ni", inner)
        diagonal += damping * diagonal + AT_INFINITY * (diagonal.sum(axis=1, keepdims=True) + 1)
        inverse = np.linalg.inv(inner)
        starts = np.concatenate([[0], np.cumsum(np.bincount(mixed_items, minlength=items))])
        crossed = bsr_matrix((mixed, mixed_views, starts), shape=(3 * items, 6 * count)).tocsr()
        blocks = bsr_matrix((inverse, np.arange(items), np.arange(items + 1))).tocsr()
        carried = (blocks @ crossed).T
        full = full - (carried @ crossed).toarray()
        right = right - carried @ inner_slope.ravel()
    change = -np.linalg.solve(full, right)
    if not items:
        return change.reshape(count, 6), np.zeros((0, 3))
    back = inner_slope + (crossed @ change).reshape(-1, 3)
    return change.reshape(count, 6), -np.einsum("nij,nj->ni", inverse, back)


def cauchy(square: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Robust cost of squared residuals, in units of their spread, and the weight that each has in least squares."""
    return scale**2 * np.log1p(square / scale**2), 1 / (1 + square / scale**2)


def crossing(vectors: np.ndarray) -> np.ndarray:
    """(N, 3, 3) matrices of v x."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)


def summed(values: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """(count, ...) sums of the values (O, ...) that belong to each row."""
    flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
    sums = [np.bincount(rows, column, count) for column in flat.T]
    return np.stack(sums, axis=1).astype(float).reshape(count, *values.shape[1:])
