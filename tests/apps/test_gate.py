"""The final gate: files that bound a body pass, others are refused by name, and a second library is asked where there is memory."""

import manifold3d
import numpy as np
import pytest
from solids import ball

from surfrecon.apps.gate import check_mesh_file
from surfrecon.errors import SurfreconError
from surfrecon.geometry import Mesh
from surfrecon.io import write_mesh


def tetrahedron():
    return Mesh(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]]), np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))


@pytest.mark.parametrize("suffix", [".ply", ".stl", ".obj"])
def test_gate_passes_a_solid_file(suffix, tmp_path):
    write_mesh(tetrahedron(), tmp_path / f"mesh{suffix}")
    check_mesh_file(tmp_path / f"mesh{suffix}", tmp_path)


@pytest.mark.parametrize(
    ("faces", "said"),
    [
        ([[0, 2, 1], [0, 1, 3], [0, 3, 2]], "3 open edges"),
        ([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]], r"volume -0\.167"),
        ([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 3, 2]], "3 inconsistent edges"),
    ],
    ids=["open", "inside out", "one face turned"],
)
def test_gate_refuses_a_file_that_is_not_solid(faces, said, tmp_path):
    write_mesh(Mesh(tetrahedron().vertices, np.array(faces)), tmp_path / "mesh.ply")
    with pytest.raises(SurfreconError, match=said) as caught:
        check_mesh_file(tmp_path / "mesh.ply", tmp_path / "shown.ply")
    assert str(caught.value).startswith(f"{tmp_path / 'shown.ply'} isn't solid")


def test_gate_asks_the_second_library_where_memory_suffices_alone(tmp_path, monkeypatch):
    file, asked = tmp_path / "mesh.ply", []
    write_mesh(ball(level=3), file)
    manifold = manifold3d.Manifold
    monkeypatch.setattr(manifold3d, "Manifold", lambda mesh: asked.append(1) or manifold(mesh))
    for free, times in ((None, 1), (100_000, 1), (1_000_000_000, 2)):
        monkeypatch.setattr("surfrecon.headroom.available", lambda swap, free=free: free)
        check_mesh_file(file, file)
        assert len(asked) == times
