"""Plain backdrops: what of a photograph shows the cloth or the dark room behind the object, or the empty frame of a rectified picture.

Beside an outline a window of such a photograph holds the outline and nothing else of contrast; so the backdrop next to it is found at the
object's depth, and clouds get a rim. What is known to be backdrop isn't compared.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import label

from surfrecon.views import Views

LEAST_PLAIN, MOST_PLAIN = 2, 16  # levels of any channel by which a backdrop differs from the usual colour along the frame's border ...
SPREAD = 95.0  # ... and the percentile of the border's own differences that is between them
BORDER = 0.8  # share of the border that a backdrop takes
DISTINCT = 120  # levels that the hundredth of a photograph farthest from it differs by: in dim ones the object's shades are as dark as it
USUAL = 0.5  # share of the views that must have one
LEAST_SHOWN = 0.01  # of a photograph that is left: less is no object


def object_masks(views: Views) -> tuple[np.ndarray, ...] | None:
    """V arrays (H, W) bool, False on the plain backdrop that reaches the frame's border; None where most photographs have none.

    They may lack parts of the object as dark (or bright) as the backdrop beside it: good for leaving pixels out, not for carving.
    """
    masks = [_beside_backdrop(image) for image in views.images]
    if sum(not mask.all() for mask in masks) < USUAL * len(masks):
        return None
    return tuple(masks)


def _beside_backdrop(image: np.ndarray) -> np.ndarray:
    """(H, W) bool of one photograph, all True where its border isn't plain."""
    edges = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]).astype(int)
    usual = np.median(edges, axis=0)
    off = np.abs(edges - usual).max(axis=1)
    everything = np.ones(image.shape[:2], bool)
    away = np.abs(image - usual).max(axis=2)
    if (off <= MOST_PLAIN).mean() < BORDER or np.percentile(away, 99) < DISTINCT:
        return everything
    parts, _ = label(away <= np.clip(np.percentile(off, SPREAD), LEAST_PLAIN, MOST_PLAIN))
    outer = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    mask = ~np.isin(parts, outer[outer > 0])
    return mask if mask.mean() > LEAST_SHOWN else everything
