"""Keypoints of grey images and their matches, light enough to check cameras with: numpy and scipy alone.

Letters: H and W rows and columns, K keypoints. Blobs are extrema of differences of Gaussians over place and scale, described by histograms
of gradient directions turned to the strongest.
Source: Lowe, Distinctive Image Features from Scale-Invariant Keypoints, 2004, sections 3 to 6; Arandjelovic and Zisserman, Three Things
Everyone Should Know to Improve Object Retrieval, 2012, section 3, for the comparison of square roots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter, minimum_filter

FINEST = 1.6  # standard deviation of the first Gaussian, pixels
LEVELS = 7  # Gaussians, each sqrt(2) as wide as the one before
CONTRAST = 0.006  # of a blob, of the image's range of tones: fainter ones are noise
BRIGHT = 0.995  # quantile of the grey values that counts as white: photographs may be dark
EDGE = 10.0  # ratio of principal curvatures above which a blob lies on an edge, along which its place is arbitrary
MOST = 1000  # keypoints of one image, strongest first
CELLS, DIRECTIONS = 4, 8  # of a descriptor: 4 x 4 histograms of 8 directions
SAMPLES = 16  # gradients across a descriptor's window
CELL_WIDTH = 3.0  # standard deviations of the keypoint's Gaussian
TURNS = 36  # bins among which the strongest direction is sought
DISTINCT = 0.8  # a match must be this much nearer than the second best


@dataclass(frozen=True, eq=False)
class Keypoints:
    """pixels (K, 2), (0, 0) at the corner of the image; descriptors (K, 128) float32 of unit length."""

    pixels: np.ndarray
    descriptors: np.ndarray


def keypoints(grey: np.ndarray, *, most: int = MOST, contrast: float = CONTRAST) -> Keypoints:
    """The strongest keypoints of a grey image (H, W) >= 0, whatever its exposure.

    Args:
        most: number.
        contrast: least, of the image's range of tones.
    """
    grey = np.sqrt(np.asarray(grey, np.float32))  # as noise in light grows: shadows count as much as what is lit
    grey = np.minimum(grey / max(np.quantile(grey, BRIGHT), np.finfo(np.float32).tiny), 1)
    sigmas = FINEST * np.sqrt(2.0) ** np.arange(LEVELS)
    smooth = np.stack([gaussian_filter(grey, sigma, truncate=3) for sigma in sigmas])
    level, row, column, offset = _blobs(np.diff(smooth, axis=0), most, contrast)
    pixels, descriptors = [np.empty((0, 2))], [np.empty((0, CELLS * CELLS * DIRECTIONS), np.float32)]
    for at in np.unique(level):
        here = level == at
        gradient = np.stack(np.gradient(smooth[at])[::-1])
        places = np.stack([column[here], row[here]], axis=1).astype(float)
        pixels.append(places + offset[here] + 0.5)
        descriptors.append(_descriptors(gradient, places, sigmas[at]))
    return Keypoints(np.concatenate(pixels), np.concatenate(descriptors))


def matches(one: Keypoints, other: Keypoints) -> np.ndarray:
    """(M, 2) rows of keypoints that are each other's nearest, and clearly nearer than the second best."""
    if min(len(one.pixels), len(other.pixels)) < 2:
        return np.empty((0, 2), int)
    alike = one.descriptors @ other.descriptors.T
    best, back = alike.argmax(1), alike.argmax(0)
    rows = np.arange(len(best))
    first, second = -np.partition(-alike, 1, axis=1)[:, :2].T
    distinct = 1 - first < DISTINCT**2 * (1 - second)  # squared distances of unit vectors are 2 - 2 cos
    chosen = (back[best] == rows) & distinct
    return np.column_stack([rows[chosen], best[chosen]])


