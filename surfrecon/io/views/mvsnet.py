"""MVSNet's and BlendedMVS's cams/*_cam.txt, one an image: "extrinsic", a world-to-camera matrix, "intrinsic", K, then a range of depths.

Pixels have (0, 0) at the corner, as COLMAP's intrinsics pass through unchanged. pair.txt and the depth maps, which are the truth that
networks train on, are left aside.
"""

from __future__ import annotations

from pathlib import Path

from surfrecon.conventions import WORLD_TO_CAMERA
from surfrecon.errors import InputError
from surfrecon.io.views.folders import image_beside, in_order
from surfrecon.io.views.matrices import numbers, read_text
from surfrecon.io.views.shots import Capture, Shot, rigid


def find(path: Path) -> Path | None:
    """The folder of the camera files: the one given, or cams within it."""
    if path.is_file():
        return path.parent if path.name.endswith("_cam.txt") else None
    return next((folder for folder in (path / "cams", path / "cams_1", path) if any(folder.glob("*_cam.txt"))), None)


def read(place: Path) -> Capture:
    return Capture([_shot(path) for path in sorted(place.glob("*_cam.txt"), key=in_order)], WORLD_TO_CAMERA)


def _shot(path: Path) -> Shot:
    words = read_text(path).split()
    try:
        first, second = words.index("extrinsic"), words.index("intrinsic")
    except ValueError:
        raise InputError(f"{path.name} must hold the words 'extrinsic' and 'intrinsic', each before a matrix") from None
    pose = numbers(words[first + 1 : second], 16, f"the extrinsic matrix in {path.name}").reshape(4, 4)
    intrinsics = numbers(words[second + 1 : second + 10], 9, f"the intrinsic matrix in {path.name}").reshape(3, 3)
    image = image_beside([path.parent.parent, path.parent], path.name.removesuffix("_cam.txt"))
    return Shot(image, intrinsics, rigid(pose, path.name))
