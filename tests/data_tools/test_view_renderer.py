import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from surfrecon.data_tools.cameras import cameras_around, ring_directions
from surfrecon.data_tools.shapes import box, mesh_of, named, sphere
from surfrecon.data_tools.views import Lamp, Light, encoded, linear, render
from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, Similarity, directions_around
from surfrecon.metrics import closest
from surfrecon.pictures import Scene
from surfrecon.views import Views

SIZE = (96, 80)
FLAT = Light(lamps=(), sky=1.0, ground=1.0, gloss=0.0)  # shows albedos as they are


def one_camera(eye=(0.0, 0.0, -4.0), size=SIZE, focal=100.0) -> Views:
    """At `eye`, looking along +z."""
    k = [[focal, 0, size[0] / 2 + 3.3], [0, focal + 5, size[1] / 2 - 2.1], [0, 0, 1]]
    pose = np.column_stack([np.eye(3), -np.asarray(eye)])
    return Views((np.zeros((size[1], size[0], 3), np.uint8),), np.array([k]), pose[None])


@pytest.fixture(scope="module")
def ball() -> Mesh:
    mesh = mesh_of(sphere(1.0), 96)
    unit = mesh.vertices / np.linalg.norm(mesh.vertices, axis=1, keepdims=True)
    return Mesh(unit, mesh.faces, normals=unit)


@pytest.fixture(scope="module", params=[(0, 0, 0), (8e5, 5.8e6, 300)], ids=["origin", "UTM"])
def blob(request) -> Mesh:
    return mesh_of(named("blob"), 64).transformed(Similarity(translation=np.array(request.param, float)))


# geometry -----------------------------------------------------------------------------------------------------------------------------


def test_depth_at_a_pixels_middle_is_that_of_the_edge_that_projects_there():
    """A relief whose edges pass through the middles of pixels: an offset by half a pixel, or depth along the ray, would show.

    Along a line in the image 1 / depth is linear, so midway between two vertices the depth is their harmonic mean.
    """
    camera = one_camera()
    width, height = SIZE
    x, y = np.meshgrid(np.arange(width + 1.0), np.arange(height) + 0.5)
    depth = 4 + 0.3 * np.sin(x / 5) * np.cos(y / 7)
    origins, directions = camera.rays(0, np.stack([x.ravel(), y.ravel()], axis=1))
    grid = np.arange(x.size).reshape(x.shape)
    a, b, c, d = (part.ravel() for part in (grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]))
    points = origins + directions * (depth.ravel() / directions[:, 2])[:, None]
    relief = Mesh(points, np.concatenate([np.stack([a, d, c], 1), np.stack([a, c, b], 1)]))
    views = render(relief, camera).views
    expected = 2 / (1 / depth[:, 1:] + 1 / depth[:, :-1])
    np.testing.assert_allclose(views.depths[0][1:-1], expected[1:-1], rtol=1e-6)  # the first and the last edges are the rim
    assert views.masks[0][1:-1, 1:-1].all()


def test_pixels_with_depth_lie_on_the_mesh(blob):
    views = render(blob, cameras_around(blob.vertices, directions_around(5), size=SIZE), samples=1).views
    for view in range(5):
        points = views.depth_points(view)
        assert len(points) > 500
        assert closest(points, blob)[0].max() < 1e-6


def test_vertices_project_into_the_mask_to_the_depth_that_it_has_there(blob):
    """At a vertex the depth map tells the vertex, but for the slope across half a pixel, or what hides it."""
    views = render(blob, cameras_around(blob.vertices, directions_around(6), size=(160, 160)), samples=1).views
    scene = Scene(blob)
    for view in range(6):
        pixels, depth = views.project(view, blob.vertices)
        column, row = np.floor(pixels).astype(int).T
        assert binary_dilation(views.masks[view], np.ones((3, 3)))[row, column].all()
        seen, pixel = views.depths[view][row, column], depth / views.intrinsics[view, 0, 0]
        away = blob.vertices - views.centres[view]
        length = np.linalg.norm(away, axis=1)
        distance, _, _ = scene.hits(np.broadcast_to(views.centres[view], away.shape), away)
        facing = -np.einsum("vi,vi->v", blob.vertex_normals(), away) / length > 0.6
        shown = facing & (np.abs(distance - length) < 1e-4 * length)
        assert shown.sum() > 500 and (np.abs(depth - seen) < 1.5 * pixel)[shown].all()
        hidden = distance < 0.99 * length
        assert hidden.sum() > 1000 and np.mean((seen < depth + 3 * pixel)[hidden]) > 0.99  # the rest beside an edge that hides it


