"""Textures baked from photographs of a sphere whose colours are known everywhere, and of the cow."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from painted import photographs, sphere, waves

from surfrecon import atlas
from surfrecon.appearance import colored
from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, Similarity, TexturedMesh
from surfrecon.io import read_mesh, read_views
from surfrecon.pictures import Scene
from surfrecon.repair import inspect
from surfrecon.texture import textured
from surfrecon.views import Views
from surfrecon.visibility import bilinear

SPOT = Path(__file__).parents[1] / "../shared/data/mv_synth_spot"
STEP = 1 / 255


def places(item: TexturedMesh, count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 3) on the faces, some on edges, and the texture's colours (N, 3) there."""
    rng = np.random.default_rng(0)
    face = np.tile(np.arange(len(item.mesh.faces)), count)
    weights = rng.dirichlet([0.3, 0.3, 0.3], len(face))
    weights[::4, 0] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    where = np.einsum("nk,nki->ni", weights, item.mesh.triangles()[face])
    return where, bilinear(item.image, item.pixels(face, weights)) / 255


@pytest.fixture(params=["charts", "cells"])
def layout(request, monkeypatch) -> str:
    if request.param == "cells":
        monkeypatch.setattr(atlas, "MOST_FOR_CHARTS", 0)
    elif importlib.util.find_spec("xatlas") is None:
        pytest.skip("charts need xatlas")
    return request.param


def test_the_texture_of_a_sphere_is_true_to_a_step_of_eight_bits(layout):
    item = textured(sphere(), photographs(), faces=1200, size=400)
    where, colors = places(item)
    error = np.abs(colors - waves(where))
    assert inspect(item.mesh).solid and len(item.mesh.faces) <= 1200 and item.mesh.colors is None
    assert error.mean() < 1 * STEP and np.quantile(error, 0.999) < 5 * STEP


def test_both_sides_of_an_edge_agree(layout):
    item = textured(sphere(3), photographs(), faces=2000, size=400)
    faces = item.mesh.faces
    tail, head = faces, np.roll(faces, -1, axis=1)
    key = (np.minimum(tail, head) * len(item.mesh.vertices) + np.maximum(tail, head)).ravel()
    order = np.argsort(key).reshape(-1, 2)  # closed: each edge twice
    middles = np.array([[0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]])
    sides = [bilinear(item.image, item.pixels(side // 3, middles[side % 3])) for side in order.T]
    assert np.abs(sides[0] - sides[1]).mean() < 0.7 and np.abs(sides[0] - sides[1]).max() < 8  # of 255


def test_unseen_places_take_the_colours_of_the_vertices_without_a_seam(layout):
    mesh, view = sphere(), photographs()[[3]]
    item = textured(mesh, view, faces=len(mesh.faces), size=500)
    where, colors = places(item)
    toward = view.centres[0] / np.linalg.norm(view.centres[0])
    facing = where @ toward
    assert np.abs(colors - waves(where))[facing > 0.6].mean() < 1.5 * STEP
    painted = colored(mesh, view)
    own = painted.colors[np.linalg.norm(mesh.vertices[None, :] - where[facing < -0.3][:200, None], axis=2).argmin(axis=1)]
    assert np.abs(colors[facing < -0.3][:200] - own).mean() < 3 * STEP
    assert np.array_equal(item.mesh.scalars["views"], painted.scalars["views"])


def test_a_mask_keeps_what_it_covers_out_of_the_texture(layout):
    views = photographs()
    images, masks = [], []
    for image, mask in zip(views.images, views.masks):
        hand = np.zeros_like(mask)
        hand[60:100, 70:120] = True
        images.append(np.where(hand[:, :, None], np.uint8(255), image))
        masks.append(mask & ~hand)
    item = textured(sphere(), replace(views, images=tuple(images), masks=tuple(masks), depths=None), faces=1200, size=400)
    where, colors = places(item)
    assert np.abs(colors - waves(where)).mean() < 2 * STEP


def test_the_size_is_kept_and_coarse_texels_are_means(layout):
    grain = np.random.default_rng(0).normal(0, 20, (20, 160, 160, 1))
    views = photographs()
    noisy = replace(views, images=tuple(np.clip(i + g, 0, 255).astype(np.uint8) for i, g in zip(views.images, grain)))
    errors = {}
    for size in (110, 400):
        item = textured(sphere(3), noisy, faces=500, size=size)
        where, colors = places(item)
        assert max(item.image.shape) <= size
        errors[size] = np.abs(colors - waves(where)).mean()
    assert errors[110] < 0.8 * errors[400]


def test_far_from_the_origin_the_same_picture():
    move = Similarity(10.0, [8e5, 5.8e6, 100.0])
    mesh, views = sphere(3), photographs()
    near = textured(mesh, views, faces=400, size=200)
    far = textured(mesh.transformed(move), views.transformed(move), faces=400, size=200)
    assert np.abs(move.points(near.mesh.vertices) - far.mesh.vertices).max() < 1e-4
    assert np.abs(places(far)[1] - places(near)[1]).mean() < STEP


@pytest.mark.parametrize("wrong", [{"faces": 3}, {"size": 8}, {"size": 10_000}], ids=str)
def test_options_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=f"got {next(iter(wrong.values()))}"):
        textured(sphere(), photographs(), **wrong)


def test_a_textured_mesh_checks_what_it_is_given():
    mesh, image = Mesh(np.eye(3), [[0, 1, 2]]), np.zeros((4, 4, 3), np.uint8)
    assert np.allclose(TexturedMesh(mesh, np.full((1, 3, 2), 0.25), image).pixels(np.array([0]), np.array([[1.0, 0, 0]])), 1)
    with pytest.raises(InputError, match=r"uv must be in \[0, 1\]"):
        TexturedMesh(mesh, np.full((1, 3, 2), 1.5), image)
    with pytest.raises(InputError, match="uv must have shape"):
        TexturedMesh(mesh, np.zeros((2, 3, 2)), image)
    with pytest.raises(InputError, match="of uint8"):
        TexturedMesh(mesh, np.zeros((1, 3, 2)), image.astype(float))


def psnr(mesh: Mesh, views: Views, colors_at) -> float:
    """Mean over views, over the pixels of their masks, the ray through a pixel's middle alone."""
    scene, values = Scene(mesh), []
    for view in range(len(views)):
        inside = views.masks[view].ravel()
        _, face, weights = scene.hits(*views.rays(view, views.pixel_centres(view)[inside]))
        truth = views.images[view].reshape(-1, 3)[inside].astype(float)
        values.append(10 * np.log10(255**2 / ((colors_at(face, weights) - truth)[face >= 0] ** 2).mean()))
    return float(np.mean(values))


def test_held_out_photographs_of_the_cow_look_as_its_texture_does():
    if not SPOT.exists():
        pytest.skip(f"evaluation data not at {SPOT}")
    views, mesh = read_views(SPOT, check=False), read_mesh(SPOT / "gt.ply")
    held_out = np.array(["test" in name for name in views.names])
    item, painted = textured(mesh, views[~held_out]), colored(mesh, views[~held_out])
    by_texture = psnr(item.mesh, views[held_out], lambda face, weights: bilinear(item.image, item.pixels(face, weights)))
    mixed = lambda face, weights: 255 * np.einsum("nk,nki->ni", weights, painted.colors[mesh.faces[face]])
    by_vertices = psnr(mesh, views[held_out], mixed)
    assert by_texture > 34 and by_texture > by_vertices + 6
