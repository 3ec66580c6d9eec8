"""Views into the folders that other tools read: transforms.json, a COLMAP text model, NeuS's cameras_sphere.npz. Images become PNG.

Each writer fills an empty folder and returns a sentence for each thing that its format could not keep; what it writes, read_views reads
back: the same pixels, poses to the last digits. A mask is the alpha of transforms.json's images, a folder of its own in the others.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from surfrecon.conventions import CAMERA_TO_WORLD_OPENGL
from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.io import write_scan
from surfrecon.io.atomic import replacing
from surfrecon.io.views.folders import in_order, inside
from surfrecon.io.views.shots import HALF_PIXEL
from surfrecon.views import Views

MOST_SKEW = 1e-2  # pixels, that COLMAP's cameras may lose: what factors of a rounded matrix have; it moves no pixel by more
NO_COLOUR = "128 128 128"  # of COLMAP's points, whose error is -1 where unknown


def write_views(views: Views, folder: Path | str, format: str = "transforms") -> list[str]:
    """Write views as a new folder, whole or not at all; returns a sentence for each thing that the format could not keep.

    Args:
        folder: must not exist, or be empty.
        format: a name in FORMATS.
    Raises:
        InputError: no such format, a folder that holds something, names of images that lead elsewhere or coincide, skew in COLMAP.
    """
    if format not in FORMATS:
        raise InputError(f"there is no format {format!r} to write views in; choose one of {', '.join(FORMATS)}")
    with new_folder(folder) as part:
        return FORMATS[format](views, part)


@contextmanager
def new_folder(folder: Path | str) -> Iterator[Path]:
    """A folder beside `folder` that takes its place when the block ends well, and is gone when it doesn't.

    Raises:
        InputError: `folder` holds something or is no folder, or its parent is missing or closed to us.
    """
    target = Path(os.path.abspath(folder))
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InputError(f"{folder} is there already and not empty: name a new folder")
    part = target.with_name(f".surfrecon-{secrets.token_hex(8)}.tmp")
    try:
        part.mkdir()
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from error
    try:
        yield part
        with suppress(FileNotFoundError):
            target.rmdir()
        os.replace(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def write_transforms(views: Views, folder: Path) -> list[str]:
    """transforms.json with OpenGL axes: images, RGBA where there are masks, depths as .npy in world units, points as points.ply."""
    poses = CAMERA_TO_WORLD_OPENGL.matrices(_square(views.cam_from_world))
    frames = []
    for v, name in enumerate(_png_names(views.names, folder)):
        k, (width, height) = views.intrinsics[v], views.sizes[v].tolist()
        frame = {"file_path": f"images/{name}", "w": width, "h": height}
        frame |= {"fl_x": k[0, 0], "fl_y": k[1, 1], "cx": k[0, 2], "cy": k[1, 2]}
        if k[0, 1]:
            frame["intrinsic_matrix"] = k.tolist()  # where skew has a place
        if views.depths is not None:
            frame |= {"depth_file_path": f"depths/{name}.npy", "integer_depth_scale": 1.0}
            np.save(_place(folder, frame["depth_file_path"]), views.depths[v])
        pixels = views.images[v]
        if views.masks is not None:
            pixels = np.dstack([pixels, np.where(views.masks[v], np.uint8(255), np.uint8(0))])
        _save(pixels, _place(folder, frame["file_path"]))
        frames.append(frame | {"transform_matrix": poses[v].tolist()})
    content = {"camera_model": "PINHOLE"}
    if views.points is not None and len(views.points):
        content["ply_file_path"] = "points.ply"
        write_scan(PointCloud(views.points), folder / "points.ply")
    _write(folder / "transforms.json", json.dumps(content | {"frames": frames}, indent=1).encode())
    return []


def write_colmap(views: Views, folder: Path) -> list[str]:
    """sparse/0 with a PINHOLE camera for each image, images, and masks called as COLMAP wants them: images/a.png has masks/a.png.png."""
    cameras, images = ["# CAMERA_ID MODEL WIDTH HEIGHT PARAMS"], ["# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then POINTS2D"]
    for v, name in enumerate(_png_names(views.names, folder)):
        k, (width, height) = views.intrinsics[v], views.sizes[v].tolist()
        if abs(k[0, 1]) > MOST_SKEW:
            raise InputError(f"the camera of {views.names[v]} has a skew of {k[0, 1]:g} pixels, which no camera of COLMAP can have")
        cameras.append(f"{v + 1} PINHOLE {width} {height} {_words([k[0, 0], k[1, 1], k[0, 2], k[1, 2]])}")
        x, y, z, w = Rotation.from_matrix(views.cam_from_world[v, :, :3]).as_quat()
        images += [f"{v + 1} {_words([w, x, y, z])} {_words(views.cam_from_world[v, :, 3])} {v + 1} {name}", ""]
        _save(views.images[v], _place(folder, f"images/{name}"))
        if views.masks is not None:
            _save(views.masks[v], _place(folder, f"masks/{name}.png"))
    points = ["# POINT3D_ID X Y Z R G B ERROR TRACK"]
    if views.points is not None:
        points += [f"{i + 1} {_words(point)} {NO_COLOUR} -1" for i, point in enumerate(views.points)]
    for name, lines in (("cameras", cameras), ("images", images), ("points3D", points)):
        _write(_place(folder, f"sparse/0/{name}.txt"), ("\n".join(lines) + "\n").encode())
    return _lost(views, depths="COLMAP's own models hold no depth maps: they are left out")


def write_idr(views: Views, folder: Path) -> list[str]:
    """cameras_sphere.npz with image and mask as IDR and NeuS want them: cameras go by the order of the images' names."""
    names, notes = _png_names(views.names, folder), []
    if any("/" in name for name in names) or names != sorted(names, key=lambda name: in_order(Path(name))) or names != sorted(names):
        digits = max(3, len(str(len(names) - 1)))
        names = [f"{v:0{digits}d}.png" for v in range(len(names))]
        notes.append("images are numbered anew, since the order of their names isn't that of the cameras")
    low, high = views.bounds()
    ball = np.diag([*[np.linalg.norm(high - low) / 2] * 3, 1.0])
    ball[:3, 3] = (low + high) / 2
    matrices = {}
    for v, name in enumerate(names):
        world = np.linalg.inv(HALF_PIXEL) @ views.intrinsics[v] @ views.cam_from_world[v]
        matrices |= {f"world_mat_{v}": _square(world[None])[0], f"scale_mat_{v}": ball}
        _save(views.images[v], _place(folder, f"image/{name}"))
        if views.masks is not None:
            _save(views.masks[v], _place(folder, f"mask/{name}"))
    with replacing(folder / "cameras_sphere.npz") as file:
        np.savez(file, **matrices)
    depths, points = "the format holds no depth maps: they are left out", "the format holds no points: they are left out"
    return notes + _lost(views, depths=depths, points=points)


