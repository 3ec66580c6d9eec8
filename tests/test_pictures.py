"""Rays against a slow loop and closed forms; pictures by what must be seen in them."""

import numpy as np
import pytest
import trimesh

from surfrecon import pictures
from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, PointCloud, Similarity
from surfrecon.pictures import Camera, Scene, cast_rays, cloud_picture, colormap, contact_sheet, cut_outs, save_png, shaded, six_sides

UTM = np.array([8e5, 5.8e6, 300.0])
SMALL = (80, 60)
WHITE = np.full(3, 255)


def of(solid: trimesh.Trimesh) -> Mesh:
    return Mesh(solid.vertices, solid.faces)


def sphere(level: int = 4) -> Mesh:
    return of(trimesh.creation.icosphere(level))


def cube() -> Mesh:
    return of(trimesh.creation.box((1, 1, 1)))


def slow_hit(origin, direction, triangles) -> float:
    """Moeller and Trumbore, 1997, one ray against all triangles in float64."""
    a, e1, e2 = triangles[:, 0], triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    p = np.cross(direction, e2)
    det = np.einsum("fi,fi->f", e1, p)
    u = np.einsum("fi,fi->f", origin - a, p) / det
    q = np.cross(origin - a, e1)
    v, t = q @ direction / det, np.einsum("fi,fi->f", e2, q) / det
    hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)
    return float(t[hit].min(initial=np.inf))


# rays ----------------------------------------------------------------------------------------------------------------------------


def test_rays_hit_where_a_float64_loop_says():
    mesh, random = sphere(3), np.random.default_rng(0)
    origins = 3 * random.normal(size=(300, 3))
    directions = random.normal(size=(300, 3)) - origins
    distance, face = cast_rays(mesh, origins, directions)
    length = np.linalg.norm(directions, axis=1, keepdims=True)
    slow = np.array([slow_hit(o, d, mesh.triangles()) for o, d in zip(origins, directions / length)])
    assert (np.isinf(distance) == np.isinf(slow)).all() and ((face < 0) == np.isinf(slow)).all()
    hit = face >= 0
    assert 50 < hit.sum() < 290
    np.testing.assert_allclose(distance[hit], slow[hit], atol=1e-10)


@pytest.mark.parametrize("offset", [np.zeros(3), UTM], ids=["origin", "UTM"])
@pytest.mark.parametrize("away", [3.0, 3e5])
def test_distance_to_a_slanted_plane_is_exact_from_near_and_far(offset, away):
    random = np.random.default_rng(0)
    corners = np.array([[-9, -9, -2.7], [9, -9, -0.9], [0, 9, 0.9]])  # z = 0.1 x + 0.1 y
    corners[:, 2] = 0.1 * corners[:, 0] + 0.1 * corners[:, 1]
    targets = random.uniform(-1, 1, (200, 3))
    targets[:, 2] = 0.1 * targets[:, 0] + 0.1 * targets[:, 1]
    directions = random.normal(size=(200, 3)) * [0.3, 0.3, 0] - [0, 0, 1]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    distance, face = cast_rays(Mesh(corners + offset, [[0, 1, 2]]), targets - away * directions + offset, directions)
    assert (face == 0).all()
    np.testing.assert_allclose(distance, away, atol=1e-9 + 4e-16 * (away + 5.8e6 * (offset[0] > 0)) * 8)


def test_no_ray_from_inside_slips_through_a_closed_mesh():
    mesh = sphere(3)
    aims = np.concatenate([mesh.vertices, (mesh.vertices[mesh.faces[:, 0]] + mesh.vertices[mesh.faces[:, 1]]) / 2])  # corners, edges
    assert (cast_rays(mesh, np.zeros_like(aims), aims)[1] >= 0).all()


def test_weights_name_the_place_of_the_hit():
    mesh, random = cube(), np.random.default_rng(0)
    origins = 2 * random.normal(size=(500, 3))
    distance, face, weights = Scene(mesh).hits(origins, -origins)
    hit = face >= 0
    places = origins[hit] - distance[hit, None] * origins[hit] / np.linalg.norm(origins[hit], axis=1, keepdims=True)
    np.testing.assert_allclose(np.einsum("nk,nki->ni", weights[hit], mesh.triangles()[face[hit]]), places, atol=2e-6)  # Embree's float32
    np.testing.assert_allclose(weights[hit].sum(1), 1)
    assert (weights[~hit] == 0).all()


