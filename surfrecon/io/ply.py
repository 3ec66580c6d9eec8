"""PLY: scans and meshes, in and out.

Written: binary little endian; positions double where float would cost too much, colours uchar, scalars in their own type, the coordinate
reference system and the unit as comments.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, PointCloud
from surfrecon.io import attributes
from surfrecon.io.atomic import replacing
from surfrecon.io.comments import heard, said
from surfrecon.io.ply_tables import Lists, read_tables

TYPE_NAMES = {"i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint", "f4": "float", "f8": "double"}


def read_scan(path: Path) -> PointCloud:
    """The vertices of a PLY file with all their properties; faces are passed over."""
    parts, _ = _read(path)
    return attributes.scan(path, **parts)


def read_mesh(path: Path) -> Mesh:
    """Vertices with all their properties, and faces, polygons cut into fans of triangles."""
    parts, face = _read(path)
    lists = [column for name, column in face.items() if isinstance(column, Lists) and name in ("vertex_indices", "vertex_index")]
    if not lists or not len(lists[0].lengths):
        raise InputError("it holds no faces, so it is a scan rather than a mesh")
    if lists[0].values.dtype.kind == "f":
        raise InputError("its faces name vertices by fractional numbers")
    return attributes.mesh(path, triangles(lists[0].lengths, lists[0].values), **parts)


def _read(path: Path) -> tuple[dict, dict]:
    tables, comments = read_tables(path)
    vertex = {name: column for name, column in tables.get("vertex", {}).items() if not isinstance(column, Lists)}
    parts = attributes.from_columns(vertex)
    if "points" not in parts:
        raise InputError(f"it has no element 'vertex' with x, y and z (elements: {', '.join(tables) or 'none'})")
    return parts | heard(comments), tables.get("face", {})


def triangles(lengths: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(F, 3) int64 fans of polygons: the number of corners of each, and all corners one after the other; below three corners nothing."""
    fan = np.maximum(lengths - 2, 0)
    first = np.repeat(np.cumsum(lengths) - lengths, fan)
    step = np.arange(fan.sum()) - np.repeat(np.cumsum(fan) - fan, fan)
    return np.column_stack([corners[first], corners[first + step + 1], corners[first + step + 2]]).astype(np.int64)


def write_scan(cloud: PointCloud, path: Path) -> list[str]:
    return _write(path, cloud, None)


def write_mesh(mesh: Mesh, path: Path) -> list[str]:
    return _write(path, mesh, mesh.faces)


def _write(path: Path, item: PointCloud | Mesh, faces: np.ndarray | None) -> list[str]:
    notes: list[str] = []
    columns = {name: _storable(name, column, notes) for name, column in attributes.columns_of(item).items()}
    rows = np.empty(len(columns["x"]), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        rows[name] = column
    lines = ["ply", "format binary_little_endian 1.0", "comment written by surfrecon"]
    lines += [f"comment {line}" for line in said(item)]
    lines += [f"element vertex {len(rows)}"]
    lines += [f"property {TYPE_NAMES[column.dtype.str[1:]]} {name}" for name, column in columns.items()]
    if faces is not None:
        lines += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
    with replacing(path) as file:
        file.write("\n".join([*lines, "end_header", ""]).encode("ascii"))
        file.write(rows.view(np.uint8).data)
        if faces is not None:
            sides = np.empty(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
            sides["count"], sides["corners"] = 3, faces
            file.write(sides.view(np.uint8).data)
    return notes


def _storable(name: str, column: np.ndarray, notes: list[str]) -> np.ndarray:
    """A column in a type that PLY has, little endian."""
    kind, size = column.dtype.kind, column.dtype.itemsize
    if kind == "b":
        return column.astype("u1")
    if kind in "iu" and size == 8:
        low, high = (int(column.min()), int(column.max())) if len(column) else (0, 0)
        fitting = next((t for t in ("<i4", "<u4") if np.iinfo(t).min <= low and high <= np.iinfo(t).max), "<f8")
        if fitting == "<f8" and max(-low, high) > 2**53:
            notes.append(f"PLY has no 64 bit integers: {name!r} is stored as double, digits beyond the 16th are lost")
        return column.astype(fitting)
    if kind == "f" and size not in (4, 8):
        return column.astype("<f4" if size < 4 else "<f8")
    return column.astype(column.dtype.newbyteorder("<"), copy=False)
