"""Middlebury's *_par.txt: a count, then "image k11 ... k33 r11 ... r33 t1 t2 t3" a line; P = K [R | t], (0, 0) amid the first pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from surfrecon.conventions import WORLD_TO_CAMERA
from surfrecon.errors import InputError
from surfrecon.io.views.folders import image_beside
from surfrecon.io.views.matrices import numbers, read_text
from surfrecon.io.views.shots import HALF_PIXEL, Capture, Shot, rigid


def find(path: Path) -> Path | None:
    if path.is_dir():
        return next(iter(sorted(path.glob("*_par.txt"))), None)
    return path if path.name.endswith("_par.txt") else None


def read(place: Path) -> Capture:
    lines = [line.split() for line in read_text(place).splitlines() if line.strip()]
    if not lines or len(lines[0]) != 1 or not lines[0][0].isdecimal():
        raise InputError(f"{place.name} must begin with the number of its images")
    if int(lines[0][0]) != len(lines) - 1:
        raise InputError(f"{place.name} promises {lines[0][0]} images, but {len(lines) - 1} follow: it was cut short or is damaged")
    shots = []
    for name, *words in lines[1:]:
        values = numbers(words, 21, f"the camera of {name}")
        pose = np.column_stack([values[9:18].reshape(3, 3), values[18:]])
        intrinsics = HALF_PIXEL @ values[:9].reshape(3, 3)
        shots.append(Shot(image_beside([place.parent], name), intrinsics, rigid(pose, name)))
    return Capture(shots, WORLD_TO_CAMERA)
