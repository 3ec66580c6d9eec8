"""Smoothing: noise goes, volume and borders stay."""

import numpy as np
import pytest
from solids import FAR, ball, wavy_sheet

from surfrecon.geometry import Mesh
from surfrecon.smoothing import smoothed


def noisy(size: float = 0.01, centre=(0, 0, 0)) -> Mesh:
    mesh = ball()
    return Mesh(mesh.vertices * (1 + size * np.random.default_rng(0).normal(size=(len(mesh.vertices), 1))) + centre, mesh.faces)


@pytest.mark.parametrize("turns", [1, 10, 100])
def test_sphere_keeps_its_volume_within_one_percent(turns):
    assert smoothed(ball(level=4), turns).volume() == pytest.approx(ball(level=4).volume(), rel=0.01)


def test_noise_of_a_sphere_falls_to_a_third_and_its_radius_stays():
    radius = np.linalg.norm(smoothed(noisy(), 20).vertices, axis=1)
    assert radius.std() < 0.01 / 3 and radius.mean() == pytest.approx(1, abs=0.002)


def test_far_from_the_origin_nothing_changes():
    moved = smoothed(noisy(centre=FAR), 10).vertices - FAR
    assert np.abs(moved - smoothed(noisy(), 10).vertices).max() < 1e-8


def test_border_stays_where_it_is_and_normals_are_made_anew():
    sheet = wavy_sheet(20)
    sheet = Mesh(sheet.vertices, sheet.faces, normals=np.tile([0.0, 0, 1], (400, 1)))
    result = smoothed(sheet, 10)
    edge = (sheet.vertices[:, :2] % 1 == 0).any(1)
    assert (result.vertices[edge] == sheet.vertices[edge]).all() and (result.vertices[~edge] != sheet.vertices[~edge]).any()
    assert np.allclose(result.normals, result.vertex_normals())


def test_no_turns_change_nothing():
    mesh = ball(level=2)
    assert smoothed(mesh, 0) is mesh