def test_sphere_has_the_depth_and_normals_of_the_closed_form(ball):
    views, (normals,) = (made := render(ball, one_camera())).views, made.normals
    origins, directions = views.rays(0, views.pixel_centres(0))
    along = -np.einsum("ni,ni->n", origins, directions)
    under = along**2 - (np.einsum("ni,ni->n", origins, origins) - 1)
    inner = under > 0.1  # away from the rim, where chords of the mesh are seen edge on
    distance = along[inner] - np.sqrt(under[inner])
    exact = origins[inner] + distance[:, None] * directions[inner]
    np.testing.assert_allclose(views.depths[0].ravel()[inner], distance * directions[inner, 2], atol=2e-3)  # chords: 96 cells a side
    assert np.abs(normals.reshape(-1, 3)[inner] - exact).max() < 2e-3
    assert np.allclose(np.linalg.norm(normals[views.depths[0] > 0], axis=1), 1, atol=1e-6) and not normals[views.depths[0] == 0].any()


def test_normals_given_with_the_mesh_are_those_shown(ball):
    c, s = np.cos(0.2), np.sin(0.2)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    (plain,) = render(ball, one_camera()).normals
    (turned,) = render(Mesh(ball.vertices, ball.faces, normals=ball.vertices @ turn.T), one_camera()).normals
    np.testing.assert_allclose(turned, plain @ turn.T, atol=1e-6)


def test_sharp_edges_stay_sharp():
    mesh = mesh_of(box([1.0, 1.0, 1.0]), 40)
    (normals,) = render(mesh, cameras_around(mesh.vertices, directions_around(3)[:1], size=(64, 64))).normals
    shown = normals[np.linalg.norm(normals, axis=2) > 0]
    assert np.mean(np.abs(shown).max(axis=1) > 0.999) > 0.9  # along an axis, save on the bevel that cells leave


@pytest.mark.parametrize("size", [(64, 64), (256, 256)])
def test_silhouette_of_a_sphere_has_its_exact_area(ball, size):
    k = np.array([[[1.2 * size[0], 0, size[0] / 2], [0, 1.2 * size[0], size[1] / 2], [0, 0, 1]]])
    camera = Views((np.zeros((*size, 3), np.uint8),), k, np.array([[[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4]]]))
    mask = render(ball, camera).views.masks[0]
    radius = 1.2 * size[0] / np.sqrt(4**2 - 1)
    off = np.linalg.norm(camera.pixel_centres(0) - size[0] / 2, axis=1).reshape(mask.shape)
    assert mask[off < radius - 0.75].all() and not mask[off > radius + 0.75].any()
    assert abs(mask.sum() - np.pi * radius**2) < 0.1 * 2 * np.pi * radius  # a tenth of the ring of one pixel


def test_masks_hull_is_the_object_s_box(blob):
    views = render(blob, cameras_around(blob.vertices, directions_around(16), size=(128, 128)), samples=2).views
    side = np.ptp(blob.bounds(), axis=0).max()
    assert np.abs(views.bounds() - blob.bounds()).max() < 0.06 * side
    assert ((views.bounds()[0] <= blob.bounds()[0] + 0.02 * side) & (views.bounds()[1] >= blob.bounds()[1] - 0.02 * side)).all()


# colour -------------------------------------------------------------------------------------------------------------------------------


def test_flat_light_shows_textures_and_vertex_colours_as_they_are(ball):
    shade = lambda p: 0.2 + 0.3 * (p + 1)
    colored = Mesh(ball.vertices, ball.faces, colors=shade(ball.vertices).astype(np.float32))
    camera = one_camera()
    by_texture, by_vertex = render(ball, camera, texture=shade, light=FLAT).views, render(colored, camera, light=FLAT).views
    row, column = np.nonzero(by_texture.depths[0])
    middle = np.abs(shade(by_texture.depth_points(0)) * 255 - by_texture.images[0][row, column])
    assert np.median(middle) < 0.6 and np.quantile(middle, 0.9) < 1.5
    assert np.abs(by_texture.images[0].astype(int) - by_vertex.images[0])[by_texture.masks[0]].max() <= 2


def test_texture_stays_on_a_mesh_that_moves(ball):
    stripes = lambda p: 0.5 + 0.4 * np.sin(9 * p)
    offset = np.array([3.0, -2.0, 1.0])
    moved = ball.transformed(Similarity(translation=offset))
    there = render(moved, one_camera(eye=offset - np.array([0, 0, 4])), texture=stripes, rest=ball.vertices).views
    here = render(ball, one_camera(), texture=stripes).views
    assert np.abs(there.images[0].astype(int) - here.images[0]).max() <= 1


