"""Photographs as rays: colours, masks and places of their pixels are those of the views."""

from dataclasses import replace

import numpy as np
import torch

from surfrecon.rendering import Photographs, pixel_width
from surfrecon.views import Views

SIZE, FOCAL, DISTANCE = (40, 30), 50.0, 2.0


def views(masked: bool = True) -> Views:
    rng = np.random.default_rng(0)
    width, height = SIZE
    k = np.array([[FOCAL, 0, 20.3], [0, FOCAL, 14.2], [0, 0, 1.0]])
    turn = np.array([[0.8, 0, 0.6], [0, 1, 0], [-0.6, 0, 0.8]])
    poses = np.stack([np.column_stack([rotation, [0, 0, DISTANCE]]) for rotation in (np.eye(3), turn)])
    images = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    masks = np.zeros((2, height, width), bool)
    masks[:, 10:20, 15:25] = True
    return Views(tuple(images), np.stack([k, k]), poses, masks=tuple(masks) if masked else None)


def test_pixels_of_masks_and_around_them_are_kept_with_their_colours():
    scene = views()
    photographs = Photographs(scene, torch.device("cpu"))
    every = torch.arange(len(photographs))
    seen = photographs.seen(every)
    column, row = photographs.places[every].T.numpy()
    for view in range(2):
        here = (seen.view == view).numpy()
        assert here.sum() == 14 * 14 and seen.inside[here].sum() == 100  # 2 pixels around
        np.testing.assert_allclose(255 * seen.color[here].numpy(), scene.images[view][row[here], column[here]], atol=1e-3)


def test_rays_are_those_of_the_views():
    scene = views()
    photographs = Photographs(scene, torch.device("cpu"))
    pixels = torch.tensor([0, 57, len(photographs) - 1])
    rays, view = photographs.rays(pixels), photographs.seen(pixels).view
    for ray in range(3):
        place = photographs.places[pixels[ray]].numpy()[None] + 0.5
        origin, direction = scene.rays(int(view[ray]), place)
        np.testing.assert_allclose(rays.origins[ray].numpy(), origin[0], atol=1e-6)
        np.testing.assert_allclose(rays.directions[ray].numpy(), direction[0], atol=1e-6)


def test_without_masks_all_pixels_count_as_object():
    photographs = Photographs(views(masked=False), torch.device("cpu"))
    assert len(photographs) == 2 * 40 * 30 and photographs.inside.all() and not photographs.masked


def test_what_pixels_measured_lies_where_the_depths_say():
    scene = views()
    depths = np.random.default_rng(1).uniform(1, 3, (2, *scene.images[0].shape[:2])).astype(np.float32)
    depths[:, ::3] = 0
    scene = replace(scene, depths=tuple(depths))
    photographs = Photographs(scene, torch.device("cpu"))
    every = torch.arange(len(photographs))
    places, rows = photographs.measured(every)
    assert torch.equal(rows, torch.nonzero(photographs.depths > 0)[:, 0])
    for view in range(2):
        here = photographs.view[rows] == view
        pixels, depth = scene.project(view, places[here].numpy())
        np.testing.assert_allclose(pixels, photographs.places[rows[here]].numpy() + 0.5, atol=1e-3)
        np.testing.assert_allclose(depth, photographs.depths[rows[here]].numpy(), rtol=1e-5)
    assert Photographs(views(), torch.device("cpu")).depths is None


def test_pixel_width_is_depth_over_focal_length():
    scene = views()
    middle = scene.bounds().mean(axis=0)
    depths = [scene.project(view, middle[None])[1][0] for view in range(2)]
    np.testing.assert_allclose(pixel_width(scene), np.median(depths) / FOCAL, rtol=1e-12)
