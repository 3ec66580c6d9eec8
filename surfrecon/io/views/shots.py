"""Between a format's files and Views: shots, one for each image, still as the files have them; loading makes Views of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from surfrecon.conventions import Convention
from surfrecon.errors import InputError
from surfrecon.io.views import pixels
from surfrecon.io.views.folders import common_folder, mask_folder, masks_for
from surfrecon.io.views.lenses import PINHOLE, Lens, pinhole_frame, undistort
from surfrecon.views import Views, area_mean, nearest

log = logging.getLogger("surfrecon")

ROUNDED = 1e-2  # how far printed rotations may be from orthogonal: files hold four digits and more
SAME_SHAPE = 0.01  # relative difference of the sides' ratio up to which an image is the calibrated one at another size
HALF_PIXEL = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # where a file has (0, 0) at the middle of the first pixel


@dataclass(frozen=True)
class Shot:
    """One image and its camera, as the file tells.

    Attributes:
        image: its file.
        intrinsics: (3, 3), with (0, 0) at the corner of the image.
        cam_from_world: (3, 4), OpenCV axes.
        lens: its distortion.
        size: (width, height) that the intrinsics refer to; None for the image's own.
        mask, depth: files of the same shot.
        depth_unit: world units of one step of the depth file.
    """

    image: Path
    intrinsics: np.ndarray
    cam_from_world: np.ndarray
    lens: Lens = PINHOLE
    size: tuple[int, int] | None = None
    mask: Path | None = None
    depth: Path | None = None
    depth_unit: float = 1.0


@dataclass(frozen=True)
class Capture:
    """What a format's reader found: its shots, points of the scene, and how its files hold poses (for the check of these)."""

    shots: list[Shot]
    convention: Convention
    points: np.ndarray | None = None


def rigid(matrix: np.ndarray, whose: str) -> np.ndarray:
    """(4, 4) rotation and translation of a file's matrix (3 or 4, 4), its rotation made exact.

    Raises:
        InputError: not finite, mirrored, or no rotation even with a file's rounding.
    """
    matrix = np.asarray(matrix, float)
    if not np.isfinite(matrix).all():
        raise InputError(f"the pose of {whose} holds NaN or infinity: leave out the images that were not registered")
    u, stretch, v = np.linalg.svd(matrix[:3, :3])
    if np.abs(stretch - 1).max() > ROUNDED:
        raise InputError(f"the pose of {whose} must be a rotation and a translation, but it stretches by {stretch.round(4).tolist()}")
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = u @ v, matrix[:3, 3]
    if np.linalg.det(result) < 0:
        raise InputError(f"the pose of {whose} mirrors the scene (determinant -1): one of its axes is turned round, expected none or two")
    return result


def load(capture: Capture, masks: Path | None, longest_side: int | None) -> Views:
    """The views of a capture: pixels read, distortion undone, images scaled down to `longest_side`, masks found.

    Masks come from the folder given, else from what the file names, else from a folder beside the images, else from transparency.
    """
    shots = capture.shots
    if not shots:
        raise InputError("it holds no image with a pose")
    shots = _with_masks(shots, masks)
    parts = [_Pixels.of(shot, longest_side) for shot in shots]
    found = [part.mask for part in parts]
    if any(mask is not None for mask in found):
        found = [np.ones(part.image.shape[:2], bool) if part.mask is None else part.mask for part in parts]
        if all(mask.all() for mask in found):
            log.info("the masks hide nothing, so they are left out")
            found = [None]
    return Views(
        images=tuple(part.image for part in parts),
        intrinsics=np.stack([part.intrinsics for part in parts]),
        cam_from_world=np.stack([shot.cam_from_world[:3] for shot in shots]),
        masks=None if found[0] is None else tuple(found),
        depths=None if any(part.depth is None for part in parts) else tuple(part.depth for part in parts),
        points=capture.points if capture.points is not None and len(capture.points) else None,
        names=_names([shot.image for shot in shots]),
    )


def _names(images: Sequence[Path]) -> tuple[str, ...]:
    """The images' names, with their folder where they lie in several."""
    shared = common_folder(images)
    return tuple(path.relative_to(shared).as_posix() for path in images)


