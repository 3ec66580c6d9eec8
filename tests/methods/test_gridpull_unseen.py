"""What nobody scanned: hollows that hide stay open, sides that were overlooked are closed flat."""

import numpy as np
import pytest
import torch

from surfrecon.geometry import PointCloud
from surfrecon.methods.gridpull import GridPull
from surfrecon.run import Run

WALL, BORE, TOP, FLOOR, SEEN = 0.5, 0.25, 0.5, -0.25, 0.2  # of a cup: radii, heights, and how deep its bore was seen


def disc(count: int, inner: float, outer: float, height: float, generator: np.random.Generator) -> np.ndarray:
    radius = np.sqrt(generator.uniform(inner**2, outer**2, count))
    angle = generator.uniform(0, 2 * np.pi, count)
    return np.c_[radius * np.cos(angle), radius * np.sin(angle), np.full(count, height)]


def tube(count: int, radius: float, low: float, high: float, generator: np.random.Generator) -> np.ndarray:
    angle = generator.uniform(0, 2 * np.pi, count)
    return np.c_[radius * np.cos(angle), radius * np.sin(angle), generator.uniform(low, high, count)]


def cup(per_area: float) -> np.ndarray:
    """A cylinder with a blind bore, of which the floor and the lower wall stay unseen."""
    draw = np.random.default_rng(5)
    count = lambda area: round(per_area * area)
    return np.concatenate([
        disc(count(np.pi * WALL**2), 0, WALL, -TOP, draw),
        disc(count(np.pi * (WALL**2 - BORE**2)), BORE, WALL, TOP, draw),
        tube(count(2 * np.pi * WALL * 2 * TOP), WALL, -TOP, TOP, draw),
        tube(count(2 * np.pi * BORE * (TOP - SEEN)), BORE, SEEN, TOP, draw),
    ])


def along_the_axis(points: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Heights and the field's values there."""
    z = np.linspace(low, high, 200)
    field = GridPull(finest=64).fit(PointCloud(points), Run(device="cpu"))
    x = torch.as_tensor(np.c_[np.zeros_like(z), np.zeros_like(z), z], dtype=torch.float32)
    return z, field(x).numpy()


def test_a_bore_goes_on_where_its_floor_hides():
    z, value = along_the_axis(cup(4000), -0.45, 0.45)
    bottom = z[value < 0].max()
    assert bottom < SEEN - 0.5 * BORE  # half a radius below the last data
    assert bottom > -TOP + 0.05  # and it doesn't break through


def test_a_side_that_no_sensor_looked_at_is_closed_flat():
    ball = np.random.default_rng(6).normal(size=(8000, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    radius, cut = 0.7, -0.25
    z, value = along_the_axis(radius * ball[radius * ball[:, 2] > cut], -0.8, 0.3)
    rim = np.sqrt(radius**2 - cut**2)
    assert z[value < 0].min() == pytest.approx(cut, abs=0.35 * rim)
