"""Scans and meshes in and out of files, photographs with their cameras in: one file per format family, imported on use.

Readers check what a header promises against the file before they take memory; every failure is an InputError of one sentence that names
the file. Writers leave the whole file or none (see atomic.py).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from surfrecon.errors import InputError, ResourceError, SurfreconError
from surfrecon.geometry import Mesh, PointCloud, TexturedMesh, merge
from surfrecon.selection import NothingSelectedError, Selection, selected

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
    ".conf": "conf:read_scan",
}
SELECTIVE_READERS = {suffix: SCAN_READERS[suffix] for suffix in (".las", ".laz")}  # these drop what isn't wanted as they read
SCAN_WRITERS = {".ply": "ply:write_scan", ".npz": "arrays:write_npz", ".xyz": "text:write_scan"}
MESH_READERS = {
    ".ply": "ply:read_mesh",
    ".obj": "obj:read_mesh",
    ".stl": "stl:read_mesh",
    ".off": "off:read_mesh",
    ".glb": "glb_reader:read_mesh",
    ".3mf": "threemf:read_mesh",
}
MESH_WRITERS = {
    ".ply": "ply:write_mesh",
    ".glb": "glb:write_mesh",
    ".obj": "obj:write_mesh",
    ".stl": "stl:write_mesh",
    ".off": "off:write_mesh",
    ".3mf": "threemf:write_mesh",
}
TEXTURED_WRITERS = {".glb": "glb:write_textured", ".obj": "obj:write_textured"}


def read_scan(path: Path | str, selection: Selection | None = None) -> PointCloud:
    """The points of a file with all they carry, in the file's own coordinates (float64).

    Names and meanings of columns that the file leaves open are guessed from the values and told in the log; points that are NaN or infinite
    are left out with a warning. A mesh file gives its vertices.

    Args:
        selection: which points, and how finely; None takes all. LAS and LAZ files drop the others as they come.
    Raises:
        InputError: the file is missing, of a kind we don't read, damaged, or holds no usable points, or none that is selected.
        ResourceError: it doesn't fit in memory. MissingDependencyError: its kind needs a package that isn't installed.
    """
    path, selection = Path(path), selection or Selection()
    cloud = _unthinned(path, selection)
    with _one_sentence(path, "scan"):
        return selected(cloud, Selection(voxel=selection.voxel))


def read_scans(paths: Sequence[Path | str], selection: Selection | None = None) -> PointCloud:
    """The points of several files of one frame as one scan, with what all of them carry; the log tells what only some do.

    Files that hold none of the selected points are passed over. Voxels are those of the whole.

    Raises:
        InputError: as read_scan(), or files that name different coordinate reference systems or units, or no selected point at all.
    """
    selection = selection or Selection()
    clouds: dict[str, PointCloud] = {}
    for path in paths:
        try:
            clouds[str(path)] = _unthinned(Path(path), selection)
        except NothingSelectedError as error:
            if len(paths) == 1:
                raise
            log.info("%s", error)
    if not clouds:
        raise NothingSelectedError(f"none of the {len(paths)} files holds a selected point: widen the crop, or choose other classes")
    _tell_differences(clouds)
    return selected(merge([*clouds.values()]), Selection(voxel=selection.voxel))


def _unthinned(path: Path, selection: Selection) -> PointCloud:
    """The selected points of a file; how fine its voxels are only tells readers what they may leave out."""
    if path.suffix.lower() in SELECTIVE_READERS:
        cloud = _read(path, SELECTIVE_READERS, "scan", selection)
    elif path.suffix.lower() in SCAN_READERS:
        cloud = _read(path, SCAN_READERS, "scan")
    else:
        mesh = _read(path, SCAN_READERS | MESH_READERS, "scan")
        carried = {name: getattr(mesh, name) for name in ("normals", "colors", "scalars", "crs", "unit")}
        cloud = PointCloud(mesh.vertices, **carried)
    with _one_sentence(path, "scan"):
        return selected(cloud, replace(selection, voxel=None))


def _tell_differences(clouds: Mapping[str, PointCloud]) -> None:
    """Say in the log what is lost because not all files carry it, and what is assumed of those that don't say."""
    for name, words in (("normals", "normals"), ("colors", "colours"), ("origins", "sensor origins")):
        without = [path for path, cloud in clouds.items() if getattr(cloud, name) is None]
        if 0 < len(without) < len(clouds):
            log.warning("the %s are left out: %s has none, which other files of the scan have", words, without[0])
    fields = [set(cloud.scalars) for cloud in clouds.values()]
    if some := sorted(set.union(*fields) - set.intersection(*fields)):
        log.warning("scalar fields that only some files of the scan have are left out: %s", ", ".join(some))
    for name, words in (("crs", "coordinate reference system"), ("unit", "unit")):
        without = [path for path, cloud in clouds.items() if getattr(cloud, name) is None]
        if 0 < len(without) < len(clouds):
            log.warning("%s names no %s: taken to be in that of the other files", without[0], words)


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
    """Write a mesh as PLY, GLB, OBJ, STL, OFF or 3MF; returns a sentence for each thing that the format could not keep, also logged.

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


def _read(path: Path, table: Mapping[str, str], what: str, *options) -> PointCloud | Mesh:
    reader = _function(path, table, what, "read from")
    with _one_sentence(path, path.suffix.lower()[1:].upper()):
        if not path.is_file():
            raise InputError("it is a folder or a device, not a file" if path.exists() else "there is no such file")
        return reader(path, *options)


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
