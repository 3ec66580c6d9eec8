"""Strecha's *.camera beside EPFL's multi-view sets, one an image: K, three zeros, R, centre, width and height.

x = K R^T (X - centre), so R is the rotation from camera to world; (0, 0) amid the first pixel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from surfrecon.conventions import CAMERA_TO_WORLD
from surfrecon.errors import InputError
from surfrecon.io.views.folders import image_beside, in_order
from surfrecon.io.views.matrices import numbers, read_text
from surfrecon.io.views.shots import HALF_PIXEL, Capture, Shot, rigid


def find(path: Path) -> Path | None:
    """The folder of the .camera files: the one given, or one within."""
    if path.is_file():
        return path.parent if path.suffix == ".camera" else None
    return next((folder for folder in (path, *sorted(path.glob("*/"))) if any(folder.glob("*.camera"))), None)


def read(place: Path) -> Capture:
    return Capture([_shot(path) for path in sorted(place.glob("*.camera"), key=in_order)], CAMERA_TO_WORLD)


def _shot(path: Path) -> Shot:
    values = numbers(read_text(path), 26, f"the camera file {path.name}")
    if values[9:12].any():
        raise InputError(f"{path.name} gives distortion {values[9:12].tolist()}: expected 0 0 0, as the images of this format have none")
    pose = rigid(np.column_stack([values[12:21].reshape(3, 3), values[21:24]]), path.name)
    width, height = values[24:].astype(int)
    if not (width > 0 and height > 0):
        raise InputError(f"{path.name} gives the image size {values[24]:g} x {values[25]:g}: both must be > 0")
    image = image_beside([path.parent, path.parent.parent], path.name.removesuffix(".camera"))
    intrinsics = HALF_PIXEL @ values[:9].reshape(3, 3)
    return Shot(image, intrinsics, CAMERA_TO_WORLD.cam_from_world(pose), size=(int(width), int(height)))
