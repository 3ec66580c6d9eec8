"""What becomes of many depth maps: the hull where stereo is silent."""

from dataclasses import replace

import numpy as np
from arc import AXES, CENTRE, ellipsoid

from surfrecon.fusion import HULL_CONFIDENCE
from surfrecon.run import Run
from surfrecon.stereo import stereo_cloud


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