def _with_masks(shots: list[Shot], masks: Path | None) -> list[Shot]:
    images = [shot.image for shot in shots]
    if masks is not None:
        return [replace(shot, mask=mask) for shot, mask in zip(shots, masks_for(images, masks))]
    named = sum(shot.mask is not None for shot in shots)
    if 0 < named < len(shots):
        lacking = next(shot.image.name for shot in shots if shot.mask is None)
        raise InputError(f"it names masks for {named} of its {len(shots)} images, but none for {lacking}: name them all or none")
    folder = None if named else mask_folder(images)
    if folder is None:
        return shots
    try:
        found = masks_for(images, folder)
    except InputError as error:
        log.warning("the folder %s is not used: %s", folder, error)
        return shots
    log.info("masks are taken from %s", folder)
    return [replace(shot, mask=mask) for shot, mask in zip(shots, found)]


@dataclass(frozen=True)
class _Pixels:
    """One shot's pixels, as Views wants them."""

    image: np.ndarray
    mask: np.ndarray | None
    depth: np.ndarray | None
    intrinsics: np.ndarray

    @classmethod
    def of(cls, shot: Shot, longest_side: int | None) -> _Pixels:
        image, alpha = pixels.read_image(shot.image)
        size = image.shape[1::-1]
        mask = None if alpha is None else alpha > pixels.OPAQUE
        if shot.mask is not None:
            mask = pixels.read_mask(shot.mask)
            if mask.shape != image.shape[:2]:
                raise InputError(f"the mask {shot.mask.name} is {_by(mask.shape[::-1])} pixels, but {shot.image.name} is {_by(size)}")
        depth = None
        if shot.depth is not None:
            depth = pixels.read_depth(shot.depth, shot.depth_unit)
            _same_shape(f"the depth map {shot.depth.name}", depth.shape[::-1], shot.image.name, size)
            depth = nearest(depth, size)
        intrinsics = _at_size(shot, size)
        image, mask, depth, intrinsics = _flattened(shot, image, mask, depth, intrinsics)
        if longest_side is not None and longest_side < max(image.shape[:2]):
            height, width = image.shape[:2]
            factor = longest_side / max(width, height)
            size = max(1, round(width * factor)), max(1, round(height * factor))
            image = area_mean(image, size)
            mask = None if mask is None else area_mean(mask.astype(np.uint8) * np.uint8(255), size) > pixels.OPAQUE
            depth = None if depth is None else nearest(depth, size)
            intrinsics = np.diag([size[0] / width, size[1] / height, 1]) @ intrinsics
        return cls(image, mask, depth, intrinsics)


def _at_size(shot: Shot, size: tuple[int, int]) -> np.ndarray:
    """Intrinsics of the image as it lies there, which may be a smaller copy of the calibrated one."""
    if shot.size is None or shot.size == size:
        return shot.intrinsics
    _same_shape("the calibrated image", shot.size, shot.image.name, size)
    log.debug("%s is %s, calibrated at %s: its intrinsics are scaled", shot.image.name, _by(size), _by(shot.size))
    return np.diag([size[0] / shot.size[0], size[1] / shot.size[1], 1]) @ shot.intrinsics


def _same_shape(what: str, one: Sequence[int], image: str, other: Sequence[int]) -> None:
    if abs(one[0] * other[1] / (one[1] * other[0]) - 1) > SAME_SHAPE:
        raise InputError(f"{what} is {_by(one)} pixels, but {image} is {_by(other)}, which is no scaled copy: it was cropped or turned")


def _flattened(shot: Shot, image, mask, depth, intrinsics):
    """The same four without lens distortion."""
    if shot.lens.is_pinhole():
        return image, mask, depth, intrinsics
    try:
        target, size = pinhole_frame(shot.lens, intrinsics, image.shape[1::-1])
    except InputError as error:
        raise InputError(f"{shot.image.name}: {error}") from None
    resampled = undistort(shot.lens, intrinsics, target, size)
    mask = None if mask is None else resampled(mask.astype(np.uint8) * np.uint8(255), 1) > pixels.OPAQUE
    return resampled(image, 1), mask, None if depth is None else resampled(depth, 0), target


def _by(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]}"
