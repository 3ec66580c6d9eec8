"""Views: checks on creation, projection and rays, frames, scaling, parts, bounds."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from arc import AXES, CENTRE, SIZE, ellipsoid, poses
from scipy.spatial.transform import Rotation

from surfrecon.errors import InputError
from surfrecon.geometry import UNIT_HALF_SIDE, Similarity
from surfrecon.views import Views

UTM = np.array([8e5, 5.8e6, 100.0])
BOX = np.stack([CENTRE - AXES, CENTRE + AXES])
IMAGE = np.zeros((4, 6, 3), np.uint8)
K = np.array([[5.0, 0.1, 3], [0, 6, 2], [0, 0, 1]])
POSE = np.eye(4)[:3]
ONE = dict(images=(IMAGE,), intrinsics=K[None], cam_from_world=POSE[None])


@pytest.fixture(scope="module")
def views() -> Views:
    return ellipsoid()


# checks on creation ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(images=()), "there are no views"),
        (dict(images=(IMAGE.astype(float),)), r"the image of view 0 must be \(H, W, 3\) or \(H, W\) of uint8, got \(4, 6, 3\) of float64"),
        (dict(images=(np.zeros((4, 6, 4), np.uint8),)), r"must be \(H, W, 3\)"),
        (dict(images=(np.zeros((0, 6), np.uint8),)), r"got \(0, 6\)"),
        (dict(intrinsics=K), r"intrinsics must have shape \(1, 3, 3\), got \(3, 3\)"),
        (dict(intrinsics=np.diag([5.0, -5, 1])[None]), "fx, fy > 0: for view 0"),
        (dict(intrinsics=np.diag([5.0, 5, 2])[None]), r"must be \[\[fx, skew, cx\]"),
        (dict(intrinsics=np.full((1, 3, 3), np.nan)), "intrinsics must be finite"),
        (dict(cam_from_world=np.diag([1.0, 1, -1, 1])[None]), "a rotation of determinant 1 .* for view 0"),
        (dict(cam_from_world=2 * POSE[None]), "a rotation of determinant 1"),
        (dict(cam_from_world=np.ones((1, 4, 3))), r"cam_from_world must have shape \(1, 4, 4\)"),
        (dict(cam_from_world=np.vstack([POSE, [0, 0, 1, 1]])[None]), "last row of cam_from_world must be 0 0 0 1"),
        (dict(masks=()), "masks must be 1, one for each image, got 0"),
        (dict(masks=(np.zeros((4, 6), np.uint8),)), r"masks must be as large as their images, of bool: for view 0 got \(4, 6\) of uint8"),
        (dict(masks=(np.zeros((6, 4), bool),)), r"for view 0 got \(6, 4\) of bool, its image is \(4, 6\)"),
        (dict(depths=(np.zeros((4, 6), bool),)), "depths must be as large as their images, of float32"),
        (dict(depths=(np.full((4, 6), -1.0),)), "depths must be >= 0"),
        (dict(depths=(np.full((4, 6), np.nan),)), "depths must be >= 0"),
        (dict(points=np.zeros((3, 2))), r"points must have shape \(any, 3\)"),
        (dict(names=("a", "b")), "names must be 1, one for each image, got 2"),
    ],
)
def test_views_that_cannot_be_say_what_is_wrong(change, message):
    with pytest.raises(InputError, match=message):
        Views(**(ONE | change))


def test_arrays_are_read_only_grey_becomes_colour_and_names_default(views):
    assert views.images[0].shape == (SIZE[1], SIZE[0], 3) and (views.images[0] == views.images[0][:, :, :1]).all()
    assert views.names[:2] == ("view 0", "view 1") and len(views) == 12
    for array in (views.images[0], views.masks[0], views.depths[0], views.intrinsics, views.cam_from_world):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(FrozenInstanceError):
        views.images = ()
    four = Views(**(ONE | dict(cam_from_world=np.eye(4)[None])))
    assert (four.cam_from_world == POSE).all()


# cameras ---------------------------------------------------------------------------------------------------------------------------


def test_projection_equals_its_formula():
    axes = Rotation.from_rotvec([0.2, -0.4, 0.7]).as_matrix()
    views = Views((IMAGE,), K[None], np.column_stack([axes, [0.3, 0.2, 2]])[None])
    points = np.random.default_rng(0).normal(size=(50, 3))
    camera = points @ axes.T + [0.3, 0.2, 2]
    x = 5.0 * camera[:, 0] / camera[:, 2] + 0.1 * camera[:, 1] / camera[:, 2] + 3
    y = 6.0 * camera[:, 1] / camera[:, 2] + 2
    pixels, depth = views.project(0, points)
    front = camera[:, 2] > 0
    np.testing.assert_allclose(pixels[front], np.column_stack([x, y])[front])
    np.testing.assert_allclose(depth, camera[:, 2])
    assert np.isnan(pixels[~front]).all() and (~front).any()


def test_axes_are_right_down_forward_and_the_first_pixels_middle_is_at_a_half():
    views = Views(**ONE)
    pixels, depth = views.project(0, [[0, 0, 2], [1, 0, 2], [0, 1, 2]])
    assert pixels[1, 0] > pixels[0, 0] and pixels[2, 1] > pixels[0, 1] and (depth == 2).all()  # right, down, forward
    assert views.pixel_centres(0)[[0, 1, 6]].tolist() == [[0.5, 0.5], [1.5, 0.5], [0.5, 1.5]]
    assert views.centres.tolist() == [[0, 0, 0]] and views.directions.tolist() == [[0, 0, 1]]


def test_rays_pass_through_what_projects_to_their_pixel(views):
    points = CENTRE + np.random.default_rng(0).uniform(-1, 1, (40, 3))
    for view in (0, 5):
        pixels, depth = views.project(view, points)
        origins, directions = views.rays(view, pixels)
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
        away = np.linalg.norm(points - views.centres[view], axis=1, keepdims=True)
        np.testing.assert_allclose(origins + away * directions, points, atol=1e-12)
        np.testing.assert_allclose(depth, (points - views.centres[view]) @ views.directions[view])


def test_depth_points_lie_on_the_surface_and_are_depth_along_z(views):
    for view in range(0, 12, 5):
        points = views.depth_points(view)
        assert len(points) == views.masks[view].sum()
        np.testing.assert_allclose((((points - CENTRE) / AXES) ** 2).sum(1), 1, atol=2e-5)  # float32 depths
        np.testing.assert_allclose(views.project(view, points)[0], views.pixel_centres(view)[views.masks[view].ravel()], atol=1e-9)
        assert (views.depth_points(view, step=7) == points[::7]).all()
    with pytest.raises(InputError, match="carry no depth maps"):
        Views(**ONE).depth_points(0)


# frames ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [np.zeros(3), UTM], ids=["origin", "UTM"])
def test_moved_points_project_to_the_same_pixels_and_depths_scale(views, offset):
    points = CENTRE + np.random.default_rng(0).uniform(-1, 1, (40, 3))
    moved = views.transformed(Similarity(1.0, offset))
    target_from_source = Similarity(3.0, -3.0 * offset + [1, 2, 3], Rotation.from_rotvec([0.5, 1, -2]).as_matrix())
    again = replace(moved, points=points + offset).transformed(target_from_source)
    for view in (0, 7):
        pixels, depth = views.project(view, points)
        new_pixels, new_depth = again.project(view, target_from_source.points(points + offset))
        np.testing.assert_allclose(new_pixels, pixels, atol=1e-6)  # of 3e-9 world units that float64 has left at 5.8e6
        np.testing.assert_allclose(new_depth, 3 * depth, atol=1e-7)
        np.testing.assert_allclose(again.depths[view], 3 * views.depths[view], rtol=1e-6)
        np.testing.assert_allclose(again.project(view, again.points)[0], pixels, atol=1e-6)
    assert again.images is not None and all(mine is theirs for mine, theirs in zip(again.masks, moved.masks)) is not None


def test_transformed_back_is_the_same(views):
    unit_from_world = Similarity.fit(views)
    back = views.transformed(unit_from_world).transformed(unit_from_world.inverse())
    np.testing.assert_allclose(back.cam_from_world, views.cam_from_world, atol=1e-12)


def test_fit_puts_the_object_into_the_unit_box(views):
    unit = views.transformed(Similarity.fit(views))
    np.testing.assert_allclose(np.abs(unit.bounds()).max(), UNIT_HALF_SIDE, rtol=0.02)
    np.testing.assert_allclose(unit.bounds().mean(0), 0, atol=0.03)


# parts and sizes -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [slice(2, 6), np.arange(12) % 3 == 0, [5, 1], np.array([7])], ids=["slice", "mask", "rows", "one"])
def test_part_of_views_takes_everything_along(views, rows):
    views = replace(views, points=np.ones((2, 3)), names=tuple("abcdefghijkl"))
    part, which = views[rows], np.arange(12)[rows]
    assert len(part) == len(which) and part.points is not None
    for name in ("images", "masks", "depths"):
        assert all((mine == getattr(views, name)[v]).all() for mine, v in zip(getattr(part, name), which))
    assert (part.cam_from_world == views.cam_from_world[which]).all() and part.names == tuple("abcdefghijkl"[v] for v in which)


def test_a_single_number_selects_nothing(views):
    with pytest.raises(InputError, match=r"for one view give \[3\]"):
        views[3]


@pytest.mark.parametrize("factor", [0.5, 0.37, 1.0])
def test_scaled_cameras_see_every_point_at_the_scaled_place(views, factor):
    small = views.scaled(factor)
    ratio = small.sizes / views.sizes
    assert np.abs(ratio - factor).max() < 0.01
    points = CENTRE + np.random.default_rng(0).uniform(-1, 1, (40, 3))
    for view in (0, 5):
        np.testing.assert_allclose(small.project(view, points)[0], ratio[view] * views.project(view, points)[0])
        surface = (((small.depth_points(view) - CENTRE) / AXES) ** 2).sum(1)
        assert np.median(np.abs(surface - 1)) < 0.02  # depths are those of the nearest pixel, up to half a pixel aside


def test_halving_averages_blocks_of_four(views):
    small = views.scaled(0.5)
    blocks = views.images[0].reshape(SIZE[1] // 2, 2, SIZE[0] // 2, 2, 3).astype(float).mean(axis=(1, 3))
    assert np.abs(small.images[0] - blocks).max() <= 1  # Pillow rounds columns before rows
    share = views.masks[0].reshape(SIZE[1] // 2, 2, SIZE[0] // 2, 2).mean(axis=(1, 3))
    assert (small.masks[0][share > 0.5]).all() and not (small.masks[0][share < 0.5]).any()


@pytest.mark.parametrize("factor", [0, -1, 1.5, np.nan])
def test_views_do_not_grow(views, factor):
    with pytest.raises(InputError, match="factor > 0 and at most 1"):
        views.scaled(factor)


# bounds ----------------------------------------------------------------------------------------------------------------------------


def test_bounds_from_masks_hold_the_object_within_a_few_percent(views):
    box = replace(views, depths=None).bounds()
    assert (box[0] <= BOX[0]).all() and (box[1] >= BOX[1]).all()
    assert np.abs(box - BOX).max() < 0.08 * 2 * AXES.max()  # a cell is 1 / 40 of the box; the hull of 12 views stands out a little


def test_bounds_from_depths_are_those_of_the_surface(views):
    np.testing.assert_allclose(replace(views, masks=None).bounds(), BOX, atol=0.05)


def test_bounds_from_points_leave_out_surroundings_and_outliers(views):
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(2000, 3))
    surface = CENTRE + AXES * ball / np.linalg.norm(ball, axis=1, keepdims=True)
    walls = CENTRE + 15 * rng.uniform(-1, 1, (3000, 3))
    outliers = 500 * rng.normal(size=(20, 3))
    box = replace(views, masks=None, depths=None, points=np.concatenate([surface, walls, outliers])).bounds()
    assert np.abs(box - BOX).max() < 0.6  # where every frame sees through to it, a wall counts too


def test_bounds_from_focus_are_what_the_frames_show(views):
    box = replace(views, masks=None, depths=None).bounds()
    assert np.abs(box.mean(0) - CENTRE).max() < 0.1
    away = np.linalg.norm(views.centres - CENTRE, axis=1).mean()
    np.testing.assert_allclose((box[1] - box[0]) / 2, away * SIZE[0] / 2 / 240, rtol=0.05)


def test_bounds_in_utm_are_the_same_box(views):
    far = views.transformed(Similarity(1.0, UTM))
    for kept in (dict(depths=None), dict(masks=None), dict(masks=None, depths=None)):
        np.testing.assert_allclose(replace(far, **kept).bounds() - UTM, replace(views, **kept).bounds(), atol=1e-4)


def test_cameras_side_by_side_or_apart_have_no_focus():
    aside = np.tile(POSE, (4, 1, 1))
    aside[:, 0, 3] = np.arange(4)
    with pytest.raises(InputError, match="look in parallel"):
        Views((IMAGE,) * 4, np.tile(K, (4, 1, 1)), aside).bounds()
    outward = poses(6)
    outward[:, 1:] *= -1
    with pytest.raises(InputError, match="look away from each other"):
        Views((IMAGE,) * 6, np.tile(K, (6, 1, 1)), outward).bounds()


def test_masks_that_share_no_place_are_refused(views):
    masks = [np.zeros_like(mask) for mask in views.masks]
    with pytest.raises(InputError, match="every mask is empty"):
        replace(views, masks=tuple(masks)).bounds()
    for mask, (row, column) in zip(masks, np.random.default_rng(0).integers(5, 110, (12, 2))):
        mask[row : row + 5, column : column + 5] = True
    with pytest.raises(InputError, match="share no place in space"):
        replace(views, masks=tuple(masks)).bounds()
