"""How alike photographs look around points of a surface: patches of one are carried to others by its tangent planes, and correlated.

Letters: V views, S sources of each, P patches, K pixels of a patch. Frames and pixels as in views.py.
Sources: Fu et al., Geo-Neus, 2022; Furukawa and Ponce, Accurate, dense, and robust multi-view stereopsis, 2010.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from surfrecon import ops
from surfrecon.image_quality import LUMA, noise
from surfrecon.inverse_depth import carry
from surfrecon.stereo import neighbours
from surfrecon.views import Views

SOURCES = 4  # of each view; the best half of them counts, so that others may be occluded
WINDOW, STRIDE = 11, 2  # pixels along a patch, and between those of it that are compared
NOISES = 2.0  # standard deviations of the noise that a patch must have
QUANTISED = 0.29  # standard deviation, in levels of grey, that rounding to whole ones makes
LEAST_NCC = 0.2  # a source that agrees less sees something else
WHOLE = 0.999  # share of a patch that is all of it, but for rounding


class Patches:
    """V photographs in grey, and for each the S others that its patches are held against.

    Args:
        views: of which a pixel is the middle of a patch.
    """

    def __init__(self, views: Views, device: torch.device | str = "cpu"):
        partners = [row[:SOURCES] for row in neighbours(views)]
        shape = len(views), max(map(len, partners))
        sources, turns, shifts = np.full(shape, -1), np.zeros((*shape, 3, 3)), np.zeros((*shape, 3))
        for view, row in enumerate(partners):
            for place, source in enumerate(row):
                sources[view, place] = source
                turns[view, place], shifts[view, place] = carry(views, view, source)
        as_float = lambda values: torch.tensor(values, dtype=torch.float32, device=device)
        self.sources, self.turns, self.shifts = torch.as_tensor(sources, device=device), as_float(turns), as_float(shifts)
        self.poses, self.inverse = as_float(views.cam_from_world), as_float(np.linalg.inv(views.intrinsics))
        greys = [(image @ LUMA).round().astype(np.uint8) for image in views.images]
        fit = [comparable(grey, mask) for grey, mask in zip(greys, views.masks or [None] * len(views))]
        together = lambda parts: torch.as_tensor(np.concatenate([part.ravel() for part in parts]), device=device)
        self.grey, self.fit = together(greys), together(fit)
        self.sizes = torch.tensor(views.sizes, device=device)
        self.first = torch.as_tensor(np.cumsum(views.sizes.prod(axis=1)) - views.sizes.prod(axis=1), device=device)
        self.around = grid().to(device)

    def disagreement(self, view: Tensor, pixels: Tensor, x: Tensor, normals: Tensor) -> Tensor:
        """() mean of 1 - NCC over the patches that can be compared, each with the better half of its sources; 0 if there is none.

        Args:
            view: (P,) rows of views.
            pixels: (P, 2) column and row of those whose rays meet the surface ...
            x, normals: ... at these points (P, 3), with these normals, in the views' frame.
        Gradient: x, normals.
        """
        usable = self.fit[self._at(view, pixels)]
        view, pixels, x, normals = view[usable], pixels[usable], x[usable], normals[usable]
        own = self.grey[self._at(view[:, None], pixels[:, None] + self.around)].float()
        other, inside = self._seen(self.sources[view], self._carried(view, pixels, x, normals))
        ncc = torch.where(inside, _correlation(own[:, None], other), -1)
        best = ncc.topk((ncc.shape[1] + 1) // 2, dim=1).values
        alike = best > LEAST_NCC
        return torch.where(alike, 1 - best, 0).sum() / alike.sum().clamp(min=1)

    def _at(self, view: Tensor, pixels: Tensor) -> Tensor:
        """Numbers (...) of pixels (..., 2) of views (...)."""
        return self.first[view] + pixels[..., 1] * self.sizes[view, 0] + pixels[..., 0]

    def _carried(self, view: Tensor, pixels: Tensor, x: Tensor, normals: Tensor) -> Tensor:
        """(P, S, K, 3) where the sources see what patches show, if that is a plane: homogeneous pixel positions."""
        turn, shift = self.poses[view, :, :3], self.poses[view, :, 3]
        normal = torch.einsum("pij,pj->pi", turn, normals)
        depth = (normal * (torch.einsum("pij,pj->pi", turn, x) + shift)).sum(dim=1, keepdim=True)
        plane = torch.einsum("pji,pj->pi", self.inverse[view], normal) / depth  # whose product with (column, row, 1) is inverse depth
        homography = self.turns[view] + self.shifts[view][..., None] * plane[:, None, None]
        middle = torch.cat([pixels + 0.5, torch.ones_like(pixels[:, :1])], dim=1)
        steps = torch.einsum("psij,kj->pski", homography[..., :2], self.around.to(middle.dtype))
        return torch.einsum("psij,pj->psi", homography, middle)[:, :, None] + steps

    def _seen(self, sources: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """(P, S, K) grey at homogeneous places, linear between pixels, and (P, S) whether there is a source that has all of a patch."""
        front = places[..., 2] > 0
        known, sources = sources >= 0, sources.clamp(min=0)[..., None]
        position = places[..., :2] / torch.where(front, places[..., 2], 1)[..., None] - 0.5
        corner, last = position.detach().floor(), self.sizes[sources] - 2
        inside = (front & ((corner >= 0) & (corner <= last)).all(dim=-1)).all(dim=-1)
        corner = corner.nan_to_num().clamp(min=torch.zeros_like(last), max=last).long()
        at, width = self._at(sources, corner), self.sizes[sources, 0]
        right, down = (position - corner).unbind(dim=-1)
        upper, lower = (torch.lerp(self.grey[at + row].float(), self.grey[at + row + 1].float(), right) for row in (0, width))
        return torch.lerp(upper, lower, down), inside & known


def grid() -> Tensor:
    """(K, 2) columns and rows, from the middle of a patch, of those of its pixels that are compared."""
    side = torch.arange(-(WINDOW // 2), WINDOW // 2 + 1, STRIDE)
    return torch.cartesian_prod(side, side)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Normalised cross-correlation along the last axis, in levels of grey."""
    a, b = a - a.mean(dim=-1, keepdim=True), b - b.mean(dim=-1, keepdim=True)
    variance = lambda values: values.square().mean(dim=-1).clamp(min=QUANTISED**2)
    return (a * b).mean(dim=-1) / (variance(a) * variance(b)).sqrt()


def comparable(grey: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """(H, W) bool: whether the patch about a pixel lies in the frame and the mask, and has more contrast than noise makes."""
    picture = torch.as_tensor(grey, dtype=torch.float64)
    within = torch.ones_like(picture) if mask is None else torch.tensor(mask, dtype=torch.float64)
    count, mean, square = ops.box_sums(torch.stack([within, picture, picture**2]), WINDOW) / WINDOW**2
    least = NOISES * max(255 * noise(grey / 255, mask), QUANTISED)
    return ((count > WHOLE) & (square - mean**2 > least**2)).numpy()
