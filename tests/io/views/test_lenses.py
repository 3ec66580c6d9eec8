"""Distortion and its inverse, and the frame that is left without it."""

import numpy as np
import pytest

from surfrecon.errors import InputError
from surfrecon.io.views.lenses import PINHOLE, Lens, pinhole_frame, undistort

K = np.array([[300.0, 0, 210], [0, 310, 145], [0, 0, 1]])
SIZE = (400, 300)
LENSES = {
    "barrel": Lens((-0.25, 0.05)),
    "pincushion": Lens((0.2,)),
    "tangential": Lens((0.1, -0.05), tangential=(0.01, -0.02)),
    "rational": Lens((0.3, 0.1, 0.02), denominator=(0.2, 0.05, 0.01)),
    "fisheye": Lens((-0.02, 0.01, 0.0, 0.0), fisheye=True),
    "equidistant": Lens(fisheye=True),
}
each_lens = pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES.keys())


def lattice(low: float, high: float) -> np.ndarray:
    line = np.linspace(low, high, 21)
    return np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)


@each_lens
def test_undistorted_is_the_inverse_of_distorted(lens):
    u = lattice(-0.8, 0.8)
    back, found = lens.undistorted(lens.distorted(u))
    assert found.all()
    np.testing.assert_allclose(back, u, atol=1e-8)


@each_lens
def test_flat_is_the_inverse_of_bent(lens):
    np.testing.assert_allclose(lens.flat(lens.bent(lattice(-1.5, 1.5))), lattice(-1.5, 1.5), atol=1e-12)


@each_lens
def test_slopes_match_central_differences(lens):
    u, step = lattice(-0.7, 0.7), 1e-5
    for axis, along in enumerate(np.eye(2) * step):
        np.testing.assert_allclose(
            lens.slopes(u)[:, :, axis], (lens.distorted(u + along) - lens.distorted(u - along)) / (2 * step), atol=1e-8
        )


@each_lens
def test_the_frame_shows_nothing_from_outside_and_could_not_be_larger(lens):
    intrinsics, (width, height) = pinhole_frame(lens, K, SIZE)
    x, y = np.linspace(0, width, 201), np.linspace(0, height, 201)
    sides = {"left": np.c_[0 * y, y], "right": np.c_[0 * y + width, y], "top": np.c_[x, 0 * x], "bottom": np.c_[x, 0 * x + height]}
    for side, pixels in sides.items():
        rays = np.column_stack([pixels, np.ones(201)]) @ np.linalg.inv(intrinsics).T
        seen = np.column_stack([lens.distorted(lens.bent(rays[:, :2])), np.ones(201)]) @ K.T
        away = {"left": seen[:, 0], "right": SIZE[0] - seen[:, 0], "top": seen[:, 1], "bottom": SIZE[1] - seen[:, 1]}[side]
        assert -1 < away.min() < 1  # the frame's sides are rounded to whole pixels
    assert intrinsics[0, 0] == K[0, 0] and intrinsics[1, 1] == K[1, 1]


def test_a_pinhole_is_left_as_it_is():
    intrinsics, size = pinhole_frame(PINHOLE, K, SIZE)
    np.testing.assert_allclose(intrinsics, K, atol=1e-9)
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    assert size == SIZE and (undistort(PINHOLE, K, intrinsics, size)(image, 1) == image).all()
    assert PINHOLE.is_pinhole() and not any(lens.is_pinhole() for lens in LENSES.values())


@each_lens
def test_straight_lines_of_the_world_are_straight_in_the_image(lens):
    """An image drawn through the lens of the plane's coordinate x at depth 1: without distortion it is linear in the column."""
    quarter = np.diag([0.25, 0.25, 1]) @ K
    y, x = np.indices((75, 100)) + 0.5
    rays = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3) @ np.linalg.inv(quarter).T
    u, found = lens.undistorted(rays[:, :2])
    assert found.all()
    drawn = lens.flat(u)[:, 0].reshape(75, 100)
    intrinsics, size = pinhole_frame(lens, quarter, (100, 75))
    straight = undistort(lens, quarter, intrinsics, size)(drawn, 1)
    expected = (np.arange(size[0]) + 0.5 - intrinsics[0, 2]) / intrinsics[0, 0]
    inner = (slice(2, -2), slice(2, -2))
    assert np.abs(straight - expected)[inner].max() < 5e-4  # of bilinear interpolation: 0.04 pixels


def test_a_fisheye_beyond_the_horizon_gives_a_frame_of_at_most_60_degrees():
    wide = np.array([[80.0, 0, 200], [0, 80, 150], [0, 0, 1]])  # 143 degrees to either side
    intrinsics, (width, height) = pinhole_frame(Lens(fisheye=True), wide, SIZE)
    tangent = np.tan(np.radians(60))
    np.testing.assert_allclose([width / 2 / 80, height / 2 / 80], tangent, atol=0.01)
    np.testing.assert_allclose(intrinsics[:2, 2], [width / 2, height / 2], atol=0.5)


@pytest.mark.parametrize("lens", [Lens((-2.0,)), Lens((0.0, -20.0)), Lens((np.nan,)), Lens((1e30,))])
def test_coefficients_that_fold_the_image_are_refused(lens):
    with pytest.raises(InputError, match="folds the image over itself"):
        pinhole_frame(lens, K, SIZE)
