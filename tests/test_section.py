"""Sections: what lies behind a plane, cut exactly."""

import numpy as np
import pytest
from solids import FAR, ball

from surfrecon.geometry import Mesh, PointCloud
from surfrecon.repair import inspect
from surfrecon.section import behind


@pytest.mark.parametrize("level", [-0.5, 0.0, 0.3])
def test_area_of_a_cut_sphere_is_that_of_its_zone(level):
    cut = behind(ball(), np.array([0.0, 0, 1]), level)
    assert cut.area() == pytest.approx(2 * np.pi * (1 + level), rel=0.002)
    assert cut.vertices[np.unique(cut.faces)][:, 2].max() == pytest.approx(level, abs=1e-12)


def test_both_sides_together_are_the_mesh_and_faces_keep_their_turn():
    mesh, plane = ball(), np.array([1.0, 2, 3])
    one, other = behind(mesh, plane, 0.7), behind(mesh, -plane, -0.7)
    assert one.area() + other.area() == pytest.approx(mesh.area(), rel=1e-12)
    for part in (one, other):
        assert (np.einsum("fi,fi->f", part.area_vectors(), part.triangles().mean(1)) > -1e-15).all()  # outward


def test_what_corners_carry_is_interpolated_along_the_cut():
    mesh = ball(level=3)
    mesh = Mesh(mesh.vertices, mesh.faces, normals=mesh.vertices, colors=(mesh.vertices + 1) / 2, scalars={"z": mesh.vertices[:, 2]})
    cut = behind(mesh, np.array([1.0, 0, 0]), 0.2)
    assert cut.scalars["z"] == pytest.approx(cut.vertices[:, 2]) and np.allclose(cut.colors, (cut.vertices + 1) / 2, atol=1e-6)
    assert np.allclose(cut.normals, cut.vertices)


def test_planes_beside_the_mesh_leave_all_or_nothing():
    mesh = ball(centre=FAR, level=2)
    assert np.array_equal(behind(mesh, np.array([1.0, 0, 0]), FAR[0] + 2).faces, mesh.faces)
    assert not len(behind(mesh, np.array([1.0, 0, 0]), FAR[0] - 2).faces)
    assert inspect(behind(mesh, np.array([1.0, 0, 0]), FAR[0] + 2)).solid


def test_points_behind_the_plane_stay():
    cloud = PointCloud(np.random.default_rng(0).normal(size=(100, 3)))
    assert np.array_equal(behind(cloud, np.array([0.0, 1, 0]), 0.0).points, cloud.points[cloud.points[:, 1] <= 0])
