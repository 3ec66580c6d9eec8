"""The pixels of photographs as training sees them: in one row, those that may show the object, each with its colour and its ray.

Letters: V views, P pixels, R rays. Frame: that of the views. Colours are sRGB, 0 to 1, as the images hold them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import binary_dilation
from torch import Tensor

from surfrecon.rendering.rays import Rays, pixel_rays
from surfrecon.views import Views

AROUND = 0.03  # of an image's longer side: so far around its mask pixels tell where the object ends


class Seen(NamedTuple):
    """What pixels show: colour (R, 3), whether of the object (R,), and the view (R,) it was seen in."""

    color: Tensor
    inside: Tensor
    view: Tensor


class Photographs:
    """V photographs, flattened.

    Attributes:
        views: V.
        masked: whether it is known which pixels show the object.
        depths: (P,) of what pixels show, 0 where unknown; None where nothing is known of any.
    """

    def __init__(self, views: Views, device: torch.device):
        self.views, self.masked = len(views), views.masks is not None
        as_float = lambda values: torch.tensor(values, dtype=torch.float32, device=device)
        self.intrinsics, self.poses = as_float(views.intrinsics), as_float(views.cam_from_world)
        places, colors, inside, counts, depths = [], [], [], [], []
        for view, image in enumerate(views.images):
            mask = views.masks[view] if self.masked else np.ones(image.shape[:2], bool)
            row, column = np.nonzero(_around(mask))
            places.append(np.column_stack([column, row]).astype(np.int16))
            colors.append(image[row, column])
            inside.append(mask[row, column])
            counts.append(len(row))
            if views.depths is not None:
                depths.append(views.depths[view][row, column])
        together = lambda parts: torch.as_tensor(np.concatenate(parts), device=device)
        self.places, self.colors, self.inside = together(places), together(colors), together(inside)
        self.depths = together(depths) if depths else None
        self.view = torch.repeat_interleave(torch.arange(len(views), device=device, dtype=torch.int32), torch.tensor(counts, device=device))

    def __len__(self) -> int:
        """P."""
        return len(self.places)

    def mean(self) -> Tensor:
        """(3,) colour of the object's pixels, of all where it isn't known which these are."""
        return self.colors[self.inside].float().mean(dim=0) / 255

    def rays(self, pixels: Tensor) -> Rays:
        """Of pixels (R,), by their numbers, through their middles."""
        view = self.view[pixels].long()
        return pixel_rays(self.places[pixels].float() + 0.5, self.intrinsics[view], self.poses[view])

    def measured(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(K, 3) places of what pixels (R,) show, by their depths, and the rows (K,) of those that have one."""
        known = torch.nonzero(self.depths[pixels] > 0)[:, 0]
        pixels = pixels[known]
        origins, directions = self.rays(pixels)
        axis = self.poses[self.view[pixels].long(), 2, :3]
        return origins + (self.depths[pixels] / (directions * axis).sum(dim=1))[:, None] * directions, known

    def seen(self, pixels: Tensor) -> Seen:
        """In pixels (R,), by their numbers."""
        return Seen(self.colors[pixels].float() / 255, self.inside[pixels], self.view[pixels].long())


def pixel_width(views: Views) -> float:
    """What a pixel covers at the middle of the object, typically, in the views' units."""
    middle = views.bounds().mean(axis=0)
    depth = np.einsum("vi,vi->v", middle - views.centres, views.directions)
    return float(np.median(np.abs(depth) / views.intrinsics[:, 0, 0]))


def _around(mask: np.ndarray) -> np.ndarray:
    """A mask grown by AROUND."""
    if mask.all() or not mask.any():
        return mask
    reach = max(2, round(AROUND * max(mask.shape)))
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    box = tuple(slice(max(0, lines[0] - reach), lines[-1] + reach + 1) for lines in (rows, columns))
    grown = np.zeros_like(mask)
    grown[box] = binary_dilation(mask[box], np.ones((3, 3), bool), iterations=reach)
    return grown
