"""COLMAP's sparse models, binary or text: cameras, images and points3D, in a folder as COLMAP and those who build on it leave it.

Poses are world-to-camera, quaternions with w first; pixels have (0, 0) at the corner of the image. Rigs and frames, which newer models hold
as well, repeat what the images say.
"""

from __future__ import annotations

import logging
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from surfrecon.conventions import WORLD_TO_CAMERA
from surfrecon.errors import InputError
from surfrecon.io.rotations import rotation
from surfrecon.io.views.folders import image_beside, in_order
from surfrecon.io.views.lenses import Lens
from surfrecon.io.views.matrices import numbers
from surfrecon.io.views.shots import Capture, Shot, rigid

log = logging.getLogger("surfrecon")

PLACES = (".", "sparse", "colmap/sparse", "dense/sparse")  # of models, or of the numbered folders that hold them
MODEL_FOLDERS = re.compile(r"sparse|colmap|dense|\d+")  # the images lie above these
PARAMETERS = {  # model -> number of its parameters, in the order of the numbers that binary files call them by
    "SIMPLE_PINHOLE": 3,
    "PINHOLE": 4,
    "SIMPLE_RADIAL": 4,
    "RADIAL": 5,
    "OPENCV": 8,
    "OPENCV_FISHEYE": 8,
    "FULL_OPENCV": 12,
    "FOV": 5,
    "SIMPLE_RADIAL_FISHEYE": 4,
    "RADIAL_FISHEYE": 5,
    "THIN_PRISM_FISHEYE": 12,
}
UNREADABLE = ("FOV", "THIN_PRISM_FISHEYE")
LONGEST_TRACK_LEFT_OUT = 2  # points that only two images share are mostly mistakes


@dataclass(frozen=True)
class Camera:
    model: str
    size: tuple[int, int]
    parameters: np.ndarray

    def intrinsics(self) -> np.ndarray:
        two_focals = self.model in ("PINHOLE", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV")
        fx, fy, cx, cy = self.parameters[[0, 1, 2, 3] if two_focals else [0, 0, 1, 2]]
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])

    def lens(self) -> Lens:
        p = self.parameters.tolist()
        match self.model:
            case "SIMPLE_PINHOLE" | "PINHOLE":
                return Lens()
            case "SIMPLE_RADIAL" | "RADIAL":
                return Lens(tuple(p[3:]))
            case "OPENCV":
                return Lens((p[4], p[5]), tangential=(p[6], p[7]))
            case "FULL_OPENCV":
                return Lens((p[4], p[5], p[8]), denominator=tuple(p[9:12]), tangential=(p[6], p[7]))
            case "OPENCV_FISHEYE":
                return Lens(tuple(p[4:]), fisheye=True)
            case "SIMPLE_RADIAL_FISHEYE" | "RADIAL_FISHEYE":
                return Lens(tuple(p[3:]), fisheye=True)
        readable = ", ".join(name for name in PARAMETERS if name not in UNREADABLE)
        raise InputError(f"its camera model is {self.model}; known are {readable}: undistort the images with COLMAP first")


@dataclass(frozen=True)
class Registered:
    """One image of the model."""

    name: str
    camera: int
    quaternion: np.ndarray
    translation: np.ndarray


def find(path: Path) -> Path | None:
    """The folder of the model; of several the one with the most to say."""
    if path.is_file():
        return path.parent if _suffix(path.parent) and path.stem in ("cameras", "images", "points3D") else None
    places = [path / place for place in PLACES]
    models = [model for place in places for model in (place, *sorted(place.glob("[0-9]*"), key=in_order)) if _suffix(model)]
    largest = max(models, key=lambda model: (model / f"images{_suffix(model)}").stat().st_size, default=None)
    if len(models) > 1:
        log.info("%s holds %d models: %s is the largest", path, len(models), largest)
    return largest


def _suffix(folder: Path) -> str | None:
    """Of the model's files, where there is one."""
    whole = (suffix for suffix in (".bin", ".txt") if all((folder / f"{name}{suffix}").is_file() for name in ("cameras", "images")))
    return next(whole, None)


def read(place: Path, photographs: Path | None = None) -> Capture:
    """The model in a folder; its images lie in the folder `photographs`, else in the model's own or above it."""
    suffix = _suffix(place)
    cameras, images, points = (place / f"{name}{suffix}" for name in ("cameras", "images", "points3D"))
    parse = {".bin": (binary_cameras, binary_images, binary_points), ".txt": (text_cameras, text_images, text_points)}[suffix]
    known = parse[0](cameras)
    roots = [place.parent, place]
    while MODEL_FOLDERS.fullmatch(roots[0].name):
        roots.insert(0, roots[0].parent)
    if photographs is not None:
        roots = [photographs]
    shots = [_shot(image, known, roots) for image in parse[1](images)]
    shots.sort(key=lambda shot: (str(shot.image.parent), in_order(shot.image)))
    return Capture(shots, WORLD_TO_CAMERA, parse[2](points) if points.is_file() else None)


def _shot(image: Registered, cameras: dict[int, Camera], roots: list[Path]) -> Shot:
    camera = cameras.get(image.camera)
    if camera is None:
        raise InputError(f"the image {image.name} was taken by camera {image.camera}, which the model lacks")
    pose = np.column_stack([rotation(image.quaternion, image.name), image.translation])
    intrinsics = camera.intrinsics()
    return Shot(image_beside(roots, image.name), intrinsics, rigid(pose, image.name), lens=camera.lens(), size=camera.size)


