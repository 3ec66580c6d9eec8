"""Binary glTF 2.0 (GLB), in: triangles of all nodes as one mesh, in float64 through the nodes' matrices, z up.

Every length is held against the file before use. Pictures, animations and skins are passed over; no other file is ever opened. Vertices
that are double because a texture is cut there become one again, so that a closed surface reads as one.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import UNITS, Mesh
from surfrecon.io import attributes
from surfrecon.io.glb import BINARY_CHUNK, JSON_CHUNK, MAGIC, YUP_FROM_WORLD, srgb_from_linear
from surfrecon.io.rounding import distinct

COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
TRIANGLES = 4  # the mode of a primitive


def read_mesh(path: Path) -> Mesh:
    """All triangles; normals, colours and scalar fields where every part has them."""
    document, binary = _chunks(path.read_bytes())
    parts = [_part(document, binary, *placed) for placed in _placed(document)]
    if not parts:
        raise InputError("it holds no triangles")
    start = np.cumsum([0, *(len(part["points"]) for part in parts)])
    faces = np.concatenate([part.pop("faces") + at for part, at in zip(parts, start)])
    common = [name for name in parts[0] if all(name in part for part in parts)]
    merged = {name: np.concatenate([part[name] for part in parts]) for name in common if name != "scalars"}
    fields = [name for name in parts[0]["scalars"] if all(name in part["scalars"] for part in parts)]
    merged["scalars"] = {name: np.concatenate([part["scalars"][name] for part in parts]) for name in fields}
    crs, unit = (document.get("asset", {}).get("extras", {}).get(name) for name in ("crs", "unit"))
    return attributes.mesh(path, faces, **merged, crs=crs if isinstance(crs, str) else None, unit=unit if unit in tuple(UNITS) else None)


def _chunks(data: bytes) -> tuple[dict, bytes]:
    """The JSON document and the binary chunk."""
    if data[:4] != MAGIC:
        raise InputError("it does not begin with 'glTF', so it is no GLB file")
    short = InputError(f"its header promises more than its {len(data)} bytes: it was cut short")
    if len(data) < 20 or struct.unpack_from("<I", data, 8)[0] > len(data):
        raise short
    if data[4] != 2:
        raise InputError(f"it is written in version {data[4]} of glTF: expected 2")
    chunks, at = {}, 12
    while at + 8 <= len(data):
        size, kind = struct.unpack_from("<I4s", data, at)
        if at + 8 + size > len(data):
            raise short
        chunks.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 8 + size
    document = json.loads(chunks.get(JSON_CHUNK, b"null"))
    if not isinstance(document, dict):
        raise InputError("it holds no glTF document")
    return document, chunks.get(BINARY_CHUNK, b"")


def _placed(document: dict) -> list[tuple[dict, np.ndarray]]:
    """Each primitive of triangles with the matrix (4, 4) that places it, glTF frame."""
    nodes, scenes = document.get("nodes", []), document.get("scenes")
    roots = scenes[document.get("scene", 0)].get("nodes", []) if scenes else range(len(nodes))
    waiting, seen, placed = [(root, np.eye(4)) for root in roots], set(), []
    while waiting:
        index, parent = waiting.pop()
        if index in seen:
            raise InputError(f"its node {index} has two parents, which glTF does not allow")
        seen.add(index)
        node = nodes[index]
        matrix = parent @ _matrix(node)
        waiting += [(child, matrix) for child in node.get("children", [])]
        primitives = document["meshes"][node["mesh"]]["primitives"] if "mesh" in node else []
        placed += [(primitive, matrix) for primitive in primitives if primitive.get("mode", TRIANGLES) == TRIANGLES]
    return placed


def _matrix(node: dict) -> np.ndarray:
    if "matrix" in node:
        return np.array(node["matrix"], float).reshape(4, 4).T
    x, y, z, w = np.array(node.get("rotation", (0, 0, 0, 1)), float)
    matrix = np.eye(4)
    rotation = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] = np.array(rotation) * np.array(node.get("scale", (1, 1, 1)), float)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _part(document: dict, binary: bytes, primitive: dict, matrix: np.ndarray) -> dict:
    """One primitive in the world, as parts for attributes.mesh, and its faces."""
    names = primitive["attributes"]
    linear = YUP_FROM_WORLD.T @ matrix[:3, :3]
    points = _accessor(document, binary, names["POSITION"])
    faces = _accessor(document, binary, primitive["indices"]) if "indices" in primitive else np.arange(len(points))
    faces = faces.astype(np.int64).reshape(-1, 3)
    part = {"points": points.astype(float) @ linear.T + YUP_FROM_WORLD.T @ matrix[:3, 3], "faces": faces}
    if np.linalg.det(linear) < 0:
        part["faces"] = faces[:, ::-1]
    if "NORMAL" in names:
        part["normals"] = _accessor(document, binary, names["NORMAL"]).astype(float) @ np.linalg.pinv(linear)
    if "COLOR_0" in names:
        part["colors"] = srgb_from_linear(_accessor(document, binary, names["COLOR_0"])[:, :3])
    own = primitive.get("extras", {}).get("fields", {})
    fields = {own.get(name, name[1:].lower()): _accessor(document, binary, i) for name, i in names.items() if name.startswith("_")}
    part |= {"scalars": {name: values for name, values in fields.items() if values.ndim == 1}}
    return _rejoined(part) if "TEXCOORD_0" in names else part


def _rejoined(part: dict) -> dict:
    """The part with one vertex in place of those that differ in their place in the picture alone, in the order of the first ones."""
    vectors = {name: part[name] for name in ("points", "normals", "colors") if name in part}
    count, number = distinct(np.column_stack(list(vectors.values())))
    first = np.empty(count, np.int64)
    first[number[::-1]] = np.arange(len(number))[::-1]
    order = np.argsort(first)
    place = np.empty(count, np.int64)
    place[order] = np.arange(count)
    scalars = {name: values[first[order]] for name, values in part["scalars"].items()}
    joined = {name: values[first[order]] for name, values in vectors.items()}
    return part | joined | {"scalars": scalars, "faces": place[number][part["faces"]]}


def _accessor(document: dict, binary: bytes, index: int) -> np.ndarray:
    """(N,) or (N, C) numbers; normalised integers become floats."""
    accessor = document["accessors"][index]
    if "sparse" in accessor or "bufferView" not in accessor:
        raise InputError("its geometry is sparse or compressed (Draco, meshopt), which is not read: export it without compression")
    view = document["bufferViews"][accessor["bufferView"]]
    if view["buffer"] != 0 or "uri" in document["buffers"][0]:
        raise InputError("its geometry lies in another file: export it as one GLB file")
    dtype, width, count = np.dtype(COMPONENTS[accessor["componentType"]]), WIDTHS[accessor["type"]], accessor["count"]
    start, stride = view.get("byteOffset", 0) + accessor.get("byteOffset", 0), view.get("byteStride", width * dtype.itemsize)
    if min(count, start) < 0 or stride < dtype.itemsize or start + (count - 1) * stride + width * dtype.itemsize > len(binary):
        raise InputError(f"an accessor promises {count} values, more than its {len(binary)} bytes of data hold: it is damaged")
    values = np.ndarray((count, width), dtype, binary, start, (stride, dtype.itemsize))
    if accessor.get("normalized"):
        values = np.maximum(values / np.float64(np.iinfo(dtype).max), -1)
    return values[:, 0] if width == 1 else values
