"""Camera matrices in text and in factors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.linalg import rq

from surfrecon.errors import InputError
from surfrecon.io.numbers import parse_numbers

LONGEST_TEXT = 2**24  # bytes: a camera's file holds a few hundred, a list of cameras some hundred thousand
NO_SCALE = 1e-12  # of a projection's third row, relative: below it has no depth


def read_text(path: Path) -> str:
    """A text file of cameras.

    Raises:
        InputError: it is binary, or far longer than such a file can be.
    """
    with open(path, "rb") as file:
        data = file.read(LONGEST_TEXT + 1)
    if len(data) > LONGEST_TEXT or b"\0" in data:
        raise InputError(f"{path.name} is no text file of cameras")
    return data.decode("utf-8-sig", errors="replace")


def numbers(words: list[str] | str, count: int, what: str) -> np.ndarray:
    """(count,) finite numbers of a text.

    Raises:
        InputError: another count, a word that is no number, NaN or infinity; the sentence calls them by `what`.
    """
    text = words if isinstance(words, str) else " ".join(words)
    try:
        values = parse_numbers(text.encode())
    except InputError as error:
        raise InputError(f"{what}: {error}") from None
    if len(values) != count:
        raise InputError(f"{what} must be {count} numbers, got {len(values)}")
    if not np.isfinite(values).all():
        raise InputError(f"{what} must be finite, got {text.strip()[:80]!r}")
    return values


def decomposed(projection: np.ndarray, whose: str) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics (3, 3) and cam_from_world (4, 4) of P = K [R | t], up to scale and sign of P.

    Raises:
        InputError: P is not finite, or its left part singular.
    """
    if not np.isfinite(projection).all():
        raise InputError(f"the projection matrix of {whose} holds NaN or infinity")
    left = projection[:, :3]
    size = np.abs(left).max()
    if size == 0 or np.linalg.norm(left[2]) <= NO_SCALE * size or np.linalg.matrix_rank(left) < 3:
        raise InputError(f"the projection matrix of {whose} is singular, so it is no camera's: {projection.round(4).tolist()}")
    if np.linalg.det(left) < 0:
        projection = -projection  # the same camera: a projection matrix has no sign
    upper, rotation = rq(projection[:, :3])
    signs = np.diag(np.sign(np.diag(upper)))
    upper, rotation = upper @ signs, signs @ rotation
    translation = np.linalg.solve(upper, projection[:, 3])
    intrinsics = np.triu(upper / upper[2, 2])
    return intrinsics, np.block([[rotation, translation[:, None]], [np.zeros((1, 3)), 1.0]])
