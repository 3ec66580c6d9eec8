"""Views that tests share: a sphere whose colours are a function of space, in even light, photographed from all around."""

from functools import cache

import numpy as np
import trimesh

from surfrecon.data_tools.cameras import cameras_around
from surfrecon.data_tools.scanner import directions_around
from surfrecon.data_tools.views import Light, render
from surfrecon.geometry import Mesh
from surfrecon.views import Views

EVEN = Light(lamps=(), sky=1.0, ground=1.0, gloss=0.0)  # what is photographed is the albedo


def waves(places: np.ndarray) -> np.ndarray:
    """(N, 3) sRGB in [0.2, 0.8], about three waves around the unit sphere."""
    x, y, z = places.T
    return 0.5 + 0.3 * np.stack([np.sin(3 * x + 1), np.sin(3 * y + 2 * z), np.cos(3 * z - 2 * x)], axis=1)


@cache
def sphere(subdivisions: int = 4) -> Mesh:
    ball = trimesh.creation.icosphere(subdivisions=subdivisions)
    return Mesh(ball.vertices, ball.faces)


@cache
def photographs(count: int = 20, side: int = 160) -> Views:
    mesh = sphere()
    cameras = cameras_around(mesh.vertices, directions_around(count), size=(side, side))
    return render(mesh, cameras, texture=waves, light=EVEN, samples=1).views


def bare(views: Views) -> Views:
    """Without masks and depths."""
    return Views(views.images, views.intrinsics, views.cam_from_world)
