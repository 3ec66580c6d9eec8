"""OFF meshes, in only."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh
from surfrecon.io.numbers import parse_numbers, parse_table
from surfrecon.io.ply import triangles


def read_mesh(path: Path) -> Mesh:
    """Vertices and faces as the file numbers them, polygons cut into fans; colours and normals are passed over."""
    text = re.sub(rb"#[^\r\n]*", b"", path.read_bytes())
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
    return Mesh(parse_table(lines[:vertices], "vertices")[:, :3], _faces(lines[vertices:]))


def _faces(lines: list[bytes]) -> np.ndarray:
    """(F, 3) triangles of lines that hold the number of corners, the corners, and perhaps a colour."""
    rows = [line.split() for line in lines]
    lengths = parse_numbers(b" ".join(row[0] for row in rows), int)
    if any(not 0 <= n < len(row) for n, row in zip(lengths.tolist(), rows)):
        raise InputError("a face lacks corners: it was cut short or is damaged")
    return triangles(lengths, parse_numbers(b" ".join(b" ".join(row[1 : n + 1]) for n, row in zip(lengths.tolist(), rows)), int))
