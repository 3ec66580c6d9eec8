"""Binary glTF 2.0 (GLB), out: Y-up for viewers, exact for those who read the node's matrix.

The matrix is yup_from_world @ translation(origin) in float64, the vertices are float32 relative to the origin. Colours are linear, as the
format wants; normals and scalar fields are vertex attributes, each field under its name in capitals behind an underscore (_CONFIDENCE), its
own name in the extras. A texture is a PNG inside of the file; as the format ties a place in the picture to a vertex, vertices along the
picture's cuts are there once for each side, at bitwise the same position.
"""

from __future__ import annotations

import io
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, TexturedMesh
from surfrecon.io.atomic import replacing
from surfrecon.io.attributes import free_names
from surfrecon.io.rounding import localized

YUP_FROM_WORLD = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # (x, y, z) -> (x, z, -y): our up is z, glTF's is y
MAGIC, JSON_CHUNK, BINARY_CHUNK = b"glTF", b"JSON", b"BIN\0"
LIMIT = 2**32  # bytes: lengths are uint32
FLOAT, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5123, 5125  # component types
VERTEX_BUFFER, INDEX_BUFFER = 34962, 34963  # targets
CLAMP, LINEAR, LINEAR_MIPMAPS = 33071, 9729, 9987  # how a picture is sampled
NORMALIZED = "COLOR_0"  # integers that stand for numbers in [0, 1]
MATERIAL = {"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.8}, "doubleSided": True}


TEXTURED = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": 1.0}, "doubleSided": True}


def write_mesh(mesh: Mesh, path: Path) -> list[str]:
    """Store all that the mesh carries; the notes name scalar fields that float32 cannot hold exactly."""
    origin, arrays = _attributes(mesh)
    return _write(path, mesh, origin, arrays, mesh.faces)


def write_textured(textured: TexturedMesh, path: Path) -> list[str]:
    """Store the picture and all that the mesh carries but colours, by which viewers would multiply the picture's."""
    from PIL import Image

    mesh = textured.mesh
    pairs = np.column_stack([mesh.faces.ravel(), textured.uv.reshape(-1, 2).astype(np.float32)])
    pairs, corner = np.unique(pairs, axis=0, return_inverse=True)
    origin, arrays = _attributes(replace(mesh, colors=None))
    vertex = pairs[:, 0].astype(np.int64)
    arrays = {name: array[vertex] for name, array in arrays.items()} | {"TEXCOORD_0": pairs[:, 1:].astype(np.float32)}
    picture = io.BytesIO()
    Image.fromarray(textured.image).save(picture, format="PNG")
    return _write(path, mesh, origin, arrays, corner.reshape(-1, 3), picture.getvalue())


def _attributes(mesh: Mesh) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The origin (3,) and what each vertex carries, by the names of the format."""
    origin, local = localized(mesh.vertices)
    arrays = {"POSITION": local}
    if mesh.normals is not None:
        normals = mesh.normals.astype(np.float32)
        normals[~normals.any(axis=1)] = (0, 0, 1)  # the format has no unknown normals, only unit ones
        arrays["NORMAL"] = normals
    if mesh.colors is not None:
        opaque = np.full((len(local), 4), 65535, "<u2")
        opaque[:, :3] = np.round(linear_from_srgb(mesh.colors) * 65535)
        arrays[NORMALIZED] = opaque
    return origin, arrays | {name: mesh.scalars[own].astype(np.float32) for name, own in _fields(mesh).items()}


def _fields(mesh: Mesh) -> dict[str, str]:
    """The format's names of the scalar fields, and their own."""
    return {f"_{name.upper()}": own for name, own in zip(free_names(mesh.scalars), mesh.scalars)}


def _write(path: Path, mesh: Mesh, origin: np.ndarray, arrays: dict[str, np.ndarray], faces: np.ndarray, picture: bytes = b"") -> list[str]:
    blobs = [*arrays.values(), faces.astype("<u4").ravel()]
    document = _document(arrays, blobs[-1], mesh, origin, len(picture))
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    picture += bytes(-len(picture) % 4)
    binary = sum(blob.nbytes for blob in blobs) + len(picture)
    total = 12 + 8 + len(text) + 8 + binary
    if total >= LIMIT:
        raise InputError(f"GLB files end at 4 GiB, this mesh would take {total / 2**30:.1f}: write PLY instead")
    with replacing(path) as file:
        file.write(MAGIC + struct.pack("<II", 2, total))
        file.write(struct.pack("<I", len(text)) + JSON_CHUNK + text)
        file.write(struct.pack("<I", binary) + BINARY_CHUNK)
        for blob in blobs:
            file.write(np.ascontiguousarray(blob, blob.dtype.newbyteorder("<")).data)
        file.write(picture)
    inexact = [name for name, values in mesh.scalars.items() if (values.astype(np.float32) != values)[np.isfinite(values)].any()]
    notes = [f"GLB holds fields as float32: {', '.join(inexact)} keep 7 digits"] if inexact else []
    if mesh.unit not in (None, "m"):
        notes.append(f"GLB's numbers are metres by its standard: these stay as they are, in {mesh.unit}, which few programs will see")
    return notes


def _document(arrays: dict[str, np.ndarray], indices: np.ndarray, mesh: Mesh, origin: np.ndarray, picture: int) -> dict:
    """The JSON part: one scene, node, mesh and primitive; a view and an accessor for each array, then the faces, then a picture's bytes."""
    views, accessors, at = [], [], 0
    for name, array in [*arrays.items(), ("indices", indices)]:
        target = INDEX_BUFFER if array is indices else VERTEX_BUFFER
        views.append({"buffer": 0, "byteOffset": at, "byteLength": array.nbytes, "target": target})
        kind = "SCALAR" if array.ndim == 1 else f"VEC{array.shape[1]}"
        component = UNSIGNED_INT if array is indices else UNSIGNED_SHORT if name == NORMALIZED else FLOAT
        accessors.append({"bufferView": len(views) - 1, "componentType": component, "count": len(array), "type": kind})
        if name == NORMALIZED:
            accessors[-1]["normalized"] = True
        if name == "POSITION":
            accessors[-1] |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        at += array.nbytes
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = YUP_FROM_WORLD, YUP_FROM_WORLD @ origin
    primitive = {"attributes": {name: i for i, name in enumerate(arrays)}, "indices": len(arrays), "material": 0, "mode": 4}
    known = {"crs": mesh.crs, "unit": mesh.unit}
    document = {
        "asset": {"version": "2.0", "generator": "surfrecon", "extras": {k: v for k, v in known.items() if v is not None}},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "matrix": matrix.T.ravel().tolist()}],
        "meshes": [{"primitives": [primitive | {"extras": {"fields": _fields(mesh)}}]}],
        "materials": [TEXTURED if picture else MATERIAL],
        "buffers": [{"byteLength": at + picture + -picture % 4}],
        "bufferViews": views,
        "accessors": accessors,
    }
    if not picture:
        return document
    views.append({"buffer": 0, "byteOffset": at, "byteLength": picture})
    images = [{"bufferView": len(views) - 1, "mimeType": "image/png"}]
    samplers = [{"wrapS": CLAMP, "wrapT": CLAMP, "magFilter": LINEAR, "minFilter": LINEAR_MIPMAPS}]
    return document | {"images": images, "samplers": samplers, "textures": [{"source": 0, "sampler": 0}]}


def linear_from_srgb(colors: np.ndarray) -> np.ndarray:
    colors = np.clip(colors.astype(float), 0, 1)
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1


def srgb_from_linear(colors: np.ndarray) -> np.ndarray:
    colors = np.clip(colors.astype(float), 0, 1)
    return np.where(colors <= 0.0031308, colors * 12.92, 1.055 * colors ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
