"""How good a reconstruction from photographs is, as far as the photographs themselves can tell: outlines, agreement, views held out.

Letters: V views, H and W rows and columns of one view. Frames and pixels as in views.py; PSNR and SSIM in image_quality.py, the agreement
of views in photo_consistency.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh
from surfrecon.image_quality import as_float, psnr, ssim
from surfrecon.photo_consistency import Consistency, photo_consistency
from surfrecon.pictures import Scene, as_bytes, colormap, contact_sheet, save_png
from surfrecon.views import Views, area_mean
from surfrecon.visible import seen

MOST_DEVIATIONS = 3.5  # robust standard deviations below the median from which a view is named (Iglewicz and Hoaglin, 1993)
NORMAL_MAD = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
LEAST_GAP = {"ncc": 0.1, "iou": 0.03}  # below the median: where all views agree to a hair, a hair is no offence
SAYS = {
    "ncc": "{} disagrees with its neighbours: NCC {:.2f} where the median is {:.2f}",
    "iou": "the mesh doesn't fit the mask of {}: IoU {:.3f} where the median is {:.3f}",
}
SHOWN = 4  # views beside each other in a picture, at most
SHOWN_SIDE = 480  # pixels of their longest side
LABEL_STRIP = 18, 1 / 14  # pixels, or share of a tile: the white strip above each, where its name stands
FULL_DIFFERENCE = 0.25  # of the range, that is shown in the brightest colour
MOST_PSNR = 100.0  # dB, in reports: JSON knows no infinity


@dataclass(frozen=True)
class BadView:
    """A view that stands out: its row, its name, and what is wrong in one sentence."""

    view: int
    name: str
    says: str


def silhouette_iou(mesh: Mesh, views: Views) -> np.ndarray:
    """(V,) pixels in both the mesh's outline and the mask over pixels in either; NaN where the mask is empty: it saw nothing.

    Outlines are those of rays through pixels' middles.

    Raises:
        InputError: views without masks.
    """
    if views.masks is None:
        raise InputError("these views carry no masks, with which silhouettes could be compared")
    scene, shares = Scene(mesh), np.full(len(views), np.nan)
    for view, mask in enumerate(views.masks):
        if mask.any():
            outline = seen(scene, views, view).hit
            shares[view] = (outline & mask).sum() / (outline | mask).sum()
    return shares


def bad_views(names: Sequence[str], *, consistency: Consistency | None = None, iou: np.ndarray | None = None) -> list[BadView]:
    """The views whose agreement with their neighbours, or whose outline, is far below that of most.

    Far is: by more than MOST_DEVIATIONS robust standard deviations and more than LEAST_GAP.

    Args:
        names: (V,) of the views.
        consistency: see photo_consistency.
        iou: (V,), see silhouette_iou.
    """
    found = []
    per_view = None if consistency is None else consistency.per_view
    for kind, values in (("ncc", per_view), ("iou", iou)):
        if values is None or not np.isfinite(values).any():
            continue
        median = float(np.nanmedian(values))
        deviation = NORMAL_MAD * float(np.nanmedian(np.abs(values - median)))
        for view in np.flatnonzero(values < median - max(MOST_DEVIATIONS * deviation, LEAST_GAP[kind])):
            says = SAYS[kind].format(names[view], values[view], median)
            found.append(BadView(int(view), names[view], says))
    return found


def assess(
    mesh: Mesh,
    views: Views,
    *,
    held_out: Views | None = None,
    renderings: Sequence[np.ndarray] | None = None,
) -> dict[str, Any]:
    """What a report says of the quality of a reconstruction from photographs; a part that can't be told is None.

    Args:
        mesh: world frame.
        views: from which it was made.
        held_out: views from which it was not made.
        renderings: images (H, W, 3) of what `held_out` would see, or `views` where that is None; they are compared within the masks.
    Raises:
        InputError: renderings that don't match the views in number or size.
    """
    iou = None if views.masks is None else silhouette_iou(mesh, views)
    agreement = photo_consistency(mesh, views) if len(views) > 1 and len(mesh.faces) else None
    result: dict[str, Any] = {
        "silhouettes": None if iou is None else _spread("iou", iou, views.names),
        "photo_consistency": None,
        "held_out" if held_out is not None else "renderings": None,
        "bad_views": [bad.says for bad in bad_views(views.names, consistency=agreement, iou=iou)],
    }
    if agreement is not None and agreement.patches:
        result["photo_consistency"] = _spread("ncc", agreement.per_view, views.names) | {
            "ncc": agreement.ncc,
            "patches": agreement.patches,
            "textureless": agreement.textureless,
        }
    if renderings is not None:
        result["held_out" if held_out is not None else "renderings"] = compared(views if held_out is None else held_out, renderings)
    return result


def compared(views: Views, renderings: Sequence[np.ndarray]) -> dict[str, Any]:
    """Mean PSNR and SSIM of renderings (H, W, 3) against photographs, within the masks where there are some, and the worst of them.

    Raises:
        InputError: other numbers or sizes than the views'.
    """
    if len(renderings) != len(views):
        raise InputError(f"renderings must be {len(views)}, one for each view, got {len(renderings)}")
    masks = [None] * len(views) if views.masks is None else [mask if mask.any() else None for mask in views.masks]
    triples = list(zip(renderings, views.images, masks))
    noise = np.array([min(psnr(*triple), MOST_PSNR) for triple in triples])
    like = np.array([ssim(*triple) for triple in triples])
    worst = int(noise.argmin())
    return {
        "views": len(views),
        "psnr": float(noise.mean()),
        "ssim": float(like.mean()),
        "lowest_psnr": float(noise[worst]),
        "lowest_view": views.names[worst],
    }


def _spread(name: str, values: np.ndarray, names: Sequence[str]) -> dict[str, Any] | None:
    if not np.isfinite(values).any():
        return None
    worst = int(np.nanargmin(values))
    middle = {name: float(np.nanmean(values)), "median": float(np.nanmedian(values))}
    return middle | {"lowest": float(values[worst]), "lowest_view": names[worst]}


def comparison(views: Views, renderings: Sequence[np.ndarray], path: Path | str, *, most: int = SHOWN) -> None:
    """Write a PNG with a row for each of some views: the photograph, the rendering, and where they differ.

    Differences are means of the channels' absolute ones, dark violet for none, yellow from FULL_DIFFERENCE of the range; they and dB are
    counted within the masks where there are some.

    Args:
        views: the photographs.
        renderings: (H, W, 3), one for each view.
        path: of the PNG.
        most: rows, evenly among the views.
    Raises:
        InputError: other numbers or sizes than the views'.
    """
    if len(renderings) != len(views):
        raise InputError(f"renderings must be {len(views)}, one for each view, got {len(renderings)}")
    tiles, labels = [], []
    for view in np.unique(np.linspace(0, len(views) - 1, min(most, len(views))).round().astype(int)):
        photograph, rendering = views.images[view], np.asarray(renderings[view])
        if rendering.shape != photograph.shape:
            raise InputError(f"the rendering of {views.names[view]} is {rendering.shape}, its photograph {photograph.shape}")
        mask = None if views.masks is None or not views.masks[view].any() else views.masks[view]
        difference = np.abs(as_float(rendering) - as_float(photograph)).mean(axis=2) * (1 if mask is None else mask)
        shown = (photograph, as_bytes(as_float(rendering)), as_bytes(colormap(difference / FULL_DIFFERENCE)))
        tiles += [_fitted(image) for image in shown]
        labels += [views.names[view], f"rendering, {psnr(rendering, photograph, mask):.1f} dB", "difference"]
    height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    strip = max(LABEL_STRIP[0], round(LABEL_STRIP[1] * height))
    sides = [((strip, height - tile.shape[0]), (0, width - tile.shape[1]), (0, 0)) for tile in tiles]
    padded = [np.pad(tile, side, constant_values=255) for tile, side in zip(tiles, sides)]
    save_png(contact_sheet(padded, labels, columns=3), path)


def _fitted(image: np.ndarray) -> np.ndarray:
    factor = min(1.0, SHOWN_SIDE / max(image.shape[:2]))
    return area_mean(np.ascontiguousarray(image), [max(1, round(factor * side)) for side in image.shape[1::-1]])
