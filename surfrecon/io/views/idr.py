"""cameras_sphere.npz and cameras.npz of IDR and NeuS: world_mat_i = K [R | t] in pixels, images and masks in the order of their names.

scale_mat_i, which brings a unit sphere to the world, isn't needed: views bound themselves, and stay in the world's frame. (0, 0) is amid
the first pixel.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from surfrecon.conventions import WORLD_TO_CAMERA
from surfrecon.errors import InputError
from surfrecon.io.arrays import read_array
from surfrecon.io.views.folders import images_in
from surfrecon.io.views.matrices import decomposed
from surfrecon.io.views.shots import HALF_PIXEL, Capture, Shot, rigid

LARGEST_ENTRY = 2**16  # bytes: a 4 x 4 matrix and its header take 256
NAMES = ("cameras_sphere.npz", "cameras.npz", "cameras_large.npz")


def find(path: Path) -> Path | None:
    if path.is_dir():
        return next((path / name for name in NAMES if (path / name).is_file()), None)
    return path if path.name in NAMES else None


def read(place: Path) -> Capture:
    matrices = _world_matrices(place)
    images = images_in(place.parent)
    if len(images) != len(matrices):
        raise InputError(
            f"{place.name} holds {len(matrices)} cameras world_mat_i, but there are {len(images)} images in {images[0].parent}"
        )
    shots = []
    for image, matrix in zip(images, matrices):
        intrinsics, pose = decomposed(matrix[:3], image.name)
        shots.append(Shot(image, HALF_PIXEL @ intrinsics, rigid(pose, image.name)))
    return Capture(shots, WORLD_TO_CAMERA)


def _world_matrices(place: Path) -> list[np.ndarray]:
    """world_mat_0, world_mat_1 ... in order."""
    matrices = []
    with zipfile.ZipFile(place) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        while (info := entries.get(f"world_mat_{len(matrices)}.npy")) is not None:
            matrices.append(_matrix(archive, info))
    if not matrices:
        raise InputError(f"{place.name} holds no camera world_mat_0")
    stray = sum(name.startswith("world_mat_") and not name.startswith("world_mat_inv") for name in entries) - len(matrices)
    if stray:
        raise InputError(f"{place.name} lacks world_mat_{len(matrices)}, though {stray} with higher numbers are there")
    return matrices


def _matrix(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    if info.file_size > LARGEST_ENTRY:
        raise InputError(f"{info.filename} says it holds {info.file_size} bytes, too many for a 4 x 4 matrix")
    with archive.open(info) as file:
        matrix = read_array(file, info.file_size)
    if matrix.shape not in ((4, 4), (3, 4)) or matrix.dtype.kind not in "fiu":
        raise InputError(f"{info.filename} must be 4 x 4 numbers, got {matrix.shape} of {matrix.dtype}")
    return matrix.astype(float)