def _blobs(difference: np.ndarray, most: int, contrast: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Level, row and column of the strongest extrema of (L, H, W) that aren't on edges, nor at a border or at the end of the scales.

    Last comes (K, 2), how far to the right and down the peak of a parabola through each and its neighbours lies.
    """
    strength = np.abs(difference)
    extreme = (difference == maximum_filter(difference, 3)) | (difference == minimum_filter(difference, 3))
    extreme &= strength > contrast
    extreme[[0, -1]] = extreme[:, [0, -1]] = extreme[:, :, [0, -1]] = False
    level, row, column = np.nonzero(extreme)
    at = lambda down, right: difference[level, row + down, column + right]
    along, down = at(0, 1) + at(0, -1) - 2 * at(0, 0), at(1, 0) + at(-1, 0) - 2 * at(0, 0)
    mixed = (at(1, 1) + at(-1, -1) - at(1, -1) - at(-1, 1)) / 4
    round_enough = EDGE * (along + down) ** 2 < (EDGE + 1) ** 2 * (along * down - mixed**2)
    order = np.argsort(-strength[level, row, column] * round_enough, kind="stable")[: min(most, int(round_enough.sum()))]
    slope = np.stack([at(0, 1) - at(0, -1), at(1, 0) - at(-1, 0)], axis=1)[order] / 2
    bend = np.stack([along, mixed, mixed, down], axis=1)[order].reshape(-1, 2, 2)
    offset = -np.linalg.solve(bend, slope[:, :, None])[:, :, 0]
    return level[order], row[order], column[order], np.clip(offset, -0.5, 0.5)


def _descriptors(gradient: np.ndarray, places: np.ndarray, sigma: float) -> np.ndarray:
    """(K, 128) of keypoints at (K, 2) columns and rows of a level, from its gradient (2, H, W)."""
    line = (np.arange(SAMPLES) + 0.5) / SAMPLES - 0.5
    window = CELL_WIDTH * CELLS * sigma * np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    weight = np.exp(-2 * (window**2).sum(1) / (CELL_WIDTH * CELLS * sigma / 2) ** 2)
    size, angle = _polar(gradient, places[:, None] + window)
    bins = np.floor(angle * TURNS / (2 * np.pi)).astype(int) % TURNS
    votes = np.zeros((len(places), TURNS))
    np.add.at(votes, (np.arange(len(places))[:, None], bins), size * weight)
    votes = votes + np.roll(votes, 1, 1) + np.roll(votes, -1, 1)
    turn = (votes.argmax(1) + 0.5) * 2 * np.pi / TURNS

    cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
    turned = np.stack([cos * window[:, 0] - sin * window[:, 1], sin * window[:, 0] + cos * window[:, 1]], axis=-1)
    size, angle = _polar(gradient, places[:, None] + turned)
    step = (angle - turn[:, None]) * DIRECTIONS / (2 * np.pi) % DIRECTIONS
    away = np.abs(step[..., None] - np.arange(DIRECTIONS))
    direction = np.maximum(1 - np.minimum(away, DIRECTIONS - away), 0)  # shared between the two nearest
    middles = (np.arange(CELLS) + 0.5) / CELLS - 0.5
    share = np.maximum(1 - CELLS * np.abs(line[:, None] - middles), 0)
    cell = np.einsum("ya,xb->yxab", share, share).reshape(SAMPLES**2, CELLS**2)
    histograms = np.einsum("ks,ksd,sc->kcd", size * np.sqrt(weight), direction, cell, optimize=True).reshape(len(places), -1)
    histograms /= np.maximum(histograms.sum(1, keepdims=True), np.finfo(float).tiny)
    return np.sqrt(histograms).astype(np.float32)


def _polar(gradient: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Length and angle (K, S) of the gradient at (K, S, 2) columns and rows; zero outside the image."""
    height, width = gradient.shape[1:]
    column, row = np.moveaxis(np.rint(places).astype(int), -1, 0)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    x, y = gradient[:, np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    return np.hypot(x, y) * inside, np.arctan2(y, x)
