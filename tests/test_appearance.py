"""Colours of vertices from photographs of a sphere whose colours are known everywhere."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from painted import photographs, sphere, waves

from surfrecon.appearance import colored, filled, robust_mean, weighted_median
from surfrecon.errors import InputError
from surfrecon.geometry import Mesh


def test_vertices_get_the_true_colours_to_a_step_of_eight_bits():
    mesh = colored(sphere(), photographs())
    error = np.abs(mesh.colors - waves(mesh.vertices))
    assert error.mean() < 1 / 255 and error.max() < 4 / 255
    assert mesh.scalars["views"].min() >= 3 and mesh.scalars["confidence"].min() > 0.5


def test_without_masks_the_same_colours():
    views = replace(photographs(), masks=None, depths=None)
    assert np.abs(colored(sphere(), views).colors - waves(sphere().vertices)).mean() < 1 / 255


def test_one_view_straight_on_gives_half_the_confidence_and_none_gives_zero():
    view = photographs()[[3]]
    mesh = colored(sphere(), view)
    toward = view.centres[0] / np.linalg.norm(view.centres[0])
    confidence, cosine = mesh.scalars["confidence"], mesh.vertices @ toward
    assert confidence[cosine.argmax()] == pytest.approx(0.5, abs=0.002)
    assert (confidence[cosine < 0] == 0).all() and (mesh.scalars["views"][cosine < 0] == 0).all()
    assert ((confidence > 0) == (mesh.scalars["views"] > 0)).all()


def test_unseen_vertices_go_on_from_the_seen_ones_within_their_range():
    mesh = colored(sphere(), photographs()[[3]])
    unseen = mesh.scalars["views"] == 0
    assert unseen.any()
    for channel in mesh.colors.T:
        assert channel[~unseen].min() - 1e-3 <= channel[unseen].min() <= channel[unseen].max() <= channel[~unseen].max() + 1e-3
    edges = np.concatenate([mesh.faces[:, :2], mesh.faces[:, 1:]])
    assert np.abs(mesh.colors[edges[:, 0]] - mesh.colors[edges[:, 1]]).max() < 0.12


def test_a_view_of_something_else_hardly_counts():
    views = photographs()
    wrong = replace(views, images=(np.full_like(views.images[0], 255), *views.images[1:]))
    moved = np.abs(colored(sphere(), wrong).colors - colored(sphere(), views).colors)
    assert moved.mean() < 0.1 / 255 and np.quantile(moved, 0.99) < 1 / 255


def test_robust_mean_is_the_weighted_mean_of_what_agrees_and_leaves_a_highlight_out():
    rng = np.random.default_rng(0)
    colors = 100 + rng.uniform(-1, 1, (3, 6, 40)).astype(np.float32)
    weights = rng.uniform(0.5, 1, (6, 40)).astype(np.float32)
    mean = np.einsum("kn,ckn->cn", weights, colors) / weights.sum(axis=0)
    assert np.abs(robust_mean(colors, weights) - mean).max() < 0.02
    colors[:, 5] = 250
    assert np.abs(robust_mean(colors, weights) - 100).max() < 1.5


def test_one_view_alone_gives_its_colour():
    colors, weights = np.zeros((3, 4, 2), np.float32), np.zeros((4, 2), np.float32)
    colors[:, 2], weights[2] = 77, 1e-3
    assert np.allclose(robust_mean(colors, weights), 77)


def test_weighted_median_is_where_half_of_the_weight_is_reached():
    rng = np.random.default_rng(1)
    values, weights = rng.normal(size=(7, 30)), rng.uniform(size=(7, 30)) * (rng.uniform(size=(7, 30)) < 0.7) + 1e-9
    for value, weight, median in zip(values.T, weights.T, weighted_median(values, weights)):
        assert weight[value < median].sum() < weight.sum() / 2 <= weight[value <= median].sum() * (1 + 1e-9)


def test_filled_colours_solve_laplaces_equation():
    grid = trimesh.creation.icosphere(subdivisions=3)
    mesh = Mesh(grid.vertices, grid.faces)
    known = np.abs(mesh.vertices[:, 2]) > 0.7
    given = np.where(mesh.vertices[:, 2:] > 0, [1.0, 0.5, 0.0], [0.0, 0.5, 0.25])
    result = filled(mesh, given, known)
    assert np.array_equal(result[known], given[known].astype(np.float32)) and np.allclose(result[:, 1], 0.5, atol=1e-3)
    for vertex in np.flatnonzero(~known)[::17]:
        around = np.unique(mesh.faces[(mesh.faces == vertex).any(axis=1)])
        assert result[vertex] == pytest.approx(result[around[around != vertex]].mean(axis=0), abs=2e-3)


def test_a_piece_that_nobody_sees_gets_the_mean_colour():
    ball = sphere(2)
    both = Mesh(np.concatenate([ball.vertices, ball.vertices + 9]), np.concatenate([ball.faces, ball.faces + len(ball.vertices)]))
    known = np.arange(len(both.vertices)) < len(ball.vertices)
    colors = np.where(known[:, None], [0.2, 0.4, 0.6], 0)
    assert np.allclose(filled(both, colors, known)[~known], [0.2, 0.4, 0.6], atol=1e-3)


def test_a_mesh_that_nobody_sees_is_refused():
    away = Mesh(sphere().vertices + 1e3, sphere().faces)
    with pytest.raises(InputError, match="none of the 20 views sees"):
        colored(away, photographs())
