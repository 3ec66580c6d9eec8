"""Scans and meshes to and from the types of trimesh and Open3D, in memory, in their own frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from surfrecon.errors import InputError, MissingDependencyError
from surfrecon.geometry import Mesh, PointCloud

if TYPE_CHECKING:
    import trimesh

INSTALL = "pip install surfrecon[open3d]"
LIBRARIES = {"libusb": "libusb-1.0-0", "libGL.": "libgl1", "libX11": "libx11-6", "libgomp": "libgomp1", "libEGL": "libegl1"}  # Debian's


def to_trimesh(item: Mesh | PointCloud) -> trimesh.Trimesh | trimesh.PointCloud:
    """trimesh's mesh with normals, colours and scalar fields (as vertex_attributes), or its point cloud with colours."""
    import trimesh

    colors = None if item.colors is None else np.rint(255 * item.colors).astype(np.uint8)
    if isinstance(item, PointCloud):
        return trimesh.PointCloud(item.points.copy(), colors=colors)
    mesh = trimesh.Trimesh(
        item.vertices.copy(), item.faces.copy(), vertex_normals=item.normals, vertex_colors=colors, process=False, validate=False
    )
    mesh.vertex_attributes.update({name: values.copy() for name, values in item.scalars.items()})
    return mesh


def from_trimesh(item: Any) -> Mesh | PointCloud:
    """Ours of trimesh's: of a mesh with its colours and vertex attributes of one number each, of a scene all its meshes as one.

    Raises:
        InputError: it is none of these, or holds what no mesh may.
    """
    import trimesh

    if isinstance(item, trimesh.Scene):
        item = item.to_mesh()
    if isinstance(item, trimesh.PointCloud):
        colors = item.colors if item.colors is not None and len(item.colors) == len(item.vertices) else None
        return PointCloud(np.array(item.vertices), colors=None if colors is None else np.asarray(colors)[:, :3] / 255)
    if not isinstance(item, trimesh.Trimesh):
        raise InputError(f"only trimesh's Trimesh, PointCloud and Scene can be taken, got {type(item).__name__}")
    colors = np.asarray(item.visual.vertex_colors)[:, :3] / 255 if item.visual.kind == "vertex" else None
    numbers = {name: np.asarray(values) for name, values in item.vertex_attributes.items()}
    scalars = {name: values for name, values in numbers.items() if values.shape == (len(item.vertices),) and values.dtype.kind in "iufb"}
    return Mesh(np.array(item.vertices), np.array(item.faces), normals=np.array(item.vertex_normals), colors=colors, scalars=scalars)


def to_open3d(item: Mesh | PointCloud) -> Any:
    """Open3D's mesh or point cloud, with normals and colours; scalar fields have no place in it.

    Raises:
        MissingDependencyError: Open3D isn't there.
    """
    open3d = loaded_open3d()
    geometry, utility = open3d.geometry, open3d.utility
    vector = lambda values: utility.Vector3dVector(np.array(values, float))  # it takes writeable arrays only
    if isinstance(item, PointCloud):
        made = geometry.PointCloud(vector(item.points))
        parts = ("normals", "colors")
    else:
        made = geometry.TriangleMesh(vector(item.vertices), utility.Vector3iVector(item.faces.astype(np.int32)))
        parts = ("vertex_normals", "vertex_colors")
    for name, values in zip(parts, (item.normals, item.colors)):
        if values is not None:
            setattr(made, name, vector(values))
    return made


def from_open3d(item: Any) -> Mesh | PointCloud:
    """Ours of Open3D's TriangleMesh or PointCloud, with normals and colours.

    Raises:
        MissingDependencyError: Open3D isn't there. InputError: it is neither, or holds what no mesh may.
    """
    geometry = loaded_open3d().geometry
    some = lambda values: np.array(values) if len(values) else None
    if isinstance(item, geometry.PointCloud):
        return PointCloud(np.array(item.points), normals=some(item.normals), colors=some(item.colors))
    if isinstance(item, geometry.TriangleMesh):
        normals, colors = some(item.vertex_normals), some(item.vertex_colors)
        return Mesh(np.array(item.vertices), np.array(item.triangles), normals=normals, colors=colors)
    raise InputError(f"only Open3D's TriangleMesh and PointCloud can be taken, got {type(item).__name__}")


def loaded_open3d() -> Any:
    """The module.

    Raises:
        MissingDependencyError: it, or a library of the system that it asks for, isn't there; the sentence says what to install.
    """
    try:
        import open3d
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"this needs {error.name or 'Open3D'}, which isn't installed: {INSTALL}") from None
    except (ImportError, OSError) as error:
        package = next((package for library, package in LIBRARIES.items() if library in str(error)), None)
        advice = f"apt-get install {package}" if package else f"install it anew: {INSTALL}"
        raise MissingDependencyError(f"Open3D can't be loaded ({' '.join(str(error).split())}): {advice}") from None
    return open3d