def test_lambert_s_cosine_and_no_gloss_look_the_same_from_everywhere(ball):
    lamp = Light(lamps=(Lamp((0.0, 0.0, -2.0), 0.8),), sky=0.1, ground=0.1, gloss=0.0)
    white = lambda p: np.ones_like(p)
    made = render(ball, one_camera(), texture=white, light=lamp, samples=1)
    cosine = np.maximum(-made.normals[0][..., 2], 0)
    known = made.views.depths[0] > 0
    shown = linear(made.views.images[0][known][:, 0] / 255.0)
    np.testing.assert_allclose(shown, 0.1 + 0.8 * cosine[known], atol=0.01)


def test_gloss_brightens_where_the_lamp_is_mirrored(ball):
    lamps = (Lamp((0.0, 0.0, -1.0), 0.5),)
    dull, glossy = (render(ball, one_camera(), light=Light(lamps, gloss=gloss)).views.images[0].astype(int) for gloss in (0.0, 0.3))
    gain = (glossy - dull).sum(axis=2)
    at = np.array(np.unravel_index(gain.argmax(), gain.shape))[::-1] + 0.5
    assert np.linalg.norm(at - one_camera().intrinsics[0, :2, 2]) < 6  # the sphere's point that faces camera and lamp
    assert gain.min() >= 0 and gain[dull.sum(axis=2) > 0].min() < 2


def test_rim_is_unmixed_on_black_and_mixed_on_a_background(ball):
    white = lambda p: np.ones_like(p)
    alone = render(ball, one_camera(), texture=white, light=FLAT).views
    composed = render(ball, one_camera(), texture=white, light=FLAT, background=(1.0, 0.0, 0.0)).views
    assert set(np.unique(alone.images[0])) == {0, 255} and (alone.images[0][alone.masks[0]] == 255).all()
    green = composed.images[0][..., 1]
    assert len(np.unique(green)) > 5 and (composed.images[0][..., 0] == 255).all()
    assert (green[alone.images[0][..., 1] == 0] == 0).all()


def test_srgb_round_trip():
    values = np.linspace(0, 1, 256)
    np.testing.assert_allclose(encoded(linear(values)), values, atol=1e-6)


def test_same_bytes_on_every_run(blob):
    cameras = cameras_around(blob.vertices, directions_around(2), size=(40, 40))
    first, again = render(blob, cameras), render(blob, cameras)
    for kind in ("images", "masks", "depths"):
        assert all(a.tobytes() == b.tobytes() for a, b in zip(getattr(first.views, kind), getattr(again.views, kind)))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first.normals, again.normals))


# cameras ------------------------------------------------------------------------------------------------------------------------------


def test_cameras_look_at_the_middle_and_hold_the_object(blob):
    views = cameras_around(blob.vertices, directions_around(12), size=(100, 60), focal=90)
    middle = blob.bounds().mean(axis=0)
    for view in range(12):
        at, depth = views.project(view, middle[None])
        np.testing.assert_allclose(at[0], [50, 30], atol=1e-4)
        pixels, _ = views.project(view, blob.vertices)
        assert (pixels > 0).all() and (pixels < [100, 60]).all() and depth[0] > 0
        assert np.abs(pixels[:, 1] - 30).max() > 12  # and fills a good part of it


def test_rings_share_cameras_by_length_at_their_elevations():
    elevations = np.radians([-30, 0, 60, 90])
    directions = ring_directions(40, elevations)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    found, count = np.unique(np.arcsin(np.clip(directions[:, 2], -1, 1)).round(6), return_counts=True)
    np.testing.assert_allclose(found, elevations, atol=1e-6)
    assert count.sum() == 40 and count[3] == 1 and count[1] > count[0] > count[2] > 5


@pytest.mark.parametrize(
    "wrong, text",
    [
        (lambda m: render(m, one_camera(), samples=0), "samples"),
        (lambda m: render(m, one_camera(), rest=m.vertices[:5]), "rest"),
        (lambda m: render(Mesh(m.vertices, np.empty((0, 3), int)), one_camera()), "no faces"),
        (lambda m: cameras_around(m.vertices, directions_around(2), size=(0, 4)), "0 x 4"),
        (lambda m: cameras_around(m.vertices, directions_around(2), focal=-1), "focal"),
        (lambda m: cameras_around(m.vertices, np.empty((0, 3))), "0 directions"),
        (lambda m: ring_directions(3, [0.1] * 4), "got 4"),
        (lambda m: ring_directions(3, [2.0]), "114.592"),
    ],
)
def test_bad_options_are_named(ball, wrong, text):
    with pytest.raises(InputError, match=text):
        wrong(ball)
