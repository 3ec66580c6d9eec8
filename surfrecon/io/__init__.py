"""Scans and meshes in and out of files, photographs with their cameras in: one file per format family, imported on use.

Readers check what a header promises against the file before they take memory; every failure is an InputError of one sentence that names
the file. Writers leave the whole file or none (see atomic.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from surfrecon.errors import InputError, ResourceError, SurfreconError
from surfrecon.geometry import Mesh, PointCloud, TexturedMesh

if TYPE_CHECKING:
    from surfrecon.views import Views

log = logging.getLogger("surfrecon")

SCAN_READERS = {
    ".ply": "ply:read_scan",
    ".las": "las:read_scan",
    ".laz": "las:read_scan",
    ".xyz": "text:read_scan",
    ".txt": "text:read_scan",
    ".asc": "text:read_scan",
    ".csv": "text:read_scan",
    ".pts": "text:read_scan",
    ".npy": "arrays:read_npy",
    ".npz": "arrays:read_npz",
    ".pcd": "pcd:read_scan",
    ".e57": "e57:read_scan",
    ".bin": "kitti:read_scan",
}
SCAN_WRITERS = {".ply": "ply:write_scan", ".npz": "arrays:write_npz", ".xyz": "text:write_scan"}
MESH_READERS = {
    ".ply": "ply:read_mesh",
    ".obj": "obj:read_mesh",
    ".stl": "stl:read_mesh",
    ".off": "off:read_mesh",
    ".glb": "glb_reader:read_mesh",
}
MESH_WRITERS = {".ply": "ply:write_mesh", ".glb": "glb:write_mesh", ".obj": "obj:write_mesh", ".stl": "stl:write_mesh"}
TEXTURED_WRITERS = {".glb": "glb:write_textured", ".obj": "obj:write_textured"}


def read_scan(path: Path | str) -> PointCloud:
    """The points of a file with all they carry, in the file's own coordinates (float64).

    Names and meanings of columns that the file leaves open are guessed from the values and told in the log; points that are NaN or infinite
    are left out with a warning. A mesh file gives its vertices.

    Raises:
        InputError: the file is missing, of a kind we don't read, damaged, or holds no usable points.
        ResourceError: it doesn't fit in memory.
    """
    path = Path(path)
    if path.suffix.lower() in SCAN_READERS:
        return _read(path, SCAN_READERS, "scan")
    mesh = _read(path, SCAN_READERS | MESH_READERS, "scan")
    return PointCloud(mesh.vertices, normals=mesh.normals, colors=mesh.colors, scalars=mesh.scalars, crs=mesh.crs)


def read_mesh(path: Path | str) -> Mesh:
    """The triangles of a file and what its vertices carry, in z-up world coordinates (GLB is turned, STL's equal corners are merged).

    Raises:
        InputError: the file is missing, of a kind we don't read, damaged, or holds no faces.
        ResourceError: it doesn't fit in memory.
    """
    mesh = _read(Path(path), MESH_READERS, "mesh")
    if not len(mesh.faces):
        raise InputError(f"{path}: it holds no faces, so it is no mesh")
    return mesh


def read_views(
    path: Path | str,
    *,
    masks: Path | str | None = None,
    longest_side: int | None = None,
    check: bool = True,
    photographs: Path | str | None = None,
) -> Views:
    """Photographs with their cameras from a folder, or from the camera file in it, in the file's own frame and units.

    Read are COLMAP models, transforms.json (NeRF, instant-ngp, nerfstudio, NeuS2), cameras_sphere.npz (NeuS, IDR), MVSNet's cam files,
    Middlebury's par files, Strecha's .camera files and folders of RGB-D frames; the log tells which it was. Lens distortion is undone.

    Args:
        path: a folder, or the camera file in it where it holds several.
        masks: a folder of masks, bright on the object; None takes those that the file names, else a folder mask or masks, else alpha.
        longest_side: pixels; larger images are scaled down as they are read. None keeps them.
        check: whether to refuse poses that the images contradict, in a way that tells how they should have been read.
        photographs: the folder that holds the images of a COLMAP model that lies elsewhere; None looks for them around the cameras.
    Raises:
        InputError: nothing to read, a file that is damaged, missing or leads outside of the folder, cameras that can't be right.
        ResourceError: the images don't fit in memory.
    """
    path = Path(path)
    with _one_sentence(path, "camera"):
        if not path.exists():
            raise InputError("there is no such file or folder")
        read = import_module(f"{__name__}.views").read
        given = [None if folder is None else Path(folder) for folder in (masks, photographs)]
        return read(path, given[0], longest_side, check, given[1])


def write_scan(cloud: PointCloud, path: Path | str) -> list[str]:
    """Write a scan as PLY, NPZ or XYZ; returns a sentence for each thing that the format could not keep, logged as a warning as well.

    Raises:
        InputError: the suffix is not one of these, or the place can't be written to.
        ResourceError: the disk is full.
    """
    return _write(cloud, Path(path), SCAN_WRITERS, "scan")


def write_mesh(mesh: Mesh, path: Path | str) -> list[str]:
    """Write a mesh as PLY, GLB, OBJ or STL; returns a sentence for each thing that the format could not keep, logged as a warning as well.

    Vertices keep their place to 1e-6 of the object's size, and distinct ones stay distinct after the format's rounding.

    Raises:
        InputError: the suffix is not one of these, the mesh has no faces, or the place can't be written to.
        ResourceError: the disk is full.
    """
    if not len(mesh.faces):
        raise InputError(f"{path}: the mesh has no faces, there is nothing to write")
    return _write(mesh, Path(path), MESH_WRITERS, "mesh")


def write_textured(textured: TexturedMesh, path: Path | str) -> list[str]:
    """Write a mesh with its picture as GLB, or as OBJ with a .mtl and a .png beside it; returns sentences as write_mesh() does.

    Raises:
        InputError: the suffix is not one of these, the mesh has no faces, or the place can't be written to.
        ResourceError: the disk is full.
    """
    if not len(textured.mesh.faces):
        raise InputError(f"{path}: the mesh has no faces, there is nothing to write")
    return _write(textured, Path(path), TEXTURED_WRITERS, "textured mesh")


def _function(path: Path, table: Mapping[str, str], what: str, verb: str) -> Callable:
    name = table.get(path.suffix.lower())
    if name is None:
        suffix = repr(path.suffix) if path.suffix else "a name without suffix"
        raise InputError(f"{path}: a {what} cannot be {verb} {suffix}; known are {', '.join(sorted(table))}")
    module, function = name.split(":")
    return getattr(import_module(f"{__name__}.{module}"), function)


def _read(path: Path, table: Mapping[str, str], what: str) -> PointCloud | Mesh:
    reader = _function(path, table, what, "read from")
    with _one_sentence(path, path.suffix.lower()[1:].upper()):
        if not path.is_file():
            raise InputError("it is a folder or a device, not a file" if path.exists() else "there is no such file")
        return reader(path)


@contextmanager
def _one_sentence(path: Path, kind: str) -> Iterator[None]:
    """Whatever goes wrong in reading becomes an error of ours that names the path."""
    try:
        with np.errstate(all="ignore"):  # what overflows or isn't a number is looked for by the readers themselves
            yield
    except SurfreconError as error:
        raise type(error)(f"{path}: {error}") from error
    except MemoryError as error:
        raise ResourceError(f"{path}: it does not fit in memory") from error
    except OSError as error:
        raise InputError(f"{path}: it cannot be read ({error.strerror or error})") from error
    except Exception as error:  # numpy, zipfile, json, laspy and trimesh each raise what they like on a damaged file
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"{path}: it is damaged or no {kind} file ({reason})") from error


def _write(item: PointCloud | Mesh | TexturedMesh, path: Path, table: Mapping[str, str], what: str) -> list[str]:
    writer = _function(path, table, what, "written to")
    try:
        notes = writer(item, path)
    except SurfreconError as error:
        if str(path) in str(error):  # atomic.py names the file itself
            raise
        raise type(error)(f"{path}: {error}") from error
    except MemoryError as error:
        raise ResourceError(f"{path}: there is not enough memory to write it") from error
    except OSError as error:  # about a file beside it
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    for note in notes:
        log.warning("%s: %s", path, note)
    return notes
