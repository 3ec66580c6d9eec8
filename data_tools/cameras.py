"""Cameras around an object: evenly over the sphere or in rings, each looking at the middle of the object, which just fits its image.

Axes and pixels as in surfrecon.views. Cameras are handed out as Views of black images, which the renderer then fills.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from surfrecon.errors import InputError
from surfrecon.pictures import FRAME, Camera
from surfrecon.views import Views

FOCAL = 1.25  # of the image's longer side, by default: a field of view of 44 degrees
LARGEST_SIDE = 1 << 14  # pixels


def ring_directions(count: int, elevations: Sequence[float]) -> np.ndarray:
    """(count, 3) unit vectors on circles of latitude, z being up: each ring gets its share by length, odd rings are turned by half a step.

    Args:
        elevations: radians above the equator, in [-pi/2, pi/2].
    Raises:
        InputError: no ring, more rings than cameras, an elevation beyond a pole.
    """
    angles = np.asarray(elevations, float)
    if not 1 <= len(angles) <= count:
        raise InputError(f"{count} cameras need 1 to {count} rings to stand in, got {len(angles)}")
    if not (np.abs(angles) <= np.pi / 2).all():
        raise InputError(f"elevations must be within 90 degrees of the equator, got {np.degrees(angles).round(3).tolist()}")
    length = np.maximum(np.cos(angles), np.finfo(float).tiny)
    wanted = (count - len(angles)) * length / length.sum()
    sizes = 1 + np.floor(wanted).astype(int)
    sizes[np.argsort(np.floor(wanted) - wanted, kind="stable")[: count - sizes.sum()]] += 1
    rings = []
    for ring, (angle, size) in enumerate(zip(angles, sizes)):
        turn = 2 * np.pi * (np.arange(size) + ring % 2 / 2) / size
        rings.append(np.stack([np.cos(angle) * np.cos(turn), np.cos(angle) * np.sin(turn), np.full(size, np.sin(angle))], axis=1))
    return np.concatenate(rings)


def cameras_around(
    points: np.ndarray,
    directions: np.ndarray,
    *,
    size: tuple[int, int] = (512, 512),
    focal: float | None = None,
    up: tuple[float, float, float] = (0.0, 0.0, 1.0),
) -> Views:
    """Views of black images that look at the middle of the points' box, each just holding the ball around it that holds the points.

    Args:
        points: (N, 3) of the object, world frame; of all frames where it moves.
        directions: (V, 3) unit vectors from the object to the cameras.
        size: width and height in pixels.
        focal: in pixels; None takes FOCAL times the longer side.
        up: world direction that is up in the images; a camera that looks along it takes another axis.
    Raises:
        InputError: no point or no camera, sizes or a focal length out of range.
    """
    if not len(points) or not len(directions):
        raise InputError(f"cameras need an object and directions, got {len(points)} points and {len(directions)} directions")
    width, height = size
    if not (1 <= min(size) and max(size) <= LARGEST_SIDE):
        raise InputError(f"images must be 1 to {LARGEST_SIDE} pixels a side, got {width} x {height}")
    focal = FOCAL * max(size) if focal is None else float(focal)
    if not 0 < focal < np.inf:
        raise InputError(f"the focal length must be > 0 pixels, got {focal}")
    centre = (points.min(0) + points.max(0)) / 2
    radius = np.linalg.norm(points - centre, axis=1).max()
    distance = FRAME * radius / np.sin(np.arctan2(min(size) / 2, focal))
    axes = np.stack([Camera(toward=tuple(-direction), up=up).axes() for direction in np.asarray(directions, float)])
    eyes = centre - distance * axes[:, 2]
    return Views(
        images=tuple(np.zeros((height, width, 3), np.uint8) for _ in axes),
        intrinsics=np.tile([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], (len(axes), 1, 1)),
        cam_from_world=np.concatenate([axes, -np.einsum("vij,vj->vi", axes, eyes)[:, :, None]], axis=2),
        names=tuple(f"{v:03d}.png" for v in range(len(axes))),
    )
