"""The surface of the visual hull against an ellipsoid's silhouettes."""

from dataclasses import replace

import numpy as np
import pytest
from arc import AXES, CENTRE, ellipsoid

from surfrecon.errors import InputError
from surfrecon.geometry import Similarity
from surfrecon.hull_surface import hull_mesh, hull_surface
from surfrecon.repair import inspect


@pytest.fixture(scope="module")
def found():
    views = replace(ellipsoid(24), depths=None)
    return views, hull_surface(views, side=0.04)


def level(points: np.ndarray) -> np.ndarray:
    """(N,) 1 on the ellipsoid, more outside."""
    return np.sqrt((((points - CENTRE) / AXES) ** 2).sum(1))


def test_hull_touches_the_ellipsoid_and_is_never_inside(found):
    _, hull = found
    pixel = 0.017  # at the object
    assert level(hull.points).min() > 1 - 1.5 * pixel / AXES.min()
    assert np.median(level(hull.points)) < 1.05
    octants = ((hull.points > CENTRE) * [1, 2, 4]).sum(1)
    assert np.bincount(octants, minlength=8).min() > 100


def test_points_project_onto_an_outline(found):
    views, hull = found
    nearest = np.full(len(hull), np.inf)
    for view, mask in enumerate(views.masks):
        edge = np.argwhere(mask[:, 1:] != mask[:, :-1])[:, ::-1] + [1.0, 0.5]
        pixels, _ = views.project(view, hull.points)
        nearest = np.minimum(nearest, np.linalg.norm(pixels[:, None] - edge, axis=2).min(1))
    assert np.quantile(nearest, 0.95) < 1.5  # half of it from the outline's own steps


def test_normals_look_outward(found):
    _, hull = found
    away = (hull.points - CENTRE) / AXES**2
    away /= np.linalg.norm(away, axis=1, keepdims=True)
    assert np.median((hull.normals * away).sum(1)) > 0.97
    np.testing.assert_allclose(np.linalg.norm(hull.normals, axis=1), 1, atol=1e-6)


def test_hull_moves_with_its_views(found):
    views, hull = found
    doubled = hull_surface(views.transformed(Similarity(2.0, np.array([1.0, 0, -3]))), side=0.08)
    assert abs(len(doubled) - len(hull)) < 0.02 * len(hull)
    assert np.abs(level((doubled.points - [1.0, 0, -3]) / 2)).max() < level(hull.points).max() + 0.02


@pytest.mark.parametrize("offset", [0.0, 5.8e6], ids=["origin", "far"])
def test_hull_mesh_is_a_solid_that_holds_the_ellipsoid_and_little_more(found, offset):
    views = found[0].transformed(Similarity(1.0, np.full(3, offset)))
    mesh = hull_mesh(views, resolution=96)
    report = inspect(mesh)
    assert report.solid and report.components == 1 and report.genus == 0
    pixel = 0.017  # at the object
    assert level(mesh.vertices - offset).min() > 1 - 1.5 * pixel / AXES.min()
    assert 0.98 < report.volume / (4 / 3 * np.pi * AXES.prod()) < 1.05  # outlines are rounded to pixels, and the least of many counts


def test_hull_mesh_wants_masks(found):
    with pytest.raises(InputError, match="needs masks"):
        hull_mesh(replace(found[0], masks=None))
