"""Rotations as files hold them."""

from __future__ import annotations

import numpy as np

from surfrecon.errors import InputError


def rotation(quaternion: np.ndarray, whose: str) -> np.ndarray:
    """(3, 3) of a quaternion (w, x, y, z), whatever its length.

    Raises:
        InputError: it is zero, NaN or infinite; the sentence says whose.
    """
    length = np.linalg.norm(quaternion)
    if not (np.isfinite(length) and length > 0):
        raise InputError(f"the quaternion of {whose} must be finite and not zero, got {np.asarray(quaternion).tolist()}")
    w, x, y, z = np.asarray(quaternion) / length
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross
