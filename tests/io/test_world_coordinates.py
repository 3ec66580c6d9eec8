"""A mesh at UTM coordinates through every format that is written, opened again by other libraries."""

import json

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from surfrecon.geometry import Mesh, Similarity
from surfrecon.io import MESH_WRITERS, read_mesh, write_mesh

UTM = Similarity(50.0, [8e5, 5.8e6, 100.0])  # the sphere, 100 m wide, where float32 steps are half a metre
MILLIMETRE = 1e-3
ZUP_FROM_YUP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def by_trimesh(path) -> np.ndarray:
    if path.suffix == ".3mf":
        pytest.importorskip("lxml", reason="trimesh reads 3MF by lxml")
    scene = trimesh.load_scene(path, process=False)
    if path.suffix == ".glb":
        scene.apply_transform(ZUP_FROM_YUP)
    mesh = scene.to_mesh()
    if path.suffix == ".stl":
        mesh.merge_vertices(digits_vertex=12)
    return mesh.vertices


def by_open3d(path) -> np.ndarray:
    if path.suffix != ".ply":
        pytest.skip("Open3D reads positions of this format as float32, without their node, or not at all")
    try:
        import open3d
    except (ImportError, OSError) as error:
        pytest.skip(f"open3d does not load: {error}")
    return np.asarray(open3d.io.read_triangle_mesh(str(path)).vertices)


@pytest.mark.parametrize("suffix", MESH_WRITERS)
@pytest.mark.parametrize("opened", [by_trimesh, by_open3d])
def test_every_vertex_is_found_again_within_a_millimetre(tmp_path, sphere, suffix, opened):
    mesh, path = sphere.transformed(UTM), tmp_path / f"mesh{suffix}"
    write_mesh(mesh, path)
    vertices, sidecar = opened(path), tmp_path / f"mesh{suffix}.origin.json"
    if sidecar.exists():
        vertices = vertices + json.loads(sidecar.read_text())["origin"]
    off, nearest = cKDTree(vertices).query(mesh.vertices)
    assert len(vertices) == len(mesh.vertices) == len(np.unique(nearest)) and off.max() < MILLIMETRE


@pytest.mark.parametrize("suffix", MESH_WRITERS)
def test_the_coordinate_systems_text_comes_back_from_the_file_or_from_the_one_beside_it(tmp_path, sphere, suffix):
    path, sidecar = tmp_path / f"mesh{suffix}", tmp_path / f"mesh{suffix}.origin.json"
    write_mesh(sphere.transformed(UTM), path)
    text = json.loads(sidecar.read_text())["crs"] if sidecar.exists() else read_mesh(path).crs
    assert text == sphere.crs


@pytest.mark.parametrize("suffix", MESH_WRITERS)
@pytest.mark.parametrize("unit", ["mm", "cm", "m", "ft"])
def test_numbers_stay_what_they_are_whatever_their_unit(tmp_path, sphere, suffix, unit):
    write_mesh(Mesh(sphere.vertices, sphere.faces, unit=unit), tmp_path / f"mesh{suffix}")
    assert np.abs(read_mesh(tmp_path / f"mesh{suffix}").bounds() - sphere.bounds()).max() < 1e-6