@pytest.mark.parametrize("mesh", [cube(), Mesh(np.zeros((0, 3)), np.zeros((0, 3)))], ids=["mesh", "no faces"])
def test_no_rays_and_missing_rays(mesh):
    distance, face = cast_rays(mesh, np.zeros((0, 3)), np.zeros((0, 3)))
    assert distance.shape == face.shape == (0,)
    distance, face = cast_rays(mesh, [[5.0, 5, 5]], [[0.0, 0, 1]])
    assert distance.tolist() == [np.inf] and face.tolist() == [-1]


# camera --------------------------------------------------------------------------------------------------------------------------

LOOKS = [(0, 1, 0), (-0.6, 1, -0.5), (0, 0, -1), (0, 0, 1), (1, -2, 0.1)]


@pytest.mark.parametrize("angle", [None, 0.7])
@pytest.mark.parametrize("toward", LOOKS)
def test_projection_undoes_rays_at_any_depth(toward, angle):
    camera, bounds = Camera(toward, size=(12, 9), angle=angle), np.array([[-1.0, 0, 2], [1, 5, 3]])
    origins, directions = camera.rays(bounds)
    pixels, depth = camera.project(origins + np.linspace(1, 9, len(origins))[:, None] * directions, bounds)
    x, y = np.meshgrid(np.arange(12) + 0.5, np.arange(9) + 0.5)
    np.testing.assert_allclose(pixels, np.stack([x.ravel(), y.ravel()], axis=1), atol=1e-9)
    assert (depth > 0).all()


@pytest.mark.parametrize("toward", LOOKS)
def test_camera_axes_are_a_rotation_with_forward_last(toward):
    axes = Camera(toward).axes()
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    np.testing.assert_allclose(axes[2], np.array(toward) / np.linalg.norm(toward))


