"""How like a photograph an image is: PSNR and SSIM; and how noisy one is.

Letters: H and W rows and columns. Images are (H, W, 3), uint8 or floating in [0, 1], both sRGB as files hold them; both measures are
those of encoded values, as papers print them.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d
from scipy.special import ndtri

from surfrecon.errors import InputError

LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue in grey: Rec. 601
WINDOW, SIGMA = 11, 1.5  # pixels, of SSIM's Gaussian
K1, K2 = 0.01, 0.03  # of SSIM: where means and contrasts are so far below the full range, differences hardly count


def psnr(image: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Peak signal to noise ratio in dB, 10 log10(1 / mean squared difference), over all pixels and channels; infinite for equal images.

    Args:
        image, truth: (H, W, 3).
        mask: (H, W) bool of the pixels that count; None for all.
    Raises:
        InputError: shapes that differ, or an empty mask.
    """
    image, truth = _pair(image, truth)
    kept = _kept(mask, truth)
    error = float(np.mean((image[kept] - truth[kept]) ** 2))
    return -10 * float(np.log10(error)) if error > 0 else float("inf")


def ssim(image: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Structural similarity, in [-1, 1]: the mean over windows of each channel, and over the three channels.

    Windows are 11 x 11 Gaussians of sigma 1.5, all of which lie within the image.

    Args:
        image, truth: (H, W, 3).
        mask: (H, W) bool; windows count whose middle is in it.
    Raises:
        InputError: shapes that differ, images smaller than a window, no window with its middle in the mask.
    Source: Wang, Bovik, Sheikh and Simoncelli, Image quality assessment: from error visibility to structural similarity, 2004, eq. 13.
    """
    image, truth = _pair(image, truth)
    if min(truth.shape[:2]) < WINDOW:
        raise InputError(f"SSIM needs images of {WINDOW} x {WINDOW} pixels or more, got {truth.shape[1]} x {truth.shape[0]}")
    half = WINDOW // 2
    whole = slice(half, -half)
    kept = _kept(None if mask is None else np.asarray(mask)[whole, whole], truth[whole, whole])
    blurred = lambda values: _gaussian(values)[whole, whole]
    mean_a, mean_b = blurred(image), blurred(truth)
    var_a, var_b = blurred(image**2) - mean_a**2, blurred(truth**2) - mean_b**2
    both = blurred(image * truth) - mean_a * mean_b
    c1, c2 = K1**2, K2**2
    like = (2 * mean_a * mean_b + c1) * (2 * both + c2) / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return float(like[kept].mean())


def _gaussian(values: np.ndarray) -> np.ndarray:
    taps = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / SIGMA) ** 2)
    taps /= taps.sum()
    return correlate1d(correlate1d(values, taps, axis=0), taps, axis=1)


def noise(grey: np.ndarray, mask: np.ndarray | None = None, *, calm: float = 0.5) -> float:
    """Standard deviation of the noise of a picture (H, W), at most: by second differences, which pictures without noise have few of.

    Args:
        mask: (H, W) bool of the pixels that count; None for all.
        calm: share of them, the calmest, that tells it; the others may show edges or fine texture.
    Returns:
        In the picture's units; infinite where there is nothing to tell it from.
    Source: Immerkaer, Fast noise variance estimation, 1996, with a quantile in place of the mean: edges count less.
    """
    across = grey[:, 2:] - 2 * grey[:, 1:-1] + grey[:, :-2]
    both = np.abs(across[2:] - 2 * across[1:-1] + across[:-2])
    both = both.ravel() if mask is None else both[mask[1:-1, 1:-1]]
    return float(np.quantile(both, calm) / (6 * ndtri((1 + calm) / 2))) if len(both) else float("inf")  # 6: length of the filter


def _pair(image: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if np.shape(image) != np.shape(truth) or np.ndim(truth) != 3 or np.shape(truth)[2] != 3:
        raise InputError(f"images to compare must both be (H, W, 3), got {np.shape(image)} and {np.shape(truth)}")
    return as_float(image), as_float(truth)


def as_float(image: np.ndarray) -> np.ndarray:
    """An image in [0, 1], float64, of one that is uint8 or floating."""
    image = np.asarray(image)
    return image / 255.0 if image.dtype == np.uint8 else image.astype(float)


def _kept(mask: np.ndarray | None, truth: np.ndarray) -> np.ndarray:
    if mask is None:
        return np.ones(truth.shape[:2], bool)
    mask = np.asarray(mask)
    if mask.shape != truth.shape[:2] or mask.dtype != np.bool_:
        raise InputError(f"the mask of an image must be bool and as large as it, got {mask.shape} of {mask.dtype} for {truth.shape[:2]}")
    if not mask.any():
        raise InputError("the mask leaves no pixel to compare")
    return mask
