"""Views that tests share: a textured ellipsoid, drawn ray by ray from cameras around it, with exact masks and depths."""

import numpy as np
from scipy.ndimage import gaussian_filter

from surfrecon.views import Views

AXES = np.array([1.0, 0.7, 0.5])  # half axes of the ellipsoid
CENTRE = np.array([3.0, -2.0, 5.0])  # world
SIZE = (160, 120)


def poses(count: int, distance: float = 4.0) -> np.ndarray:
    """(V, 3, 4) cam_from_world on a ring that rises and falls, looking past the centre by a little, rolled a little."""
    result = np.empty((count, 3, 4))
    for v in range(count):
        angle = 2 * np.pi * v / count
        eye = distance * np.array([np.cos(angle), np.sin(angle), 0.4 * np.sin(2 * angle) + 0.3])
        forward = np.array([0.05 * np.cos(3 * angle), 0.04, 0.03]) - eye
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.05 * np.sin(5 * angle), 0.1, 1.0])
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(forward, right), forward])
        result[v, :, :3], result[v, :, 3] = axes, -axes @ (eye + CENTRE)
    return result


def ellipsoid(count: int = 12, *, focal: float = 240.0, size: tuple[int, int] = SIZE) -> Views:
    """V views of the ellipsoid, its texture band-limited noise in space."""
    width, height = size
    noise = gaussian_filter(np.random.default_rng(1).normal(size=(96, 96, 96)).astype(np.float32), 1.2, mode="wrap")
    noise = (noise - noise.min()) / (noise.max() - noise.min())
    intrinsics = np.array([[focal, 0, width / 2 + 3.2], [0, 1.02 * focal, height / 2 - 2.1], [0, 0, 1]])
    blank = [np.zeros((height, width), np.uint8)] * count
    cameras = Views(tuple(blank), np.tile(intrinsics, (count, 1, 1)), poses(count))
    images, masks, depths = [], [], []
    for view in range(count):
        origins, directions = cameras.rays(view, cameras.pixel_centres(view))
        o, d = (origins - CENTRE) / AXES, directions / AXES
        a, b, c = (d * d).sum(1), (o * d).sum(1), (o * o).sum(1) - 1
        hit = b * b > a * c
        t = (-b - np.sqrt(np.where(hit, b * b - a * c, 0))) / a
        points = origins + t[:, None] * directions
        x, y, z = np.floor((points - CENTRE) * 48).astype(int).T % 96
        images.append(np.where(hit, 20 + 230 * noise[x, y, z], 0).astype(np.uint8).reshape(height, width))
        masks.append(hit.reshape(height, width))
        depths.append(np.where(hit, t * (directions @ cameras.directions[view]), 0).astype(np.float32).reshape(height, width))
    return Views(tuple(images), cameras.intrinsics, cameras.cam_from_world, masks=tuple(masks), depths=tuple(depths))
