"""Depth and faces of rendered meshes against an ellipsoid's closed form."""

from dataclasses import replace

import numpy as np
import pytest
from arc import AXES, CENTRE, ellipsoid
from solids import ball

from surfrecon.geometry import Similarity
from surfrecon.pictures import Scene
from surfrecon.visible import painted, seen


@pytest.mark.parametrize("offset", [0.0, 5.8e6], ids=["origin", "far"])
def test_depth_and_outline_are_the_ellipsoids(offset):
    move = Similarity(1.0, np.full(3, offset))
    views, scene = ellipsoid(4).transformed(move), Scene(ball(AXES, CENTRE, level=6).transformed(move))
    for view in range(len(views)):
        found = seen(scene, views, view)
        truth = views.depths[view]
        assert (found.hit != (truth > 0)).sum() < 0.01 * (truth > 0).sum()
        both = found.hit & (truth > 0)
        assert np.median(np.abs(found.depth[both] - truth[both])) < 1e-4  # chords of the faces lie inside
        assert (found.depth[~found.hit] == 0).all() and (found.face[~found.hit] == -1).all()


def test_a_mesh_half_behind_the_camera_is_seen_as_far_as_it_is_before_it():
    views = ellipsoid(1)
    around = Scene(ball(10.0, views.centres[0], level=3))
    assert seen(around, views, 0).hit.all()


def test_painted_shows_the_vertices_colours_unlit():
    views, mesh = ellipsoid(1), ball(AXES, CENTRE)
    color = np.float32([0.2, 0.4, 0.6])
    picture = painted(replace(mesh, colors=np.tile(color, (len(mesh.vertices), 1))), views, 0)
    hit = seen(Scene(mesh), views, 0).hit
    np.testing.assert_array_equal(picture[hit], np.broadcast_to([51, 102, 153], (hit.sum(), 3)))
    assert not picture[~hit].any()
