"""OFF meshes, in only."""

from __future__ import annotations

from pathlib import Path

from surfrecon.geometry import Mesh


def read_mesh(path: Path) -> Mesh:
    """Vertices and faces as the file numbers them; colours are passed over."""
    import trimesh

    with open(path, "rb") as file:
        mesh = trimesh.load_mesh(file, file_type="off", process=False)
    return Mesh(mesh.vertices, mesh.faces)
