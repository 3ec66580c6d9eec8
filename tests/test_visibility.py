"""Visibility against closed forms: spheres, seen and hidden."""

import numpy as np
import pytest
from painted import photographs, sphere

from surfrecon.data_tools.cameras import cameras_around
from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, Similarity
from surfrecon.visibility import STEEPEST, Visibility, bilinear, seen

EYE = np.array([0.0, 0.0, 1.0])


def cosines(mesh: Mesh, centre: np.ndarray) -> np.ndarray:
    away = centre - mesh.vertices
    return np.einsum("vi,vi->v", away, mesh.vertices) / np.linalg.norm(away, axis=1)


def two_balls(gap: float) -> Mesh:
    """A ball of radius 0.5 above the unit sphere, which hides a part of it from a camera above."""
    ball = sphere()
    small = 0.5 * ball.vertices + [0, 0, 1.5 + gap]
    return Mesh(np.concatenate([ball.vertices, small]), np.concatenate([ball.faces, ball.faces + len(small)]))


def test_of_a_sphere_each_view_sees_what_faces_it_and_nothing_else():
    mesh, views = sphere(), photographs()
    shown, _ = seen(mesh, views)
    for view in range(len(views)):
        cosine = cosines(mesh, views.centres[view])
        assert not shown[view, cosine < np.cos(STEEPEST) - 0.01].any()
        assert shown[view, cosine > np.cos(STEEPEST) + 0.1].all()


def test_faces_are_seen_as_their_corners_are():
    mesh, views = sphere(), photographs()
    vertices, faces = seen(mesh, views)
    corners = vertices[:, mesh.faces].mean(axis=2)
    assert faces[corners == 1].all() and not faces[corners == 0].any()


@pytest.mark.parametrize("offset", [0.0, 3e5])
def test_what_another_part_hides_is_not_seen(offset):
    mesh = two_balls(0.3)
    views = cameras_around(mesh.vertices, EYE[None], size=(300, 300))
    move = Similarity(1.0, [offset, -offset, 0])
    shown = seen(mesh.transformed(move), views.transformed(move))[0][0]
    ray = mesh.vertices - views.centres[0]
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    lever = np.array([0, 0, 1.8]) - views.centres[0]
    passes = np.linalg.norm(lever - (ray @ lever)[:, None] * ray, axis=1)  # how near each ray comes to the small ball's middle
    big = np.arange(len(mesh.vertices)) < len(sphere().vertices)
    above = cosines(mesh, views.centres[0]) > 0.3
    assert (big & above & (passes < 0.5)).sum() > 100
    assert not shown[big & (passes < 0.5)].any()
    assert shown[big & above & (passes > 0.6)].all()


def test_nothing_outside_of_the_mask_or_the_frame_is_seen():
    mesh, views = sphere(), photographs()[[0]]
    left = np.arange(160) < 80
    half = Mesh(mesh.vertices, mesh.faces)
    masked = type(views)(views.images, views.intrinsics, views.cam_from_world, masks=(views.masks[0] & left,))
    pixels, _ = views.project(0, mesh.vertices)
    assert not seen(half, masked)[0][0, pixels[:, 0] > 80].any()
    shifted = views.intrinsics - np.array([[0, 0, 60.0], [0, 0, 0], [0, 0, 0]])
    moved = type(views)(views.images, shifted, views.cam_from_world)
    shown = seen(half, moved)[0][0]
    assert shown.any() and not shown[pixels[:, 0] < 60].any()


def test_a_mesh_out_of_sight_is_not_seen():
    views = photographs()[[0, 1]]
    mesh = sphere()
    aside = Mesh(mesh.vertices + 50 * views.cam_from_world[0, 0, :3], mesh.faces)
    assert not seen(aside, views)[0][0].any()


def test_weight_is_pixels_per_area_seen_straight_on_and_falls_to_zero_at_edges():
    mesh, views = sphere(), photographs()
    place = views.centres[[0]] / np.linalg.norm(views.centres[0])
    sight = Visibility(mesh, views).sight(0, place, place)
    depth = np.linalg.norm(views.centres[0]) - 1
    assert sight.weight[0] == pytest.approx((views.intrinsics[0, 0, 0] / depth) ** 2, rel=1e-3) and sight.cosine[0] == pytest.approx(1)
    everywhere = Visibility(mesh, views).sight(0, mesh.vertices, mesh.vertices)
    aslant = everywhere.cosine < 0.3
    assert 0 < everywhere.weight[aslant].max() < 0.05 * everywhere.weight.max()


def test_coarser_depth_maps_tell_the_same(monkeypatch):
    mesh, views = sphere(), photographs()
    fine, _ = seen(mesh, views)
    monkeypatch.setattr("surfrecon.visibility.MOST_RAYS", 20 * 100**2)
    coarse, _ = seen(mesh, views)
    steep = np.stack([cosines(mesh, centre) < np.cos(STEEPEST) + 0.15 for centre in views.centres])
    assert (fine == coarse)[~steep].all()


def test_bilinear_reproduces_what_is_linear_and_goes_on_beyond_the_border():
    y, x = np.mgrid[:5, :7] + 0.5
    image = np.stack([2 * x + y, x - 3 * y], axis=2)
    at = np.random.default_rng(0).uniform([0.5, 0.5], [6.5, 4.5], (50, 2))
    assert np.allclose(bilinear(image, at), np.stack([2 * at[:, 0] + at[:, 1], at[:, 0] - 3 * at[:, 1]], axis=1), atol=1e-5)
    assert np.allclose(bilinear(image, np.array([[-3.0, 2.5], [9, 9]])), image[[2, 4], [0, 6]])
    assert bilinear(np.full((1, 1), 7, np.uint8), np.array([[0.3, 0.9]])) == 7


def test_a_mesh_without_faces_is_refused():
    with pytest.raises(InputError, match="no faces"):
        Visibility(Mesh(np.zeros((3, 3)), np.zeros((0, 3))), photographs())
