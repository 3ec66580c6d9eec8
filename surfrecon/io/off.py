"""OFF meshes: positions and faces in text; the coordinate reference system and the unit as comments."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh
from surfrecon.io.atomic import replacing
from surfrecon.io.attributes import left_out
from surfrecon.io.comments import heard_in, said
from surfrecon.io.numbers import parse_numbers, parse_table
from surfrecon.io.ply import triangles
from surfrecon.io.rounding import needs_double

CHUNK = 2**16  # rows formatted at a time


def read_mesh(path: Path) -> Mesh:
    """Vertices and faces as the file numbers them, polygons cut into fans; colours and normals are passed over."""
    text = path.read_bytes()
    known = heard_in(text)
    text = re.sub(rb"#[^\r\n]*", b"", text)
    head = re.match(rb"\s*(ST)?C?N?OFF", text)  # the counts may follow on the same line
    if not head or b"\0" in text[:4096]:
        raise InputError("it does not begin with 'OFF', or it is a binary one: expected three-dimensional OFF in text")
    first, *lines = [line for line in re.split(rb"[\r\n]+", text[head.end() :]) if line.strip()] or [b""]
    counts = parse_numbers(first, int)
    if len(counts) not in (2, 3) or (counts < 0).any() or counts[0] == 0:
        words = first[:40].decode(errors="replace").strip()
        raise InputError(f"its header holds {words!r} where the numbers of vertices and faces should be")
    vertices, faces = counts[:2].tolist()
    if len(lines) != vertices + faces:
        raise InputError(f"its header promises {vertices} vertices and {faces} faces, but {len(lines)} lines follow: it was cut short")
    return Mesh(parse_table(lines[:vertices], "vertices")[:, :3], _faces(lines[vertices:]), **known)


def write_mesh(mesh: Mesh, path: Path) -> list[str]:
    """17 digits where float32 would cost too much, else the 9 that tell float32 values apart."""
    digits, vertices = (17, mesh.vertices) if needs_double(mesh.vertices) else (9, mesh.vertices.astype(np.float32))
    with replacing(path) as file:
        file.write(b"OFF\n# written by surfrecon\n")
        file.writelines(f"# {line}\n".encode() for line in said(mesh))
        file.write(f"{len(vertices)} {len(mesh.faces)} 0\n".encode())
        for form, rows in ((f"%.{digits}g %.{digits}g %.{digits}g\n", vertices), ("3 %d %d %d\n", mesh.faces)):
            for start in range(0, len(rows), CHUNK):
                part = rows[start : start + CHUNK]
                file.write((form * len(part) % tuple(part.ravel().tolist())).encode())
    return left_out(mesh, "OFF", "crs", "unit")


def _faces(lines: list[bytes]) -> np.ndarray:
    """(F, 3) triangles of lines that hold the number of corners, the corners, and perhaps a colour."""
    rows = [line.split() for line in lines]
    lengths = parse_numbers(b" ".join(row[0] for row in rows), int)
    if any(not 0 <= n < len(row) for n, row in zip(lengths.tolist(), rows)):
        raise InputError("a face lacks corners: it was cut short or is damaged")
    return triangles(lengths, parse_numbers(b" ".join(b" ".join(row[1 : n + 1]) for n, row in zip(lengths.tolist(), rows)), int))