def test_camera_looking_ahead_has_right_right_and_down_down():
    np.testing.assert_allclose(Camera((0, 1, 0)).axes(), [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-15)


@pytest.mark.parametrize("angle", [None, 0.3, 1.5])
@pytest.mark.parametrize("size", [(100, 60), (60, 100)])
def test_camera_just_holds_the_box(angle, size):
    bounds = np.array([[-1.0, 0, 2], [1, 5, 3]]) + UTM
    corners = np.stack(np.meshgrid(*bounds.T), axis=-1).reshape(-1, 3)
    pixels, depth = Camera((-0.6, 1, -0.5), size=size, angle=angle).project(corners, bounds)
    reach = np.abs(pixels / size - 0.5).max()
    assert reach == pytest.approx(0.5 / pictures.FRAME, rel=1e-6) and (depth > 0).all()


def test_camera_without_direction_is_refused():
    with pytest.raises(InputError, match="direction"):
        Camera((0, 0, 0)).axes()


# shaded --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("band", [1 << 18, 1])
def test_a_sphere_covers_its_disc_and_is_lit_from_the_upper_left(band, monkeypatch):
    monkeypatch.setattr(pictures, "BAND", band)
    picture = shaded(sphere(), Camera((0, 1, 0), size=(200, 150)))
    assert picture.shape == (150, 200, 3) and picture.dtype == np.uint8
    covered = 1 - (picture == WHITE).all(2).mean()
    assert covered == pytest.approx(np.pi * (75 / pictures.FRAME) ** 2 / (200 * 150), rel=0.03)  # rim pixels count whole
    assert (picture == picture[:, ::-1]).all(2).mean() < 0.9
    grey = picture.mean(2)
    assert grey[50, 75] > grey[50, 125] > grey[100, 125] and grey[50, 75] > grey[100, 75]


def test_what_the_sun_does_not_reach_is_brighter_the_more_it_faces_the_sky():
    left_out = pictures._light(np.array([[0.9, -0.436, 0], [1, 0, 0], [0, 1, 0]]))
    assert left_out[0] > left_out[1] > left_out[2] == pytest.approx(pictures.GROUND)


def test_picture_is_neither_mirrored_nor_upside_down():
    mesh = cube()
    right, top = mesh.vertices[:, 0] > 0, mesh.vertices[:, 2] > 0
    picture = shaded(mesh, Camera((0, 1, 0), size=SMALL), colors=np.stack([right, top, np.zeros(8)], axis=1)).astype(float)
    assert picture[30, 55, 0] > picture[30, 25, 0] + 50  # red towards +x, on the right when looking along +y
    assert picture[15, 40, 1] > picture[45, 40, 1] + 50  # green towards +z
    assert picture[30, 40, 2] == 0


def test_the_nearest_face_is_the_one_seen():
    near, far = np.array([0, -1, 0]), np.array([0, 1, 0])
    square = np.array([[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]], float)
    mesh = Mesh(np.concatenate([square + near, 3 * square + far]), [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    colors = np.repeat([[1.0, 0, 0], [0, 0, 1.0]], 4, axis=0)
    picture = shaded(mesh, Camera((0, 1, 0), size=SMALL), colors=colors)
    assert picture[30, 40, 0] > 100 and picture[30, 40, 2] == 0
    assert picture[8, 40, 2] > 100 and picture[8, 40, 0] == 0


def test_backs_of_faces_are_reddish_and_as_bright():
    camera = Camera((0, 1, 0), size=SMALL)
    front = shaded(sphere(), camera)[30, 40].astype(int)
    inside_out = Mesh(sphere().vertices, sphere().faces[:, ::-1])
    back = shaded(inside_out, camera)[30, 40].astype(int)
    assert np.ptp(front) < 15 and back[0] > back[2] + 40 and abs(back[0] - front[0]) < 10


def test_utm_gives_the_picture_of_the_origin():
    mesh = sphere()
    far = shaded(mesh.transformed(Similarity(translation=UTM)), Camera(size=SMALL, angle=0.5))
    assert np.abs(far.astype(int) - shaded(mesh, Camera(size=SMALL, angle=0.5))).max() <= 1


def test_cut_outs_over_a_ground_are_the_pictures_on_it():
    colors = np.random.default_rng(0).random((len(sphere().vertices), 3))
    pictures = cut_outs(sphere(), Camera(size=SMALL), paints=[None, colors])
    for picture, paint in zip(pictures, [None, colors]):
        share = picture[..., 3:] / 255
        over = picture[..., :3] * share + 255 * (1 - share) * np.array([0, 0.5, 1])
        assert np.abs(over - shaded(sphere(), Camera(size=SMALL), colors=paint, background=(0, 0.5, 1))).max() < 2
        assert share[0, 0] == 0 and share[SMALL[1] // 2, SMALL[0] // 2] == 1


def test_flat_shading_shows_the_faces_and_smooth_shading_keeps_sharp_edges():
    camera = Camera((-1, 1, -1), size=SMALL)
    inner = lambda picture: {tuple(color) for color in picture[25:36:2, 30:51:2].reshape(-1, 3)}
    cube_tones = inner(shaded(cube(), camera))
    assert len(cube_tones) < 20 and cube_tones == inner(shaded(cube(), camera, smooth=False))
    assert len(inner(shaded(sphere(1), camera))) > len(inner(shaded(sphere(1), camera, smooth=False)))


@pytest.mark.parametrize("vertices", [np.zeros((0, 3)), np.ones((2, 3))], ids=["nothing", "vertices"])
def test_a_mesh_without_faces_is_background(vertices):
    picture = shaded(Mesh(vertices, np.zeros((0, 3))), Camera(size=SMALL), background=(0, 1, 0))
    assert (picture == [0, 255, 0]).all()


# clouds --------------------------------------------------------------------------------------------------------------------------


def fibonacci(count: int) -> np.ndarray:
    z, turn = 1 - (2 * np.arange(count) + 1) / count, np.pi * (1 + np.sqrt(5)) * np.arange(count)
    return np.column_stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z])


@pytest.mark.parametrize("normals", [True, False])
@pytest.mark.parametrize("angle", [None, 0.5])
def test_a_cloud_looks_like_its_surface(normals, angle):
    points = fibonacci(20_000)
    camera = Camera(size=(160, 120), angle=angle)
    cloud = cloud_picture(PointCloud(points, normals=points if normals else None), camera).astype(int)
    solid = shaded(sphere(5), camera).astype(int)
    inside = (solid != WHITE).all(2) & (cloud != WHITE).all(2)
    assert inside.sum() > 0.97 * (solid != WHITE).all(2).sum()
    assert np.abs(cloud - solid)[inside].mean() < 8


def test_the_nearest_point_is_on_top_and_far_outliers_do_not_shrink_the_picture():
    points = fibonacci(5000)
    colors = np.where(points[:, 1:2] < 0, [[1.0, 0, 0]], [[0, 0, 1.0]])
    far = np.concatenate([points, [[1000.0, 0, 0]]])
    picture = cloud_picture(PointCloud(far, colors=np.concatenate([colors, [[0, 1, 0]]])), Camera((0, 1, 0), size=SMALL))
    seen = picture[20:40, 30:50].astype(int)
    assert (seen[..., 0] > 50).all() and (seen[..., 2] == 0).all()


def test_one_point_is_a_square_and_none_is_refused():
    picture = cloud_picture(PointCloud(np.ones((1, 3)) * UTM), Camera(size=SMALL))
    assert 0 < (picture != WHITE).any(2).sum() <= (pictures.SPLAT_PIXELS + 1) ** 2
    assert (picture[30, 40] != WHITE).any()
    with pytest.raises(InputError, match="no points"):
        cloud_picture(PointCloud(np.zeros((0, 3))))


# sheets, colours, files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("up", ["z", "y"])
def test_six_sides_show_each_face_of_a_cube_where_its_name_says(up):
    """Six unit squares in six colours; the colour at the middle of each tile tells which face it shows."""
    ahead, above = (np.array([0, 1, 0]), np.array([0, 0, 1])) if up == "z" else (np.array([0, 0, -1]), np.array([0, 1, 0]))
    right = np.cross(ahead, above)
    outward = [-ahead, right, ahead, -right, above, -above]  # front, right, back, left, top, bottom
    colors = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1.0]])
    vertices, faces = [], []
    for i, n in enumerate(outward):
        a = np.roll(np.abs(n), 1) * 1.0
        b = np.cross(n, a)
        vertices += [n - a - b, n + a - b, n + a + b, n - a + b]
        faces += [[4 * i, 4 * i + 1, 4 * i + 2], [4 * i, 4 * i + 2, 4 * i + 3]]
    sheet = six_sides(Mesh(vertices, faces), size=SMALL, colors=np.repeat(colors, 4, axis=0), up=up)
    assert sheet.shape == (120, 240, 3)
    for i, color in enumerate(colors):
        middle = sheet[30 + 60 * (i // 3), 40 + 80 * (i % 3)]
        assert ((middle > 60) == (color > 0)).all(), pictures.SIDES[i]


def test_six_sides_of_a_cloud_and_an_unknown_up():
    assert six_sides(PointCloud(fibonacci(500)), size=SMALL).shape == (120, 240, 3)
    with pytest.raises(InputError, match="'x'"):
        six_sides(cube(), up="x")


def test_contact_sheet_places_pictures_row_by_row_and_labels_them():
    tiles = [np.full((40, 50, 3), value, np.uint8) for value in (10, 20, 30, 40)]
    sheet = contact_sheet(tiles, columns=3)
    assert sheet.shape == (80, 150, 3)
    assert (sheet[:40, 100:] == 30).all() and (sheet[40:, :50] == 40).all() and (sheet[40:, 50:] == 255).all()
    labelled = contact_sheet(tiles, ["one"], columns=3)
    assert (labelled[:20, :40] != sheet[:20, :40]).any() and (labelled[:, 50:] == sheet[:, 50:]).all()
    with pytest.raises(InputError, match="one size"):
        contact_sheet([tiles[0], tiles[1][:10]])
    with pytest.raises(InputError, match="one size"):
        contact_sheet([])


def test_colormap_rises_in_brightness_and_greys_out_nan():
    colors = colormap(np.linspace(0, 1, 101))
    luminance = colors @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all() and colors.min() >= 0 and colors.max() <= 1
    assert (colormap([-1, 2]) == colormap([0, 1])).all()
    assert (colormap([np.nan]) == pictures.UNKNOWN).all()


def test_save_png_comes_back_as_it_was_and_leaves_nothing_else(tmp_path):
    from PIL import Image

    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    save_png(picture, tmp_path / "a.png")
    assert (np.asarray(Image.open(tmp_path / "a.png")) == picture).all()
    with pytest.raises(TypeError):
        save_png(picture.astype(complex), tmp_path / "a.png")
    assert (np.asarray(Image.open(tmp_path / "a.png")) == picture).all()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
