"""Folders of an RGB-D camera: colour, depth in millimetres, and a camera-to-world matrix in metres for each frame; one file of intrinsics.

As 7-Scenes (frame-000000.color.png, .depth.png, .pose.txt, in one folder or one each) and ScanNet (color/0.jpg, depth/0.png, pose/0.txt)
lay them out. Files of one frame share their name up to the first dot. Axes are OpenCV's, (0, 0) is amid the first pixel.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from surfrecon.conventions import CAMERA_TO_WORLD
from surfrecon.errors import InputError
from surfrecon.io.views.folders import IMAGE_FOLDERS, image_files, in_order
from surfrecon.io.views.matrices import numbers, read_text
from surfrecon.io.views.shots import HALF_PIXEL, Capture, Shot, rigid

log = logging.getLogger("surfrecon")

POSES = ("pose/*.txt", "poses/*.txt", "*.pose.txt", "*/*.pose.txt")
INTRINSICS = ("camera-intrinsics.txt", "camera_intrinsics.txt", "intrinsics.txt", "intrinsic.txt", "intrinsic/intrinsic_color.txt")
DEPTH_FOLDERS = ("depth", "depths")
MILLIMETRE = 1e-3


def find(path: Path) -> Path | None:
    """The folder itself, where it holds a pose for each frame."""
    return path if path.is_dir() and _poses(path) else None


def _poses(folder: Path) -> list[Path]:
    found = (sorted(folder.glob(pattern), key=in_order) for pattern in POSES)
    return next((files for files in found if files), [])


def read(place: Path) -> Capture:
    intrinsics = _intrinsics(place)
    poses = _poses(place)
    near = [place, poses[0].parent]
    colours = _by_frame([folder / name for folder in near for name in (*IMAGE_FOLDERS, ".")], besides="depth")
    depths = _by_frame([folder / name for folder in near for name in (*DEPTH_FOLDERS, ".")], only="depth")
    shots, lost = [], 0
    for path in poses:
        frame = path.name.split(".")[0]
        text = read_text(path)
        if "nan" in text.lower() or "inf" in text.lower():  # how trackers note that they were lost
            lost += 1
            continue
        if frame not in colours:
            raise InputError(f"{path.name} has no image of the same name before the first dot, in a folder {', '.join(IMAGE_FOLDERS[:5])}")
        if depths and frame not in depths:
            raise InputError(f"{path.name} has no depth map of the same name before the first dot, though other frames have one")
        pose = rigid(numbers(text, 16, f"the pose in {path.name}").reshape(4, 4), path.name)
        camera = CAMERA_TO_WORLD.cam_from_world(pose)
        shots.append(Shot(colours[frame], HALF_PIXEL @ intrinsics, camera, depth=depths.get(frame), depth_unit=MILLIMETRE))
    if lost:
        log.info("left out %d of %d frames, whose pose is NaN or infinite", lost, len(poses))
    return Capture(shots, CAMERA_TO_WORLD)


def _intrinsics(place: Path) -> np.ndarray:
    path = next((place / name for name in INTRINSICS if (place / name).is_file()), None)
    if path is None:
        raise InputError(f"there are poses and images, but no intrinsics: write the 3 x 3 matrix to {INTRINSICS[0]} beside them")
    text = read_text(path)
    side = 4 if len(text.split()) == 16 else 3
    return numbers(text, side * side, f"the intrinsics in {path.name}").reshape(side, side)[:3, :3]


def _by_frame(folders: list[Path], only: str = "", besides: str = "") -> dict[str, Path]:
    """Frame -> file in the first folder that has some: of those with `only`, or without `besides`, in their or the folder's name."""
    for folder in folders:
        named = {path: f"{folder.name}/{path.name}".lower() for path in image_files(folder)}
        found = {path.name.split(".")[0]: path for path, name in named.items() if only in name and not (besides and besides in name)}
        if found:
            return found
    return {}
