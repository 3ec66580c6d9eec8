"""STL: triangles in float32, nothing else.

Where float32 would move vertices by more than 1e-6 of the object's size, they are written relative to an origin that the file's 80 byte
header states and that `NAME.stl.origin.json` repeats for other programs; our reader adds it back.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh
from surfrecon.io.atomic import replacing
from surfrecon.io.attributes import left_out
from surfrecon.io.numbers import parse_table
from surfrecon.io.rounding import distinct, localized

FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
HEADER = 80
ORIGIN = "surfrecon origin"  # then x, y, z


def read_mesh(path: Path) -> Mesh:
    """The triangles, corners at exactly the same place made one vertex, in the place that the header's origin says."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(HEADER + 4)
        count = int.from_bytes(head[HEADER:], "little")
        # Some binary files begin with 'solid' too: padded with zeros, or with a number of triangles that has a zero byte.
        text = head.lstrip().lower().startswith(b"solid") and b"\0" not in head and size != HEADER + 4 + count * FACET.itemsize
        if not text and (size < HEADER + 4 or size - HEADER - 4 < count * FACET.itemsize):
            raise InputError(f"its header promises {count} triangles, more than its {size} bytes hold: it was cut short or is no STL file")
        if text:
            corners = _corners_in_text(head + file.read())
        else:
            corners = np.frombuffer(file.read(count * FACET.itemsize), FACET)["corners"].reshape(-1, 3).astype(float)
    number, vertex = distinct(corners)
    vertices = np.empty((number, 3))
    vertices[vertex] = corners
    found = re.match(rb"%s (\S+) (\S+) ([^\s\0]+)" % ORIGIN.encode(), head)
    return Mesh(vertices + (np.array([float(x) for x in found.groups()]) if found else 0), vertex.reshape(-1, 3))


def _corners_in_text(text: bytes) -> np.ndarray:
    """(3 F, 3) corners of all solids of an ASCII file."""
    lines = re.findall(rb"[^\r\n]*\S[^\r\n]*", text.lower())
    corners = [line.split(None, 1)[1] for line in lines if re.match(rb"\s*vertex\s+\S", line)]
    facets = sum(line.split() == [b"endfacet"] for line in lines)
    if len(corners) != 3 * facets or not lines[-1].split()[0].startswith(b"endsolid"):
        raise InputError(f"it has {len(corners)} corners in {facets} closed facets, or lacks 'endsolid': it was cut short or is damaged")
    return parse_table(corners, "corners")[:, :3] if corners else np.empty((0, 3))


def write_mesh(mesh: Mesh, path: Path) -> list[str]:
    """Store the triangles; the notes say where coordinates are local and what was left out."""
    origin, local = localized(mesh.vertices)
    facets = np.zeros(len(mesh.faces), FACET)
    facets["corners"] = local[mesh.faces]
    normals = mesh.area_vectors()
    facets["normal"] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(float).tiny)
    notes, sidecar = left_out(mesh, "STL"), path.with_name(f"{path.name}.origin.json")
    moved = bool(origin.any())
    header = " ".join([ORIGIN, *map(repr, origin.tolist())]) if moved else "written by surfrecon"
    if len(header) > HEADER:
        raise InputError(f"these coordinates need the origin {origin.tolist()}, too long for STL's header: write PLY instead")
    with replacing(path) as file:
        file.write(header.encode("ascii").ljust(HEADER, b"\0") + len(facets).to_bytes(4, "little"))
        file.write(facets.view(np.uint8).data)
        if moved:
            file.flush()  # what can fail for want of space fails before the sidecar appears
            with replacing(sidecar) as beside:
                meaning = "world = origin + coordinates in the STL file"
                about = {"origin": origin.tolist(), "crs": mesh.crs, "unit": mesh.unit, "meaning": meaning}
                beside.write(json.dumps(about, indent=1).encode())
            notes.append(f"STL's float32 cannot hold these coordinates: they are relative to {origin.tolist()}, as {sidecar.name} says")
    if not moved:
        sidecar.unlink(missing_ok=True)  # of an earlier file of this name
    return notes
