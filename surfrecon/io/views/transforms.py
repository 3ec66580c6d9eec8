"""transforms.json of NeRF, instant-ngp, nerfstudio and NeuS2: camera-to-world matrices with OpenGL axes, (0, 0) at the corner of the image.

NeuS2's key `from_na` says that the axes are OpenCV's. nerfstudio's `applied_transform` and `applied_scale` are undone: the views stand in
the frame that the poses were found in. instant-ngp's `scale` and `offset` only tell where that program puts its unit cube.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from surfrecon.conventions import CAMERA_TO_WORLD, CAMERA_TO_WORLD_OPENGL, Convention
from surfrecon.errors import InputError
from surfrecon.geometry import Similarity
from surfrecon.io import ply
from surfrecon.io.views.folders import image_beside, inside
from surfrecon.io.views.lenses import Lens
from surfrecon.io.views.pixels import size_of
from surfrecon.io.views.shots import Capture, Shot, rigid

NAMES = ("transforms.json", "transforms_train.json")  # the second is NeRF's, whose other views are for testing
MILLIMETRE = 1e-3  # one step of a depth file, unless the file says otherwise
LARGEST_FILE = 2**28  # bytes: a frame takes about a thousand
MODELS = {  # camera_model -> whether it is a fisheye
    "SIMPLE_PINHOLE": False,
    "PINHOLE": False,
    "SIMPLE_RADIAL": False,
    "RADIAL": False,
    "OPENCV": False,
    "OPENCV_FISHEYE": True,
}


def find(path: Path) -> Path | None:
    if path.is_dir():
        return next((path / name for name in NAMES if (path / name).is_file()), None)
    return path if path.suffix.lower() == ".json" else None


def read(place: Path) -> Capture:
    if place.stat().st_size > LARGEST_FILE:
        raise InputError(f"{place.name} is larger than the {LARGEST_FILE} bytes that such a file may have")
    content = json.loads(place.read_bytes())
    frames = content.get("frames") if isinstance(content, dict) else None
    if not (isinstance(frames, list) and frames and all(isinstance(frame, dict) for frame in frames)):
        raise InputError(f"{place.name} must be an object with a list 'frames' of objects, each an image with its pose")
    common = {key: value for key, value in content.items() if key != "frames"}
    convention = CAMERA_TO_WORLD if "from_na" in common else CAMERA_TO_WORLD_OPENGL
    original = _applied(common).inverse()
    points = None
    if isinstance(common.get("ply_file_path"), str):
        cloud = inside(place.parent, common["ply_file_path"])
        points = original.points(ply.read_scan(cloud).points) if cloud.is_file() else None
    return Capture([_shot(place.parent, common | frame, convention, original) for frame in frames], convention, points)


def _applied(common: dict[str, Any]) -> Similarity:
    """file_from_original, of nerfstudio's notes."""
    matrix = _matrix(common.get("applied_transform", np.eye(4).tolist()), "applied_transform")
    scale = float(np.cbrt(max(np.linalg.det(matrix[:3, :3]), 0)))
    if not scale > 0:
        raise InputError(f"applied_transform must turn, move and scale, but not mirror: got {matrix.tolist()}")
    rotation = rigid(matrix / [scale, scale, scale, 1], "applied_transform")[:3, :3]
    factor = _number(common, "applied_scale", 1.0)
    if not factor > 0:
        raise InputError(f"applied_scale must be > 0, got {factor}")
    return Similarity(factor * scale, factor * matrix[:3, 3], rotation)


