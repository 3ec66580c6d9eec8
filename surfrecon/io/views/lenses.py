"""Lens distortion, and images freed of it.

Letters: N points. A point u (N, 2) is where a ray passes the plane at depth 1, x / z and y / z; for a fisheye lens the same direction at
the length of the ray's angle theta to the axis. A lens moves u to u (1 + sum k_i r^2i) / (1 + sum d_i r^2i) + tangential terms, r = |u|;
intrinsics bring the result to pixels, the middle of the first at (0.5, 0.5).
Source: Brown, Close-Range Camera Calibration, 1971; Kannala and Brandt, A Generic Camera Model, 2006, eq. 6; the models as COLMAP and
OpenCV document them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from surfrecon.errors import InputError

WIDEST = np.tan(np.radians(60))  # a pinhole image of more than 60 degrees to either side is stretched beyond use
MOST_GROWN = 4  # times the image's sides that the frame may have: lenses that photographs are taken with stay below 2
BORDER = 64  # places along each side of the image from which the frame without distortion is found
STAGES, NEWTON_STEPS = 12, 5  # on the way from the axis to a place, and in each
CONVERGED = 1e-9  # at depth 1: a millionth of a pixel
STEP = 1e-6  # for the differences that stand for derivatives
STRIP = 256  # rows resampled at a time
FOLDS = "its lens distortion folds the image over itself within the frame: the coefficients are wrong, or of another lens model"


@dataclass(frozen=True)
class Lens:
    """Attributes: k of the numerator, d of the denominator, tangential p1 and p2, and whether u is measured in angles (fisheye)."""

    radial: tuple[float, ...] = ()
    denominator: tuple[float, ...] = ()
    tangential: tuple[float, float] = (0.0, 0.0)
    fisheye: bool = False

    def is_pinhole(self) -> bool:
        return not (self.fisheye or any(self.radial) or any(self.denominator) or any(self.tangential))

    def distorted(self, u: np.ndarray) -> np.ndarray:
        square = (u**2).sum(axis=1)
        powers = lambda factors: 1 + sum(factor * square ** (i + 1) for i, factor in enumerate(factors))
        moved = u * (powers(self.radial) / powers(self.denominator) * np.ones(len(u)))[:, None]
        p1, p2 = self.tangential
        across = 2 * u[:, 0] * u[:, 1]
        return moved + np.stack([p1 * across + p2 * (square + 2 * u[:, 0] ** 2), p1 * (square + 2 * u[:, 1] ** 2) + p2 * across], axis=1)

    def slopes(self, u: np.ndarray) -> np.ndarray:
        """(N, 2, 2) derivatives of `distorted`: rows are its outputs."""
        along = [(self.distorted(u + step) - self.distorted(u - step)) / (2 * STEP) for step in STEP * np.eye(2)]
        return np.stack(along, axis=2)

    def undistorted(self, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, 2) u whose `distorted` is `seen`, and (N,) whether it was found.

        Newton's method, followed outwards from the axis: of several solutions that of the lens, not one beyond a fold.
        """
        u = np.zeros_like(seen)
        with np.errstate(all="ignore"):  # what runs away is told by `found`
            for share in (np.arange(STAGES) + 1) / STAGES:
                for _ in range(NEWTON_STEPS):
                    slopes = self.slopes(u)
                    slopes[~(np.abs(np.linalg.det(slopes)) > STEP)] = np.eye(2)
                    u = u - np.linalg.solve(slopes, (self.distorted(u) - share * seen)[:, :, None])[:, :, 0]
            found = (np.abs(self.distorted(u) - seen) < CONVERGED).all(axis=1) & (np.linalg.det(self.slopes(u)) > 0)
        return np.where(found[:, None], u, 0), found

    def bent(self, flat: np.ndarray) -> np.ndarray:
        """u of places (N, 2) on the plane at depth 1."""
        length = np.linalg.norm(flat, axis=1, keepdims=True)
        return flat * np.where(length > 0, np.arctan(length) / np.maximum(length, STEP), 1) if self.fisheye else flat

    def flat(self, u: np.ndarray) -> np.ndarray:
        """Places (N, 2) on the plane at depth 1 of u; those beside or behind the camera far out in their direction."""
        if not self.fisheye:
            return u
        angle = np.linalg.norm(u, axis=1, keepdims=True)
        return u * np.where(angle > 0, np.tan(np.minimum(angle, np.arctan(4 * WIDEST))) / np.maximum(angle, STEP), 1)


