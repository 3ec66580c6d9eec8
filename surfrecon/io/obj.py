"""Wavefront OBJ: positions, vertex colours (`v x y z r g b`) and normals; textures, out, with a .mtl and a .png of the same name beside it.

Our own reader, because libraries split a vertex wherever its texture coordinate or normal changes, which opens closed meshes along every
seam. Texture coordinates, materials and groups are passed over; no other file is ever opened.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, TexturedMesh
from surfrecon.io import attributes
from surfrecon.io.atomic import replacing
from surfrecon.io.comments import heard_in, said
from surfrecon.io.numbers import parse_numbers, parse_table
from surfrecon.io.ply import triangles
from surfrecon.io.rounding import needs_double

CHUNK = 2**16  # rows formatted at a time


def read_mesh(path: Path) -> Mesh:
    """Vertices as the file numbers them, polygons cut into fans; normals where each vertex has exactly its own. May have no faces."""
    text = path.read_bytes()
    if b"\0" in text[:4096]:
        raise InputError("it is no text file, so it is no OBJ file")
    text = b"\n" + (re.sub(rb"\\\r?\n", b" ", text) if b"\n" in text else text.replace(b"\r", b"\n"))
    vertices, normals, faces = (re.findall(rb"\n%s[ \t]+([^#\r\n]*)" % keyword, text) for keyword in (b"v", b"vn", b"f"))
    if not vertices:
        raise InputError("it holds no vertices (lines that begin with 'v')")
    table = parse_table(vertices, "lines 'v'")
    lengths = np.array([len(face.split()) for face in faces], np.int64)
    corners, normal_of_corner = _corners(b"\n".join(faces), int(lengths.sum()))
    if (corners < 0).any():  # counted backwards from the vertex read last
        keywords = np.array(re.findall(rb"\n([vf])[ \t]", text))
        seen = np.repeat(np.cumsum(keywords == b"v")[keywords == b"f"], lengths)
        corners = np.where(corners < 0, corners + seen + 1, corners)
    parts = {"points": table[:, :3], "colors": table[:, 3:6] if table.shape[1] >= 6 else None}
    if len(normals) == len(vertices) and np.array_equal(normal_of_corner, corners):
        parts["normals"] = parse_table(normals, "lines 'vn'")[:, :3]
    return attributes.mesh(path, triangles(lengths, corners - 1), **parts, **heard_in(text))


def _corners(text: bytes, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Numbers of the vertex and, where they are named throughout, of the normal of each corner (`a`, `a/t`, `a//n` or `a/t/n`)."""
    first = re.match(rb"\s*[^/\s]+(/[^/\s]*)?(/[^/\s]*)?", text)
    slashes = first[0].count(b"/") if first else 0
    skipped = slashes == 2 and first[1] == b"/"
    per_corner = 1 + slashes - skipped
    if text.count(b"/") != slashes * count or text.count(b"//") != skipped * count:  # corners unlike the first
        text, per_corner = re.sub(rb"/\S*", b"", text), 1
    numbers = parse_numbers(text.replace(b"/", b" "), int)
    corners = numbers[::per_corner]
    if len(numbers) != per_corner * count or (corners == 0).any():
        raise InputError("its faces (lines 'f') name a vertex 0, or corners of different kinds: OBJ counts vertices from 1")
    return corners, numbers[per_corner - 1 :: per_corner] if slashes == 2 and per_corner > 1 else None


def write_mesh(mesh: Mesh, path: Path) -> list[str]:
    """17 digits where float32 would cost too much, else the 9 that tell float32 values apart."""
    with replacing(path) as file:
        _write_vertices(file, mesh)
        _write_faces(file, mesh)
    return attributes.left_out(mesh, "OBJ", "normals", "colors", "crs", "unit")


def write_textured(textured: TexturedMesh, path: Path) -> list[str]:
    """Three files, the one that names the others last; faces share vertices where the picture is cut, so the surface stays closed."""
    from PIL import Image

    mesh, material, picture = replace(textured.mesh, colors=None), path.with_suffix(".mtl"), path.with_suffix(".png")
    if re.search(r"\s", path.stem):
        raise InputError("readers of OBJ stop at spaces in the name of a material's file: name it without")
    places, corner = np.unique(textured.uv.reshape(-1, 2), axis=0, return_inverse=True)
    with replacing(path) as file, replacing(material) as about, replacing(picture) as shown:
        Image.fromarray(textured.image).save(shown, format="PNG")
        about.write(f"newmtl surface\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {picture.name}\n".encode())
        _write_vertices(file, mesh, f"mtllib {material.name}\n")
        _write_rows(file, "vt %.9g %.9g\n", np.column_stack([places[:, 0], 1 - places[:, 1]]))  # the format counts from below
        file.write(b"usemtl surface\n")
        _write_faces(file, mesh, corner.reshape(-1, 3))
        for written in (shown, about, file):
            written.flush()  # what can fail for want of space fails before the first of them appears
    return attributes.left_out(mesh, "OBJ", "normals", "crs", "unit")


def _write_vertices(file, mesh: Mesh, head: str = "") -> None:
    digits, vertices = (17, mesh.vertices) if needs_double(mesh.vertices) else (9, mesh.vertices.astype(np.float32))
    file.write(b"# written by surfrecon\n")
    file.writelines(f"# {line}\n".encode() for line in said(mesh))
    file.write(head.encode())
    if mesh.colors is None:
        _write_rows(file, f"v %.{digits}g %.{digits}g %.{digits}g\n", vertices)
    else:
        _write_rows(file, f"v %.{digits}g %.{digits}g %.{digits}g %.5g %.5g %.5g\n", np.column_stack([vertices, mesh.colors]))
    if mesh.normals is not None:
        _write_rows(file, "vn %.9g %.9g %.9g\n", mesh.normals)


def _write_faces(file, mesh: Mesh, places: np.ndarray | None = None) -> None:
    """Corners as vertex, place in the picture (F, 3) where there is one, and normal."""
    parts = [mesh.faces] + ([] if places is None else [places]) + ([] if mesh.normals is None else [mesh.faces])
    corner = "%d" if len(parts) == 1 else "%d//%d" if places is None else "/".join(["%d"] * len(parts))
    _write_rows(file, f"f {corner} {corner} {corner}\n", np.stack(parts, axis=2).reshape(len(mesh.faces), -1) + 1)


def _write_rows(file, form: str, rows: np.ndarray) -> None:
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        file.write((form * len(part) % tuple(part.ravel().tolist())).encode())
