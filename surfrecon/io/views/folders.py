"""Where the files of a data set are: images beside cameras, masks beside images. No name in a file leads outside its folder."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from surfrecon.errors import InputError
from surfrecon.io.views.pixels import SUFFIXES

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "rgb", "color", "colour", "blended_images", "input")
MASK_FOLDERS = ("masks", "mask")


def inside(root: Path, name: str) -> Path:
    """The path of a file that another file calls by `name`, relative to `root`.

    Raises:
        InputError: the name is absolute, climbs by '..', or leads outside through a symbolic link.
    """
    relative = PurePosixPath(name.replace("\\", "/"))
    if not name or "\0" in name or relative.is_absolute() or PureWindowsPath(name).drive or ".." in relative.parts:
        raise InputError(f"it names the file {name!r}, which isn't a path inside its own folder: files must lie beside or below it")
    path = root / relative
    if not path.resolve().is_relative_to(root.resolve()):
        raise InputError(f"it names the file {name!r}, which a symbolic link leads outside of {root}: put the files themselves there")
    return path


def image_beside(roots: Sequence[Path], name: str) -> Path:
    """The image that a camera file calls by `name`, in one of the roots or in a folder of images there; its suffix may be left out.

    Raises:
        InputError: there is none, or the name leads outside.
    """
    for root in roots:
        for folder in (root, *(root / folder for folder in IMAGE_FOLDERS)):
            for suffix in ("", *SUFFIXES, *map(str.upper, SUFFIXES)):
                path = inside(root, str(PurePosixPath(folder.relative_to(root).as_posix(), name + suffix)) if name else name)
                if path.is_file():
                    return path
    places = " and ".join(str(root) for root in dict.fromkeys(roots))
    raise InputError(f"it names the image {name!r}, which is neither in {places} nor in a folder {', '.join(IMAGE_FOLDERS[:5])} there")


def images_in(root: Path) -> list[Path]:
    """The images of the first folder of images in `root`, or of itself, in the order of their numbers."""
    for folder in (*(root / name for name in IMAGE_FOLDERS), root):
        found = image_files(folder)
        if found:
            return found
    raise InputError(f"there are no images in {root} or in a folder {', '.join(IMAGE_FOLDERS[:5])} there")


def image_files(folder: Path) -> list[Path]:
    """The images directly in a folder, in the order of their numbers."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()), key=in_order)


def in_order(path: Path) -> list:
    """A sort key by which 2 comes before 10."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"[0-9]+|[^0-9]+", path.name)]


def common_folder(paths: Sequence[Path]) -> Path:
    """The folder that holds them all, be it in folders of its own."""
    return Path(os.path.commonpath([path.parent for path in paths]))


def mask_folder(images: Sequence[Path]) -> Path | None:
    """The folder of masks beside the images, if there is one."""
    shared = common_folder(images)
    places = (folder / name for folder in (shared, shared.parent) for name in MASK_FOLDERS)
    return next((place for place in places if place.is_dir()), None)


def masks_for(images: Sequence[Path], folder: Path) -> list[Path]:
    """The mask of each image: of the same name (0001.png, 0001.jpg.png, 0001_mask.png for 0001.jpg), else of the same number.

    Raises:
        InputError: the folder lacks one.
    """
    found = sorted((path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()), key=in_order)
    if not found:
        raise InputError(f"there are no masks in {folder}")
    stems = {path.relative_to(folder).with_suffix("").as_posix(): path for path in found}
    names = {}
    for path in images:
        nested = PurePosixPath(path.parent.name, path.name)  # images of several cameras, a folder each
        forms = [form for name in (nested, PurePosixPath(path.name)) for form in (name.with_suffix(""), name)]
        forms += [PurePosixPath(f"{path.stem}_mask"), PurePosixPath(f"mask_{path.stem}")]
        names[path] = next((stems[form.as_posix()] for form in forms if form.as_posix() in stems), None)
    if None in names.values():
        numbers = {number(mask.stem): mask for mask in found}
        wanted = {number(path.stem) for path in images}
        if len(numbers) == len(found) and len(wanted) == len(images) and wanted <= numbers.keys() - {None}:
            return [numbers[number(path.stem)] for path in images]
        lacking = next(path for path, mask in names.items() if mask is None)
        raise InputError(f"there is no mask for {lacking.name} in {folder}: expected {lacking.stem}.png, or any name with the same number")
    return [names[path] for path in images]


def number(stem: str) -> int | None:
    """The last number in a file's name."""
    digits = re.findall(r"[0-9]{1,18}", stem)
    return int(digits[-1]) if digits else None
