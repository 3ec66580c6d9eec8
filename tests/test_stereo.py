"""Plane-sweep stereo against closed forms: a plane, a sphere and an ellipsoid drawn ray by ray with textures fixed in space."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from arc import AXES, CENTRE, ellipsoid

from surfrecon.errors import InputError
from surfrecon.geometry import Similarity
from surfrecon.run import Run
from surfrecon.stereo import HULL_CONFIDENCE, Stereo, _box, _peak, depth_map, fitted_planes, neighbours, stereo_cloud
from surfrecon.views import Views

SIZE, FOCAL = (160, 120), 200.0
DISTANCE = 4.0
WAVES = np.random.default_rng(5).normal(size=(60, 3))
WAVES *= np.random.default_rng(6).uniform(6, 40, size=(60, 1)) / np.linalg.norm(WAVES, axis=1, keepdims=True)  # per unit; a pixel is 0.02
PHASES = np.random.default_rng(7).uniform(0, 2 * np.pi, size=60)


def texture(points: np.ndarray) -> np.ndarray:
    """(N,) uint8: waves in space, all several pixels long."""
    return np.clip(127.5 + 17 * np.sin(points @ WAVES.T + PHASES).sum(1), 0, 255).astype(np.uint8)


def drawn(angles: list[float], hit, *, color: bool = False, offset: float = 0.0) -> Views:
    """Views from a bow of cameras that look at the origin; hit(origins, directions) gives lengths, NaN beside the object."""
    width, height = SIZE
    intrinsics = np.array([[FOCAL, 0, width / 2 + 1.3], [0, FOCAL, height / 2 - 0.7], [0, 0, 1.0]])
    poses = np.zeros((len(angles), 3, 4))
    for pose, angle in zip(poses, np.radians(angles)):
        pose[:, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        pose[:, 3] = (0, 0, DISTANCE)
    blank = [np.zeros((height, width), np.uint8)] * len(angles)
    cameras = Views(tuple(blank), np.tile(intrinsics, (len(angles), 1, 1)), poses)
    images, masks, depths = [], [], []
    for view in range(len(angles)):
        origins, directions = cameras.rays(view, cameras.pixel_centres(view))
        length = hit(origins, directions)
        known = np.isfinite(length)
        length = np.where(known, length, 0)
        grey = np.where(known, texture(origins + length[:, None] * directions), 0).astype(np.uint8).reshape(height, width)
        images.append(np.stack([grey, 255 - grey // 2, grey], axis=-1) if color else grey)
        masks.append(known.reshape(height, width))
        depths.append((length * (directions @ cameras.directions[view])).astype(np.float32).reshape(height, width))
    views = Views(tuple(images), cameras.intrinsics, poses, masks=tuple(masks), depths=tuple(depths))
    return views.transformed(Similarity(1.0, np.full(3, offset)))


def plane(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Lengths to the plane through the origin that leans by 20 degrees."""
    normal = np.array([0.0, np.sin(np.radians(20)), -np.cos(np.radians(20))])
    return -(origins @ normal) / (directions @ normal)


