"""PSNR by its closed form, SSIM by a slow loop over its definition."""

import numpy as np
import pytest

from surfrecon.errors import InputError
from surfrecon.image_quality import noise, psnr, ssim

RANDOM = np.random.default_rng(0)


def pair(height: int = 19, width: int = 23) -> tuple[np.ndarray, np.ndarray]:
    truth = RANDOM.random((height, width, 3))
    return np.clip(truth + 0.2 * RANDOM.standard_normal(truth.shape), 0, 1), truth


@pytest.mark.parametrize("difference", [1.0, 0.1, 0.01])
def test_psnr_of_a_constant_difference_is_minus_20_log10_of_it(difference):
    assert psnr(np.full((4, 5, 3), difference), np.zeros((4, 5, 3))) == pytest.approx(-20 * np.log10(difference))


def test_psnr_of_equal_images_is_infinite():
    assert psnr(pair()[1][:3], pair()[1][:3] * 0 + 1) > 0
    image = np.full((3, 3, 3), 7, np.uint8)
    assert psnr(image, image) == np.inf


def test_bytes_are_divided_by_255_and_may_meet_floats():
    image = RANDOM.integers(0, 256, (12, 12, 3), dtype=np.uint8)
    assert psnr(image, np.zeros((12, 12, 3))) == pytest.approx(psnr(image / 255, np.zeros((12, 12, 3))))
    assert ssim(image, image / 255) == pytest.approx(1)


def test_psnr_within_a_mask_leaves_out_what_is_outside():
    truth = np.zeros((6, 6, 3))
    image = truth.copy()
    image[:3] = 0.1
    image[3:] = 0.9
    mask = np.zeros((6, 6), bool)
    mask[:3] = True
    assert psnr(image, truth, mask) == pytest.approx(20)


def test_ssim_is_the_slow_loops():
    image, truth = pair()
    near = np.arange(11) - 5
    taps = np.exp(-(near[:, None] ** 2 + near**2) / (2 * 1.5**2))
    taps /= taps.sum()
    found = np.full(truth.shape, np.nan)
    for row in range(5, truth.shape[0] - 5):
        for column in range(5, truth.shape[1] - 5):
            for channel in range(3):
                a, b = (item[row - 5 : row + 6, column - 5 : column + 6, channel] for item in (image, truth))
                mean_a, mean_b = (taps * a).sum(), (taps * b).sum()
                var_a, var_b = (taps * (a - mean_a) ** 2).sum(), (taps * (b - mean_b) ** 2).sum()
                both = (taps * (a - mean_a) * (b - mean_b)).sum()
                top = (2 * mean_a * mean_b + 0.01**2) * (2 * both + 0.03**2)
                found[row, column, channel] = top / ((mean_a**2 + mean_b**2 + 0.01**2) * (var_a + var_b + 0.03**2))
    assert ssim(image, truth) == pytest.approx(np.nanmean(found), abs=1e-12)
    mask = np.zeros(truth.shape[:2], bool)
    mask[2:9, 6:14] = True
    assert ssim(image, truth, mask) == pytest.approx(np.nanmean(found[mask]), abs=1e-12)


def test_ssim_of_equal_images_is_one_and_of_a_negative_is_below_zero():
    truth = pair()[1]
    assert ssim(truth, truth) == pytest.approx(1)
    assert ssim(1 - truth, truth) < 0


@pytest.mark.parametrize(
    ("measure", "shape", "other", "mask", "says"),
    [
        (psnr, (4, 4, 3), (4, 5, 3), None, "must both be"),
        (psnr, (4, 4), (4, 4), None, "must both be"),
        (psnr, (4, 4, 3), (4, 4, 3), np.zeros((4, 4), bool), "leaves no pixel"),
        (psnr, (4, 4, 3), (4, 4, 3), np.ones((4, 4)), "must be bool"),
        (ssim, (10, 20, 3), (10, 20, 3), None, "11 x 11"),
    ],
)
def test_what_cannot_be_compared_is_refused(measure, shape, other, mask, says):
    with pytest.raises(InputError, match=says):
        measure(np.zeros(shape), np.zeros(other), mask)


@pytest.mark.parametrize("calm", [0.2, 0.5])
@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0])
def test_noise_of_a_smooth_picture_is_told_and_edges_hardly_count(sigma, calm):
    y, x = np.mgrid[:200, :300] / 50
    smooth = 100 + 60 * np.sin(x) * np.cos(y)
    smooth[:, 250:] += 80 * (np.arange(50) % 2)
    grey = smooth + np.random.default_rng(0).normal(size=smooth.shape) * sigma
    assert noise(grey, calm=calm) == pytest.approx(sigma, rel=0.35)
    assert noise(grey, np.arange(300)[None] < np.full((200, 1), 240), calm=calm) == pytest.approx(sigma, rel=0.05)
    assert noise(grey[:2]) == np.inf