PINHOLE = Lens()


def pinhole_frame(lens: Lens, intrinsics: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Intrinsics and (width, height) of the largest upright pinhole image that shows nothing from outside the distorted one.

    Its focal lengths are those of the distorted image.

    Raises:
        InputError: the distortion cannot be undone within the frame.
    """
    width, height = size
    along, zeros = np.linspace(0, 1, BORDER), np.zeros(BORDER)
    sides = {"left": (zeros, along), "right": (zeros + 1, along), "top": (along, zeros), "bottom": (along, zeros + 1)}
    flat = {}
    for side, (x, y) in sides.items():
        seen = np.stack([x * width, y * height, np.ones(BORDER)], axis=1) @ np.linalg.inv(intrinsics).T
        u, found = lens.undistorted(seen[:, :2])
        if not (found.all() or lens.fisheye):
            raise InputError(FOLDS)
        far = 4 * WIDEST * seen[:, :2] / np.maximum(np.linalg.norm(seen[:, :2], axis=1, keepdims=True), STEP)
        flat[side] = np.where(found[:, None], lens.flat(u), far)  # outside a fisheye's circle no ray ends
    low = np.maximum([flat["left"][:, 0].max(), flat["top"][:, 1].max()], -WIDEST)
    high = np.minimum([flat["right"][:, 0].min(), flat["bottom"][:, 1].min()], WIDEST)
    focal = np.array([intrinsics[0, 0], intrinsics[1, 1]])
    new = np.round((high - low) * focal).astype(int)
    if not ((new > 0) & (new <= MOST_GROWN * np.array(size))).all():
        raise InputError(FOLDS)
    lattice = np.stack(np.meshgrid(*np.linspace(low, high, BORDER).T), axis=-1).reshape(-1, 2)
    if not (np.linalg.det(lens.slopes(lens.bent(lattice))) > 0).all():
        raise InputError(FOLDS)
    middle = new / 2 - focal * (low + high) / 2
    return np.array([[focal[0], 0, middle[0]], [0, focal[1], middle[1]], [0, 0, 1]]), (int(new[0]), int(new[1]))


def undistort(lens: Lens, source: np.ndarray, target: np.ndarray, size: tuple[int, int]) -> Callable[[np.ndarray, int], np.ndarray]:
    """A function that resamples an image (H, W) or (H, W, C) of a lens with intrinsics `source` to a pinhole's of `target` and `size`.

    Its second argument is the order of interpolation: 1 linear, 0 the nearest pixel.
    """
    width, height = size

    def resampled(image: np.ndarray, order: int) -> np.ndarray:
        result = np.empty((height, width, *image.shape[2:]), image.dtype)
        for start in range(0, height, STRIP):
            rows = np.arange(start, min(start + STRIP, height))
            pixels = np.stack(np.meshgrid(np.arange(width) + 0.5, rows + 0.5), axis=-1).reshape(-1, 2)
            ray = np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(target).T
            seen = np.column_stack([lens.distorted(lens.bent(ray[:, :2])), np.ones(len(pixels))]) @ source.T
            places = seen[:, 1::-1].T - 0.5
            for channel in range(result[..., None].shape[2]):
                pick = (slice(None), slice(None), *([channel] * (image.ndim - 2)))
                values = map_coordinates(image[pick], places, np.float64, order=order, mode="nearest").reshape(len(rows), width)
                result[(rows, *pick[1:])] = np.round(values) if image.dtype.kind in "iu" else values
        return result

    return resampled
