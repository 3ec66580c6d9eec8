"""Textured meshes out, opened again by another library: the same surface, and at each place of it the same colour."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import trimesh

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, Similarity, TexturedMesh
from surfrecon.io import read_mesh, write_textured
from surfrecon.repair import inspect

UTM = Similarity(50.0, [8e5, 5.8e6, 100.0])
SUFFIXES = pytest.mark.parametrize("suffix", ["glb", "obj"])


@pytest.fixture
def textured(sphere) -> TexturedMesh:
    """The sphere with a picture that is linear in column (red) and row (green), each of its faces somewhere in it, in both halves."""
    rng = np.random.default_rng(0)
    place = rng.uniform(0.05, 0.9, (len(sphere.faces), 1, 2))
    uv = place + np.array([[0, 0], [0.04, 0], [0, 0.04]])
    row, column = np.mgrid[:120, :200]
    image = np.stack([column, 2 * row, np.full_like(row, 40)], axis=2).astype(np.uint8)
    return TexturedMesh(sphere, uv, image)


def opened(path) -> trimesh.Trimesh:
    """What trimesh makes of a file, z up."""
    scene = trimesh.load_scene(path, process=False)
    if path.suffix == ".glb":
        scene.apply_transform(np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]))
    return scene.to_mesh()


def picture(mesh: trimesh.Trimesh) -> np.ndarray:
    material = mesh.visual.material
    return np.asarray(getattr(material, "baseColorTexture", None) or material.image)[:, :, :3]


@SUFFIXES
def test_another_library_finds_each_colour_where_it_belongs(tmp_path, textured, suffix):
    write_textured(textured, tmp_path / f"mesh.{suffix}")
    other = opened(tmp_path / f"mesh.{suffix}")
    assert isinstance(other.visual, trimesh.visual.TextureVisuals) and np.array_equal(picture(other), textured.image)
    assert np.abs(other.vertices[other.faces] - textured.mesh.triangles()).max() < 1e-6
    middles = other.visual.uv[other.faces].mean(axis=1) * [1, -1] + [0, 1]  # trimesh counts from below
    column, row = (middles * (200, 120)).T
    truth = textured.uv.mean(axis=1) * (200, 120)
    assert np.abs(np.stack([column, row], axis=1) - truth).max() < 1e-3
    colors = picture(other)[row.astype(int), column.astype(int)].astype(float)
    assert np.abs(colors[:, :2] - truth * [1, 2] + [0.5, 1]).max() <= 1.01


@SUFFIXES
def test_our_own_readers_find_the_closed_surface_at_utm_coordinates(tmp_path, textured, suffix):
    far = replace(textured, mesh=textured.mesh.transformed(UTM))
    write_textured(far, tmp_path / f"mesh.{suffix}")
    again = read_mesh(tmp_path / f"mesh.{suffix}")
    assert inspect(again).solid and np.array_equal(again.faces, far.mesh.faces) and again.crs == far.mesh.crs
    assert np.abs(again.vertices - far.mesh.vertices).max() < 1e-3 and np.abs(again.normals - far.mesh.normals).max() < 1e-6
    assert np.abs(opened(tmp_path / f"mesh.{suffix}").vertices.mean(axis=0) - UTM.translation).max() < 5


def test_glb_keeps_scalar_fields_and_leaves_colours_to_the_picture(tmp_path, textured):
    assert write_textured(textured, tmp_path / "mesh.glb") == []
    data = (tmp_path / "mesh.glb").read_bytes()
    document = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    assert set(attributes) == {"POSITION", "NORMAL", "TEXCOORD_0", "_CONFIDENCE", "_LABEL"} and len(data) % 4 == 0
    factors = document["materials"][0]["pbrMetallicRoughness"]
    assert (factors["metallicFactor"], factors["roughnessFactor"]) == (0, 1)
    view = document["bufferViews"][document["images"][0]["bufferView"]]
    start = len(data) - document["buffers"][0]["byteLength"] + view["byteOffset"]
    assert data[start : start + 8] == b"\x89PNG\r\n\x1a\n"
    again = read_mesh(tmp_path / "mesh.glb")
    assert again.colors is None and np.array_equal(again.scalars["confidence"], textured.mesh.scalars["confidence"])


def test_obj_names_its_picture_and_says_what_it_leaves_out(tmp_path, textured):
    (note,) = write_textured(textured, tmp_path / "cow.obj")
    assert "confidence" in note and "colours" not in note
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cow.mtl", "cow.obj", "cow.png"]
    assert "mtllib cow.mtl" in (tmp_path / "cow.obj").read_text() and "map_Kd cow.png" in (tmp_path / "cow.mtl").read_text()


def test_a_mesh_without_normals_keeps_its_texture(tmp_path, textured):
    plain = replace(textured, mesh=Mesh(textured.mesh.vertices, textured.mesh.faces))
    for suffix in ("glb", "obj"):
        write_textured(plain, tmp_path / f"mesh.{suffix}")
        assert np.array_equal(picture(opened(tmp_path / f"mesh.{suffix}")), textured.image)
        assert inspect(read_mesh(tmp_path / f"mesh.{suffix}")).solid


def test_writing_that_fails_leaves_what_was_there(tmp_path, textured, monkeypatch):
    write_textured(textured, tmp_path / "mesh.glb")
    before = (tmp_path / "mesh.glb").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Exception, match="disk is full"):
        write_textured(textured, tmp_path / "mesh.glb")
    assert (tmp_path / "mesh.glb").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name, reason", [("mesh.ply", "cannot be written to"), ("a b.obj", "spaces"), ("no/mesh.glb", "does not exist")])
def test_what_cannot_be_written_is_refused_in_a_sentence(tmp_path, textured, name, reason):
    with pytest.raises(InputError, match=reason):
        write_textured(textured, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_open3d_sees_the_texture(tmp_path, textured):
    open3d = pytest.importorskip("open3d")
    write_textured(textured, tmp_path / "mesh.obj")
    other = open3d.io.read_triangle_mesh(str(tmp_path / "mesh.obj"))
    assert len(other.triangles) == len(textured.mesh.faces) and other.has_triangle_uvs() and len(other.textures) >= 1