def sphere(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Lengths to the unit sphere."""
    b, c = (origins * directions).sum(1), (origins * origins).sum(1) - 1
    with np.errstate(invalid="ignore"):
        return -b - np.sqrt(b * b - c)


BOW = [-24.0, -12.0, 0.0, 12.0, 24.0]


@pytest.mark.parametrize(("surface", "masked"), [(plane, False), (sphere, False), (sphere, True)], ids=["plane", "sphere", "sphere-masks"])
def test_depths_are_right_within_a_tenth_of_a_percent(surface, masked):
    views = drawn(BOW, surface)
    truth = views.depths[2]
    views = replace(views, masks=views.masks if masked else None, points=views.depth_points(2), depths=None)
    found = depth_map([views, views.scaled(0.5)], 2, np.array([1, 3, 0, 4]), Stereo(), Run(device="cpu")).inverse_depth.numpy()
    known = (found > 0) & (truth > 0)
    assert known.sum() > 0.9 * (truth > 0).sum()
    assert not masked or not (found[truth == 0] > 0).any()
    error = np.abs(1 / np.where(known, found, 1) / np.where(known, truth, 1) - 1)
    assert np.median(error[known]) < 5e-4
    facing = known & ((truth < DISTANCE - 0.8) if surface is sphere else True)  # the rim leans by more than 37 degrees
    assert np.mean(error[facing]) < 1e-3


@pytest.mark.parametrize("color", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("offset", [0.0, 5.8e6], ids=["origin", "far"])
def test_cloud_of_a_sphere_lies_on_it_with_its_normals(color, offset):
    views = replace(drawn(BOW, sphere, color=color, offset=offset), depths=None)
    cloud = stereo_cloud(views, Stereo(hull=False), run=Run(device="cpu"))
    away = cloud.points - offset
    radius = np.linalg.norm(away, axis=1)
    assert len(cloud) > 2000
    assert np.mean(np.abs(radius - 1)) < 0.003  # a pixel is 0.015 there
    assert np.median((cloud.normals * away / radius[:, None]).sum(1)) > 0.995
    assert ((cloud.origins - cloud.points) * cloud.normals).sum(1).min() > 0
    assert 0 < cloud.scalars["confidence"].min() <= cloud.scalars["confidence"].max() <= 1
    channels = cloud.colors * 255
    assert np.abs(channels[:, 1] - (255 - channels[:, 0] / 2 if color else channels[:, 0])).max() < 1.5


def test_views_all_around_cover_an_ellipsoid():
    views = replace(ellipsoid(16), depths=None)
    cloud = stereo_cloud(views, Stereo(window=7), run=Run(device="cpu"))
    inside = ((cloud.points - CENTRE) / AXES) ** 2
    assert np.abs(np.sqrt(inside.sum(1)) - 1).mean() < 0.01
    octants = ((cloud.points > CENTRE) * [1, 2, 4]).sum(1)
    assert np.bincount(octants, minlength=8).min() > 50


def test_hull_stands_in_where_there_is_no_texture():
    views = replace(ellipsoid(12), depths=None)
    images = []
    for view, image in enumerate(views.images):
        origins, directions = views.rays(view, views.pixel_centres(view))
        top = ellipsoid_height(origins, directions).reshape(image.shape[:2]) > 0
        images.append(np.where(top[..., None], np.uint8(90), image))
    views = replace(views, images=tuple(images))
    cloud = stereo_cloud(views, run=Run(device="cpu"))
    stand_in = cloud.scalars["confidence"] == np.float32(HULL_CONFIDENCE)
    above = cloud.points[:, 2] > CENTRE[2] + 0.1
    assert (above & stand_in).sum() > 4 * (above & ~stand_in).sum()
    added = cloud[stand_in]
    assert HULL_CONFIDENCE < cloud.scalars["confidence"][~stand_in].min()
    assert np.median(np.sqrt((((added.points - CENTRE) / AXES) ** 2).sum(1))) < 1.06


def ellipsoid_height(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(R,) height over the ellipsoid's middle where rays first meet it, -1 where they don't."""
    o, d = (origins - CENTRE) / AXES, directions / AXES
    a, b, c = (d * d).sum(1), (o * d).sum(1), (o * o).sum(1) - 1
    root = b * b - a * c
    length = (-b - np.sqrt(np.maximum(root, 0))) / a
    return np.where(root > 0, (origins + length[:, None] * directions)[:, 2] - CENTRE[2], -1)


def test_same_views_give_the_same_cloud():
    views = replace(drawn(BOW[:3], sphere), depths=None)
    first, second = (stereo_cloud(views, Stereo(agreeing=1), run=Run(device="cpu")) for _ in range(2))
    np.testing.assert_array_equal(first.points, second.points)


def test_a_wrong_view_does_not_move_the_cloud():
    views = replace(drawn(BOW, sphere), depths=None)
    noise = np.random.default_rng(0).integers(0, 255, views.images[4].shape, dtype=np.uint8)
    cloud = stereo_cloud(replace(views, images=(*views.images[:4], noise)), Stereo(hull=False), run=Run(device="cpu"))
    assert np.abs(np.linalg.norm(cloud.points, axis=1) - 1).mean() < 0.003


def test_blank_photographs_are_refused():
    views = replace(drawn(BOW, sphere), depths=None)
    blank = tuple(np.full_like(image, 128) for image in views.images)
    with pytest.raises(InputError, match="too little texture"):
        stereo_cloud(replace(views, images=blank), run=Run(device="cpu"))


def test_one_view_is_refused():
    with pytest.raises(InputError, match="at least two views"):
        stereo_cloud(drawn(BOW[:1], sphere))


@pytest.mark.parametrize("wrong", [{"sources": 0}, {"agreeing": 0}, {"window": 8}, {"window": 1}, {"voxel": 0.0}])
def test_settings_that_cannot_be_are_refused(wrong):
    with pytest.raises(InputError):
        Stereo(**wrong)


def test_neighbours_are_those_of_fit_angle_best_first():
    views = replace(drawn([0.0, 1.0, 11.0, 35.0, 80.0], sphere), masks=None)  # the box is that of the depths
    assert neighbours(views)[0].tolist() == [2, 3, 1]


def test_progress_is_told_view_by_view():
    steps = []
    stereo_cloud(replace(drawn(BOW[:3], sphere), depths=None), Stereo(agreeing=1), run=Run(device="cpu", on_step=steps.append))
    assert [step.done for step in steps if step.stage == "stereo" and step.total] == [1, 2, 3]
    assert [step.done for step in steps if step.stage == "fuse" and step.total] == [1, 2, 3]


@pytest.mark.parametrize("window", [1, 3, 5, 7, 9, 11, 17])
def test_box_sums_match_a_slow_loop(window):
    values = np.random.default_rng(0).integers(0, 9, (2, 13, 12)).astype(np.float32)
    half = window // 2
    slow = np.empty_like(values)
    for i in range(13):
        for j in range(12):
            slow[:, i, j] = values[:, max(0, i - half) : i + half + 1, max(0, j - half) : j + half + 1].sum((1, 2))
    np.testing.assert_array_equal(_box(torch.as_tensor(values), window).numpy(), slow)


def test_planes_of_inverse_depth_are_fitted_exactly():
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(15.0), indexing="ij")
    known = torch.as_tensor(np.random.default_rng(0).uniform(size=(12, 15)) > 0.3).float()
    plane, solid = fitted_planes((0.01 * x - 0.02 * y + 3) * known, known, 5)
    expected = torch.stack([torch.full_like(x, 0.01), torch.full_like(x, -0.02), 0.01 * x - 0.02 * y + 3])
    assert solid.float().mean() > 0.9
    torch.testing.assert_close(plane[:, solid], expected[:, solid], rtol=0, atol=1e-6)


def test_peak_of_a_parabola_is_found_between_hypotheses():
    offsets = torch.arange(-3, 4) * 0.1
    scores = (0.9 - 20 * (offsets - 0.037) ** 2)[:, None, None].expand(7, 2, 3)
    w, score = _peak(scores, torch.ones(2, 3), offsets, torch.ones(2, 3), 0.5)
    torch.testing.assert_close(w, torch.full((2, 3), 1.037))
    assert (score > 0.8).all()


def test_a_second_peak_as_good_takes_the_pixel_out():
    scores = torch.full((15, 1, 2), 0.1)
    scores[3] = 0.9
    scores[11, 0, 1] = 0.89
    _, score = _peak(scores, torch.ones(1, 2), torch.arange(15) * 0.01, torch.ones(1, 2), 1.0)
    assert (score > 0).tolist() == [[True, False]]