def _shot(root: Path, frame: dict[str, Any], convention: Convention, original: Similarity) -> Shot:
    image = image_beside([root], _text(frame, "file_path"))
    pose = rigid(_matrix(frame.get("transform_matrix"), f"transform_matrix of {image.name}"), image.name)
    pose[:3, :3] = original.rotation @ pose[:3, :3]
    pose[:3, 3] = original.points(pose[None, :3, 3])[0]
    size = (_number(frame, "w", None), _number(frame, "h", None))
    if None in size:
        size = size_of(image)
    if not (min(size) >= 1 and all(side == int(side) for side in size)):
        raise InputError(f"w and h of {image.name} must be whole numbers of pixels > 0, got {size[0]} and {size[1]}")
    depth = frame.get("depth_file_path", frame.get("depth_path"))
    return Shot(
        image,
        _intrinsics(frame, size, image.name),
        convention.cam_from_world(pose),
        lens=_lens(frame, image.name),
        size=(int(size[0]), int(size[1])),
        mask=_existing(root, _text(frame, "mask_path")) if frame.get("mask_path") else None,
        depth=_existing(root, _text({"depth_file_path": depth}, "depth_file_path")) if depth else None,
        depth_unit=_number(frame, "integer_depth_scale", MILLIMETRE) * original.scale,
    )


def _intrinsics(frame: dict[str, Any], size: tuple[float, float], whose: str) -> np.ndarray:
    if "intrinsic_matrix" in frame:
        return _matrix(frame["intrinsic_matrix"], f"intrinsic_matrix of {whose}")[:3, :3]
    width, height = size
    fx = _number(frame, "fl_x", None) or _focal(frame, "camera_angle_x", width)
    fy = _number(frame, "fl_y", None) or _focal(frame, "camera_angle_y", height)
    if fx is None and fy is None:
        raise InputError(f"{whose} has no focal length: expected fl_x, camera_angle_x or intrinsic_matrix, in its frame or for all")
    cx, cy = _number(frame, "cx", width / 2), _number(frame, "cy", height / 2)
    return np.array([[fx or fy, 0, cx], [0, fy or fx, cy], [0, 0, 1]])


def _focal(frame: dict[str, Any], key: str, side: float) -> float | None:
    angle = _number(frame, key, None)
    if angle is not None and not 0 < angle < math.pi:
        raise InputError(f"{key} must be an angle in radians between 0 and pi, got {angle}")
    return None if angle is None else side / 2 / math.tan(angle / 2)


def _lens(frame: dict[str, Any], whose: str) -> Lens:
    model = frame.get("camera_model", "OPENCV_FISHEYE" if frame.get("is_fisheye") else "OPENCV")
    if model not in MODELS:
        raise InputError(f"the camera_model of {whose} is {model!r}; known are {', '.join(MODELS)}: undistort the images first")
    radial = tuple(_number(frame, f"k{i}", 0.0) for i in range(1, 5))
    if MODELS[model]:
        return Lens(radial, fisheye=True)
    return Lens(radial, tangential=(_number(frame, "p1", 0.0), _number(frame, "p2", 0.0)))


def _number(values: dict[str, Any], key: str, default: float | None) -> float | None:
    value = values.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < math.inf:
        raise InputError(f"{key} must be a finite number, got {str(value)[:80]!r}")
    return float(value)


def _text(values: dict[str, Any], key: str) -> str:
    value = values.get(key)
    if not isinstance(value, str) or not value:
        raise InputError(f"{key} must be the name of a file, got {str(value)[:80]!r}")
    return value


def _matrix(rows: Any, what: str) -> np.ndarray:
    """(4, 4) of rows of numbers; of 3 x 3 or 3 x 4 the rest is the identity's."""
    try:
        given = np.array(rows, float)
    except (TypeError, ValueError):
        given = np.empty(0)
    if given.shape not in ((3, 3), (3, 4), (4, 4)):
        raise InputError(f"{what} must be rows of 3 x 4 or 4 x 4 numbers, got {str(rows)[:80]}")
    if not np.isfinite(given).all():
        raise InputError(f"{what} must be finite, got NaN or infinity")
    matrix = np.eye(4)
    matrix[: given.shape[0], : given.shape[1]] = given
    return matrix


def _existing(root: Path, name: str) -> Path:
    path = inside(root, name)
    if not path.is_file():
        raise InputError(f"it names the file {name!r}, which is not there")
    return path
