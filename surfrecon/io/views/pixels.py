"""Images, masks and depth maps out of files. A file's header is held against limits before any pixel is decoded.

Pixels are taken as stored: the turn that a camera noted in its metadata is not applied, as calibrations refer to the stored rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from surfrecon.errors import InputError, SurfreconError
from surfrecon.io.arrays import read_array

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM")  # of the many Pillow knows: none that runs other programs
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm")
MOST_PIXELS = 2**27  # in one image: a 100-megapixel camera passes, a bomb of a few kilobytes doesn't
OPAQUE = 127  # alpha and masks above this are object
NO_DEPTH = 65535  # what sensors write where they saw nothing, besides 0


def size_of(path: Path) -> tuple[int, int]:
    """Width and height by the header alone."""
    with _opened(path) as image:
        return image.size


def read_image(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Colours (H, W, 3) or (H, W) uint8, and alpha (H, W) uint8 where the file has it."""
    with _opened(path) as image:
        if image.mode == "F":
            raise InputError(f"{path.name} holds floats rather than 8 or 16 bit colours: convert it to PNG")
        if image.mode.startswith("I"):
            return _eight_bit(np.asarray(image)), None
        if image.mode in ("LA", "PA", "RGBA", "RGBa", "La") or "transparency" in image.info:
            pixels = np.asarray(image.convert("RGBA"))
            return np.ascontiguousarray(pixels[:, :, :3]), np.ascontiguousarray(pixels[:, :, 3])
        return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB")), None


def read_mask(path: Path) -> np.ndarray:
    """(H, W) bool: where an image is bright, or opaque if it has transparent pixels."""
    pixels, alpha = read_image(path)
    if alpha is not None and (alpha <= OPAQUE).any():
        return alpha > OPAQUE
    return (pixels if pixels.ndim == 2 else pixels.max(axis=2)) > OPAQUE


def read_depth(path: Path, unit: float) -> np.ndarray:
    """(H, W) float32 z depth in world units, `unit` being one step of the file; 0 where it says nothing."""
    if path.suffix.lower() == ".npy":
        depth = _read_npy(path)
    else:
        with _opened(path) as image:
            if image.mode != "F" and not image.mode.startswith("I"):
                raise InputError(f"{path.name} is no depth map: expected 16 bit grey PNG, got {image.format} of mode {image.mode}")
            depth = np.asarray(image)
        depth = np.where(depth == NO_DEPTH, 0, depth)
    depth = (depth * float(unit)).astype(np.float32)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))


def _read_npy(path: Path) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            depth = read_array(file, path.stat().st_size)
    except (InputError, ValueError) as error:
        raise InputError(f"the depth map {path.name} is damaged: {' '.join(str(error).split())[:200]}") from None
    if depth.dtype.kind not in "uif" or depth.ndim not in (2, 3) or depth.shape[2:] not in ((), (1,)):
        raise InputError(f"{path.name} is no depth map: expected numbers of shape (H, W), got {depth.shape} of {depth.dtype}")
    return depth.reshape(depth.shape[:2])


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image whose header has passed; whatever Pillow says of a damaged one becomes an InputError that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes that our own limit judges, of metadata that nobody reads
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
                if width * height > MOST_PIXELS:
                    raise InputError(
                        f"{path.name} says it is {width} x {height} pixels, more than the {MOST_PIXELS} that an image may have: "
                        "if it really is, scale it down first"
                    )
                yield image
    except (SurfreconError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise InputError(f"{path.name} says it holds more than the {MOST_PIXELS} pixels that an image may have") from None
    except Exception as error:  # each decoder raises what it likes
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"{path.name} is damaged or no image of {', '.join(FORMATS)} ({reason})") from None


def _eight_bit(values: np.ndarray) -> np.ndarray:
    """Grey of 16 bits as 8."""
    return np.round(np.clip(values, 0, 65535) / 257.0).astype(np.uint8)
