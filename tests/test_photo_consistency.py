"""The agreement of views on a mesh: against a slow loop over rays, on the true ellipsoid, on wrong ones, and with cameras that are off."""

from dataclasses import replace

import numpy as np
import pytest
from arc import AXES, CENTRE, ellipsoid
from solids import ball, together

from surfrecon import photo_consistency as module
from surfrecon.data_tools.cameras import cameras_around, ring_directions
from surfrecon.data_tools.textures import stone
from surfrecon.data_tools.views import render
from surfrecon.errors import InputError
from surfrecon.geometry import Similarity
from surfrecon.image_quality import LUMA
from surfrecon.photo_consistency import LEAST_CONTRAST, LEAST_COSINE, QUANTISED, photo_consistency
from surfrecon.pictures import cast_rays


@pytest.fixture(scope="module")
def views():
    return replace(ellipsoid(16), depths=None)


def slow(mesh, views, reference, neighbour, patch):
    """NCC of every patch with texture, one pixel and one ray at a time; the mesh is convex: what faces a camera is seen by it."""
    width, height = views.sizes[reference]
    origins, directions = views.rays(reference, views.pixel_centres(reference))
    distance, face = cast_rays(mesh, origins, directions)
    normals = mesh.area_vectors()
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    grey = [image @ (LUMA / 255) for image in views.images]
    carried = np.full((height, width), np.nan)
    for pixel in np.flatnonzero((face >= 0) & views.masks[reference].ravel()):
        point, normal = origins[pixel] + distance[pixel] * directions[pixel], normals[face[pixel]]
        toward = views.centres[neighbour] - point
        if -normal @ directions[pixel] <= LEAST_COSINE or normal @ toward / np.linalg.norm(toward) <= LEAST_COSINE:
            continue
        (x, y), _ = (item[0] for item in views.project(neighbour, point[None]))
        left, top = int(np.floor(x - 0.5)), int(np.floor(y - 0.5))
        u, v = x - 0.5 - left, y - 0.5 - top
        if not (0 <= left < width - 1 and 0 <= top < height - 1 and views.masks[neighbour][top : top + 2, left : left + 2].all()):
            continue
        corners = grey[neighbour][top : top + 2, left : left + 2]
        carried[pixel // width, pixel % width] = np.array([1 - v, v]) @ corners @ np.array([1 - u, u])
    found, half = [], patch // 2
    for row, column in np.argwhere(np.isfinite(carried)):
        window = slice(max(0, row - half), row + half + 1), slice(max(0, column - half), column + half + 1)
        both = np.isfinite(carried[window])
        a, b = grey[reference][window][both], carried[window][both]
        if both.sum() >= 0.6 * patch**2 and a.std() >= LEAST_CONTRAST:
            found.append(np.mean((a - a.mean()) * (b - b.mean())) / (a.std() * max(b.std(), QUANTISED)))
    return np.array(found)


def test_agreement_is_the_slow_loops():
    views = ellipsoid(8, focal=110.0, size=(60, 44))
    mesh = ball(AXES * [1, 1.05, 1], CENTRE, level=4)
    result = photo_consistency(mesh, views, patch=5, partners=[np.array([1]), *[np.array([], int)] * 7])
    truth = slow(mesh, views, 0, 1, 5)
    assert len(truth) > 300 and abs(result.patches - len(truth)) <= 0.03 * len(truth)  # outlines: a face's edge, by depth or by ray
    assert result.ncc == pytest.approx(truth.mean(), abs=0.01)
    assert result.pairs.tolist() == [[0, 1]] and result.pair_ncc[0] == result.ncc
    assert np.isfinite(result.per_view).tolist() == [True, True, *[False] * 6]


@pytest.mark.parametrize("offset", [0.0, 5.8e6], ids=["origin", "far"])
def test_views_agree_on_the_true_surface_and_on_no_other(views, offset):
    move = Similarity(1.0, np.full(3, offset))
    at = lambda factor: photo_consistency(ball(factor * AXES, CENTRE).transformed(move), views.transformed(move)).ncc
    right = at(1.0)
    assert right > 0.93
    assert all(at(factor) < right - 0.05 for factor in (0.97, 1.03))
    assert at(0.85) < 0.5


def test_a_camera_that_is_off_spoils_its_own_agreement_alone(views):
    poses = views.cam_from_world.copy()
    turn = np.radians(1.5)
    poses[5] = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]) @ poses[5]
    off = photo_consistency(ball(AXES, CENTRE), replace(views, cam_from_world=poses, masks=None)).per_view
    right = photo_consistency(ball(AXES, CENTRE), replace(views, masks=None)).per_view
    others = np.arange(len(views)) != 5
    assert off[5] < right[5] - 0.3
    assert np.abs(off - right)[others].max() < 0.1


def test_what_an_obstacle_hides_from_the_neighbour_is_not_compared(monkeypatch):
    mesh = together(ball(0.8, level=4), ball(0.3, (1.1, 0, 0), level=4), ball(0.3, (0, 1.1, 0.2), level=4), ball(0.3, (0, 0, 1.1), level=4))
    cameras = cameras_around(mesh.vertices, ring_directions(16, np.radians([35.0])), size=(160, 160))
    views = replace(render(mesh, cameras, texture=stone(mesh.bounds()), samples=2).views, depths=None)
    tested = photo_consistency(mesh, views)
    monkeypatch.setattr(module, "OCCLUDED", 10.0)
    careless = photo_consistency(mesh, views)
    assert careless.patches > 1.02 * tested.patches
    assert tested.ncc > 0.95 and tested.ncc > careless.ncc + 0.01


def test_patches_without_texture_are_left_out_and_counted(views):
    middle = [image.shape[1] // 2 for image in views.images]
    half = tuple(np.where(np.arange(image.shape[1])[:, None] < x, np.uint8(90), image) for image, x in zip(views.images, middle))
    plain = tuple(np.full_like(image, 90) for image in views.images)
    mesh = ball(AXES, CENTRE)
    assert photo_consistency(mesh, views).textureless < 0.02
    assert 0.25 < photo_consistency(mesh, replace(views, images=half)).textureless < 0.65
    nothing = photo_consistency(mesh, replace(views, images=plain))
    assert nothing.textureless == 1 and nothing.patches == 0 and np.isnan(nothing.ncc) and np.isnan(nothing.per_view).all()


def test_larger_views_are_scaled_down(views):
    small = photo_consistency(ball(AXES, CENTRE), views, longest_side=80)
    assert small.patches < 0.4 * photo_consistency(ball(AXES, CENTRE), views).patches
    assert small.ncc > 0.8


@pytest.mark.parametrize("patch", [4, 1])
def test_even_and_tiny_patches_are_refused(views, patch):
    with pytest.raises(InputError, match="odd number"):
        photo_consistency(ball(AXES, CENTRE, level=1), views, patch=patch)
