"""Views that tests share: a plane or a sphere drawn ray by ray from a bow of cameras, with a texture fixed in space."""

import numpy as np

from surfrecon.geometry import Similarity
from surfrecon.views import Views

SIZE, FOCAL = (160, 120), 200.0
DISTANCE = 4.0
WAVES = np.random.default_rng(5).normal(size=(60, 3))
WAVES *= np.random.default_rng(6).uniform(6, 40, size=(60, 1)) / np.linalg.norm(WAVES, axis=1, keepdims=True)  # per unit; a pixel is 0.02
PHASES = np.random.default_rng(7).uniform(0, 2 * np.pi, size=60)


def texture(points: np.ndarray) -> np.ndarray:
    """(N,) uint8: waves in space, all several pixels long."""
    return np.clip(127.5 + 17 * np.sin(points @ WAVES.T + PHASES).sum(1), 0, 255).astype(np.uint8)


def drawn(angles: list[float], hit, *, color: bool = False, offset: float = 0.0) -> Views:
    """Views from a bow of cameras that look at the origin; hit(origins, directions) gives lengths, NaN beside the object."""
    width, height = SIZE
    intrinsics = np.array([[FOCAL, 0, width / 2 + 1.3], [0, FOCAL, height / 2 - 0.7], [0, 0, 1.0]])
    poses = np.zeros((len(angles), 3, 4))
    for pose, angle in zip(poses, np.radians(angles)):
        pose[:, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        pose[:, 3] = (0, 0, DISTANCE)
    blank = [np.zeros((height, width), np.uint8)] * len(angles)
    cameras = Views(tuple(blank), np.tile(intrinsics, (len(angles), 1, 1)), poses)
    images, masks, depths = [], [], []
    for view in range(len(angles)):
        origins, directions = cameras.rays(view, cameras.pixel_centres(view))
        length = hit(origins, directions)
        known = np.isfinite(length)
        length = np.where(known, length, 0)
        grey = np.where(known, texture(origins + length[:, None] * directions), 0).astype(np.uint8).reshape(height, width)
        images.append(np.stack([grey, 255 - grey // 2, grey], axis=-1) if color else grey)
        masks.append(known.reshape(height, width))
        depths.append((length * (directions @ cameras.directions[view])).astype(np.float32).reshape(height, width))
    views = Views(tuple(images), cameras.intrinsics, poses, masks=tuple(masks), depths=tuple(depths))
    return views.transformed(Similarity(1.0, np.full(3, offset)))


def plane(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Lengths to the plane through the origin that leans by 20 degrees."""
    normal = np.array([0.0, np.sin(np.radians(20)), -np.cos(np.radians(20))])
    return -(origins @ normal) / (directions @ normal)


def sphere(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Lengths to the unit sphere."""
    b, c = (origins * directions).sum(1), (origins * origins).sum(1) - 1
    with np.errstate(invalid="ignore"):
        return -b - np.sqrt(b * b - c)


BOW = [-24.0, -12.0, 0.0, 12.0, 24.0]
