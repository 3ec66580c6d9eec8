"""Layouts of faces in a picture: nothing overlaps, nothing bleeds, texels know their places."""

import numpy as np
import pytest
import trimesh

from surfrecon import atlas
from surfrecon.geometry import Mesh


def capsule() -> Mesh:
    shape = trimesh.creation.capsule(height=2, radius=0.3, count=[20, 20])  # faces of many sizes and shapes
    return Mesh(shape.vertices, shape.faces)


def charts(mesh: Mesh, side: int):
    return atlas._charts(pytest.importorskip("xatlas"), mesh, side)


LAYOUTS = pytest.mark.parametrize("layout", [charts, atlas._cells], ids=["charts", "cells"])


def owners(found: atlas.Texels, shape) -> np.ndarray:
    """(H, W) face of each texel, -1 where none."""
    owner = np.full(shape, -1)
    owner[found.row, found.column] = found.face
    return owner


@LAYOUTS
def test_the_picture_is_as_large_as_asked_and_faces_fill_half_of_it(layout):
    uv, shape = layout(capsule(), 300)
    assert 270 <= max(shape) <= 300 and uv.min() >= 0 and (uv.max(axis=(0, 1)) <= shape[::-1]).all()
    assert atlas.texels(uv, shape).inside.mean() > 0.5


@LAYOUTS
def test_texels_lie_where_their_weights_say_and_inside_ones_cover_the_faces_areas(layout):
    uv, shape = layout(capsule(), 300)
    found = atlas.texels(uv, shape)
    place = np.einsum("tk,tki->ti", found.weights, uv[found.face])
    assert np.abs(place - np.stack([found.column, found.row], axis=1) - 0.5).max() < 1e-3
    assert ((found.weights >= -1e-5).all(axis=1) | ~found.inside).all()
    assert len(np.unique(found.row * shape[1] + found.column)) == len(found.row)
    first, second = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    area = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).sum() / 2
    edges = np.linalg.norm(np.roll(uv, -1, axis=1) - uv, axis=2).sum()
    assert area - edges < found.inside.sum() < area + edges


@LAYOUTS
def test_bilinear_sampling_in_a_face_touches_texels_with_an_owner(layout):
    uv, shape = layout(capsule(), 300)
    owner = owners(atlas.texels(uv, shape), shape)
    weights = np.random.default_rng(0).dirichlet([0.5, 0.5, 0.5], (40, len(uv)))
    corner = np.floor(np.einsum("snk,nki->sni", weights, uv) - 0.5 + 1e-9).astype(int)
    for dx, dy in np.ndindex(2, 2):
        column, row = np.clip(corner + np.array([dx, dy]), 0, np.array(shape[::-1]) - 1).reshape(-1, 2).T
        assert (owner[row, column] >= 0).all()


def uneven() -> Mesh:
    """Triangles apart, each larger than the last: in cells of two, one is mostly smaller than the other."""
    size = 1.07 ** np.arange(60)
    corners = size[:, None, None] * np.array([[0.0, 0, 0], [1, 0, 0], [0.2, 0.9, 0]]) + np.arange(60)[:, None, None] * [0, 0, 1.0]
    return Mesh(corners.reshape(-1, 3), np.arange(180).reshape(-1, 3))


@pytest.mark.parametrize("mesh", [capsule, uneven])
def test_in_cells_sampling_touches_the_faces_own_texels_alone(mesh):
    uv, shape = atlas._cells(mesh(), 300)
    owner = owners(atlas.texels(uv, shape), shape)
    weights = np.random.default_rng(0).dirichlet([0.5, 0.5, 0.5], (40, len(uv)))
    at = np.einsum("snk,nki->sni", weights, uv) - 0.5
    for dx, dy in np.ndindex(2, 2):
        column, row = (np.floor(at).astype(int) + np.array([dx, dy])).reshape(-1, 2).T
        share = (1 - np.abs(at - np.floor(at) - [dx, dy])).prod(axis=2).ravel()
        own = owner[row.clip(max=shape[0] - 1), column.clip(max=shape[1] - 1)] == np.tile(np.arange(len(uv)), 40)
        assert own[share > 1e-6].all()


def test_cells_give_larger_faces_more_texels_and_the_longest_side_the_hypotenuse():
    mesh = capsule()
    uv, _ = atlas._cells(mesh, 400)
    sides = np.linalg.norm(np.roll(uv, -1, axis=1) - uv, axis=2)
    lengths = np.linalg.norm(np.roll(mesh.triangles(), -1, axis=1) - mesh.triangles(), axis=2)
    assert np.array_equal(sides.argmax(axis=1)[np.ptp(lengths, axis=1) > 1e-9], lengths.argmax(axis=1)[np.ptp(lengths, axis=1) > 1e-9])
    area = np.linalg.norm(mesh.area_vectors(), axis=1)
    ratio = sides.min(axis=1) ** 2 / 2 / area
    assert np.sort(ratio)[[0, -1]] @ [-2.6, 1] < 0  # steps of sqrt 2 in length are 2 in area


def test_more_faces_than_fit_enlarge_the_picture():
    ball = trimesh.creation.icosphere(subdivisions=3)
    uv, shape = atlas._cells(Mesh(ball.vertices, ball.faces), 20)
    found = atlas.texels(uv, shape)
    assert max(shape) > 20 and (np.bincount(found.face[found.inside], minlength=len(uv)) >= 6).all()


def test_a_face_without_area_takes_no_texel():
    mesh = capsule()
    mesh = Mesh(mesh.vertices, np.concatenate([mesh.faces, [[5, 5, 6]]]))
    for layout in (charts, atlas._cells):
        uv, shape = layout(mesh, 128)
        assert np.isfinite(uv).all() and len(uv) == len(mesh.faces) and len(atlas.texels(uv, shape).row)