FORMATS: dict[str, Callable[[Views, Path], list[str]]] = {
    "transforms": write_transforms,
    "colmap": write_colmap,
    "idr": write_idr,
}


def _square(matrices: np.ndarray) -> np.ndarray:
    """(V, 4, 4) of (V, 3, 4)."""
    return np.concatenate([matrices, np.tile([[[0.0, 0.0, 0.0, 1.0]]], (len(matrices), 1, 1))], axis=1)


def _words(values: Sequence[float]) -> str:
    """Numbers that read back as they are."""
    return " ".join(repr(float(value)) for value in values)


def _png_names(names: Sequence[str], folder: Path) -> list[str]:
    """The images' names with the suffix .png; where two would then be called the same, after the suffix they have."""
    for name in names:
        inside(folder, name)
    paths = [PurePosixPath(name.replace("\\", "/")) for name in names]
    renamed = [(path if path.suffix.lower() == ".png" else path.with_suffix(".png")).as_posix() for path in paths]
    if len(set(renamed)) < len(renamed):
        renamed = [f"{path.as_posix()}.png" for path in paths]
    if len(set(renamed)) < len(renamed):
        raise InputError("two images have the same name: each needs its own to be written")
    return renamed


def _place(folder: Path, name: str) -> Path:
    """The path of a new file in a folder, in folders of its own."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _save(pixels: np.ndarray, path: Path) -> None:
    Image.fromarray(np.where(pixels, np.uint8(255), np.uint8(0)) if pixels.dtype == bool else pixels).save(path, format="PNG")


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as file:
        file.write(data)


def _lost(views: Views, **notes: str) -> list[str]:
    """The notes on parts that the views carry."""
    return [note for part, note in notes.items() if getattr(views, part) is not None]
