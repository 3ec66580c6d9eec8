"""To trimesh and Open3D and back: nothing is lost that they can hold."""

import numpy as np
import pytest

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, PointCloud, directions_around
from surfrecon.io.exchange import from_open3d, from_trimesh, to_open3d, to_trimesh

FAR = np.array([8e5, 5.8e6, 100.0])
FACES = [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]


def mesh() -> Mesh:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    made = Mesh(FAR + corners, FACES, scalars={"confidence": np.array([0, 0.25, 0.5, 1])})
    colors = np.array([[0, 51, 102], [255, 0, 0], [0, 255, 0], [0, 0, 255]]) / 255
    return Mesh(made.vertices, made.faces, normals=made.vertex_normals(), colors=colors, scalars=made.scalars)


def cloud() -> PointCloud:
    normals = directions_around(20)
    return PointCloud(FAR + normals, normals=normals, colors=np.rint(255 * abs(normals)) / 255)


def assert_same(item, wanted, *names: str) -> None:
    assert type(item) is type(wanted)
    for name in names:
        np.testing.assert_allclose(getattr(item, name), getattr(wanted, name), atol=1e-6 if name in ("normals", "colors") else 0)


def test_trimesh_and_back_keeps_a_mesh_with_all_it_carries():
    there = to_trimesh(mesh())
    assert there.is_watertight and there.volume == pytest.approx(1 / 6, rel=1e-6)
    back = from_trimesh(there)
    assert_same(back, mesh(), "vertices", "faces", "normals", "colors")
    assert (back.scalars["confidence"] == mesh().scalars["confidence"]).all()


def test_trimesh_and_back_keeps_points_and_colors():
    assert_same(from_trimesh(to_trimesh(cloud())), cloud(), "points", "colors")


def test_scene_of_trimesh_is_all_its_meshes():
    import trimesh

    scene = trimesh.Scene([to_trimesh(mesh()), trimesh.creation.box()])
    assert len(from_trimesh(scene).faces) == len(mesh().faces) + 12


def test_open3d_and_back_keeps_meshes_and_points():
    pytest.importorskip("open3d", exc_type=(ImportError, OSError), reason="Open3D isn't here, or lacks libusb")
    assert to_open3d(mesh()).is_watertight()
    assert_same(from_open3d(to_open3d(mesh())), mesh(), "vertices", "faces", "normals", "colors")
    assert_same(from_open3d(to_open3d(cloud())), cloud(), "points", "normals", "colors")


def test_what_is_none_of_theirs_is_refused():
    with pytest.raises(InputError, match="got list"):
        from_trimesh([1, 2, 3])