def _camera(file: Path, model: str, width: int, height: int, parameters: np.ndarray) -> Camera:
    if not (width > 0 and height > 0) or not np.isfinite(parameters).all():
        raise InputError(f"{file.name} holds a camera of {width} x {height} pixels and parameters {parameters.tolist()}: it is damaged")
    return Camera(model, (width, height), parameters)


# binary, little endian ---------------------------------------------------------------------------------------------------------------


class _Bytes:
    """A file's bytes from front to back; no count in it is believed before it is held against what is left."""

    def __init__(self, path: Path):
        self.name, self.data, self.at = path.name, path.read_bytes(), 0

    def take(self, layout: str) -> tuple:
        size = struct.calcsize("<" + layout)
        if size > len(self.data) - self.at:
            raise InputError(f"{self.name} ends within a record at byte {len(self.data)}: it was cut short")
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += size
        return values

    def count(self, what: str, least: int) -> int:
        """A number of records of at least so many bytes each."""
        (count,) = self.take("Q")
        if count * least > len(self.data) - self.at:
            raise InputError(f"{self.name} promises {count} {what}, more than its {len(self.data)} bytes can hold: it was cut short")
        return count

    def skip(self, count: int, size: int) -> None:
        self.at += count * size

    def text(self) -> str:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise InputError(f"{self.name} ends within the name of an image: it was cut short")
        value = self.data[self.at : end].decode(errors="replace")
        self.at = end + 1
        return value

    def end(self) -> None:
        if self.at != len(self.data):
            raise InputError(f"{self.name} holds {len(self.data) - self.at} bytes more than its records take: it is damaged")


def binary_cameras(path: Path) -> dict[int, Camera]:
    file, models, cameras = _Bytes(path), list(PARAMETERS), {}
    for _ in range(file.count("cameras", 24)):
        identity, model, width, height = file.take("iiQQ")
        if not 0 <= model < len(models):
            raise InputError(f"{path.name} holds a camera of model number {model}, expected 0 to {len(models) - 1}")
        parameters = np.array(file.take(f"{PARAMETERS[models[model]]}d"))
        cameras[identity] = _camera(path, models[model], width, height, parameters)
    file.end()
    return cameras


def binary_images(path: Path) -> list[Registered]:
    file, images = _Bytes(path), []
    for _ in range(file.count("images", 73)):
        _, *pose, camera = file.take("i7di")
        images.append(Registered(file.text(), camera, np.array(pose[:4]), np.array(pose[4:])))
        file.skip(file.count("observed points", 24), 24)
    file.end()
    return images


def binary_points(path: Path) -> np.ndarray:
    """(N, 3) positions of the points that more than two images share."""
    file, points, tracks = _Bytes(path), [], []
    for _ in range(file.count("points", 51)):
        points.append(file.take("Q3d3Bd")[1:4])
        tracks.append(file.count("sightings of a point", 8))
        file.skip(tracks[-1], 8)
    file.end()
    return _shared(path, points, tracks)


# text --------------------------------------------------------------------------------------------------------------------------------


def text_cameras(path: Path) -> dict[int, Camera]:
    cameras = {}
    for words in _lines(path):
        if len(words) < 5 or words[1] not in PARAMETERS:
            raise InputError(f"{path.name}: a camera must be 'id model width height parameters', got {' '.join(words)[:80]!r}")
        identity, width, height = _whole([words[0], *words[2:4]], path)
        parameters = numbers(words[4:], PARAMETERS[words[1]], f"the parameters of a {words[1]} camera in {path.name}")
        cameras[identity] = _camera(path, words[1], width, height, parameters)
    return cameras


def text_images(path: Path) -> list[Registered]:
    images = []
    lines = _lines(path, keep_blank=True)
    for words in lines:
        if not words:
            continue
        if len(words) < 10:
            raise InputError(f"{path.name}: an image must be 'id qw qx qy qz tx ty tz camera name', got {' '.join(words)[:80]!r}")
        values = numbers(words[1:8], 7, f"the pose of {words[9]} in {path.name}")
        (camera,) = _whole([words[8]], path)
        images.append(Registered(" ".join(words[9:]), camera, values[:4], values[4:]))
        next(lines, None)  # the points it observed, perhaps none: always a line
    return images


def text_points(path: Path) -> np.ndarray:
    """(N, 3) positions of the points that more than two images share."""
    points, tracks = [], []
    for words in _lines(path):
        if len(words) < 8 or len(words) % 2:
            raise InputError(f"{path.name}: a point must be 'id x y z r g b error (image place) ...', got {' '.join(words)[:80]!r}")
        points.append(numbers(words[1:4], 3, f"a point in {path.name}"))
        tracks.append(len(words) // 2 - 4)
    return _shared(path, points, tracks)


def _lines(path: Path, keep_blank: bool = False) -> Iterator[list[str]]:
    """Words of each line that is no comment."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if (words and not words[0].startswith("#")) or (keep_blank and not words):
                yield words


def _whole(words: list[str], path: Path) -> list[int]:
    for word in words:
        if not re.fullmatch(r"-?[0-9]{1,18}", word):
            raise InputError(f"{path.name}: {word[:40]!r} stands where a whole number should be")
    return [int(word) for word in words]


def _shared(path: Path, points: list, tracks: list[int]) -> np.ndarray:
    positions = np.array(points, float).reshape(-1, 3)
    known = np.isfinite(positions).all(axis=1)
    if not known.all():
        log.warning("%s: left out %d points that are NaN or infinite", path.name, (~known).sum())
    shared = known & (np.array(tracks, int) > LONGEST_TRACK_LEFT_OUT)
    return positions[shared if shared.any() else known]
