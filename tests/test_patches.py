"""The disagreement of patches, on views of an ellipsoid: a slow loop's, least on the true surface, its slopes, and what isn't compared."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from arc import AXES, CENTRE, ellipsoid

from surfrecon.image_quality import LUMA, noise
from surfrecon.patches import LEAST_NCC, NOISES, QUANTISED, STRIDE, WINDOW, Patches
from surfrecon.stereo import neighbours
from surfrecon.views import Views

HALF = WINDOW // 2


@pytest.fixture(scope="module")
def views() -> Views:
    return replace(ellipsoid(16), depths=None)


def surface(views: Views, view: int, pixels: np.ndarray, larger: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Points (P, 3) and normals of the ellipsoid, scaled about its middle, where pixels that meet it see it."""
    axes = larger * np.asarray(AXES)
    origins, directions = views.rays(view, pixels + 0.5)
    o, d = (origins - CENTRE) / axes, directions / axes
    b, a, c = (o * d).sum(1), (d * d).sum(1), (o * o).sum(1) - 1
    t = (-b - np.sqrt(b * b - a * c)) / a
    x = origins + t[:, None] * directions
    normals = (x - CENTRE) / axes**2
    return x, normals / np.linalg.norm(normals, axis=1, keepdims=True)


def inner(views: Views, view: int, count: int = 60) -> np.ndarray:
    """(P, 2) column and row of pixels well within the mask."""
    rows, columns = np.nonzero(views.masks[view])
    off = np.hypot(rows - rows.mean(), columns - columns.mean())
    near = np.flatnonzero(off < 0.7 * min(np.ptp(rows), np.ptp(columns)) / 2)
    some = np.random.default_rng(0).choice(near, count)
    return np.column_stack([columns, rows])[some]


def found(patches: Patches, view: int, pixels: np.ndarray, x, normals) -> torch.Tensor:
    as_float = lambda values: torch.as_tensor(values, dtype=torch.float32)
    return patches.disagreement(torch.full((len(pixels),), view), torch.as_tensor(pixels), as_float(x), as_float(normals))


def slow(views: Views, view: int, pixels: np.ndarray, x: np.ndarray, normals: np.ndarray) -> float:
    """The mean over patches, one pixel at a time: each is met with the plane in space, and looked up where a source sees that place."""
    greys = [(image @ LUMA).round() for image in views.images]
    sources, losses = neighbours(views)[view][:4], []
    for (column, row), place, normal in zip(pixels, x, normals):
        window = slice(row - HALF, row + HALF + 1), slice(column - HALF, column + HALF + 1)
        least = NOISES * max(255 * noise(greys[view] / 255, views.masks[view]), QUANTISED)
        if not views.masks[view][window].all() or greys[view][window].std() <= least:
            continue
        at = np.array([(column + i, row + j) for i in range(-HALF, HALF + 1, STRIDE) for j in range(-HALF, HALF + 1, STRIDE)])
        origins, directions = views.rays(view, at + 0.5)
        places = origins + directions * ((place - origins) @ normal / (directions @ normal))[:, None]
        scores = []
        for source in sources:
            seen = views.project(source, places)[0] - 0.5
            corner = np.floor(seen).astype(int)
            if (corner < 0).any() or (corner > views.sizes[source] - 2).any():
                scores.append(-1.0)
                continue
            (u, v), (i, j) = (seen - corner).T, corner.T
            grey = greys[source]
            b = (1 - v) * ((1 - u) * grey[j, i] + u * grey[j, i + 1]) + v * ((1 - u) * grey[j + 1, i] + u * grey[j + 1, i + 1])
            a = greys[view][at[:, 1], at[:, 0]]
            scores.append(np.mean((a - a.mean()) * (b - b.mean())) / (max(a.std(), QUANTISED) * max(b.std(), QUANTISED)))
        losses += [1 - score for score in sorted(scores)[len(sources) // 2 :] if score > LEAST_NCC]
    return float(np.mean(losses))


def test_it_is_the_slow_loops(views):
    pixels = inner(views, 3)
    x, normals = surface(views, 3, pixels, 1.01)
    assert float(found(Patches(views), 3, pixels, x, normals)) == pytest.approx(slow(views, 3, pixels, x, normals), rel=1e-3)


def test_it_is_least_on_the_true_surface_and_with_its_normals(views):
    patches, pixels = Patches(views), inner(views, 5)
    losses = [float(found(patches, 5, pixels, *surface(views, 5, pixels, larger))) for larger in (0.96, 0.98, 1.0, 1.02, 1.04)]
    assert np.argmin(losses) == 2 and losses[2] < 0.1 and min(losses[0], losses[4]) > 2 * losses[2]
    x, _ = surface(views, 5, pixels)
    assert float(found(patches, 5, pixels, x, -views.rays(5, pixels + 0.5)[1])) > losses[2]


def test_its_gradient_is_the_slope_of_the_loss(views):
    patches, pixels = Patches(views), inner(views, 5, 20)
    x, normals = surface(views, 5, pixels, 1.01)
    x, normals = (torch.tensor(item, dtype=torch.float32, requires_grad=True) for item in (x, normals))
    by_x, by_normals = torch.autograd.grad(found(patches, 5, pixels, x, normals), (x, normals))
    away = torch.as_tensor(views.rays(5, pixels + 0.5)[1], dtype=torch.float32)
    aside = torch.nn.functional.normalize(torch.randn(normals.shape, generator=torch.Generator().manual_seed(0)), dim=1)
    step = 1e-3
    with torch.no_grad():
        for slope, ends in (
            ((by_x * away).sum(), [found(patches, 5, pixels, x + h * away, normals) for h in (step, -step)]),
            ((by_normals * aside).sum(), [found(patches, 5, pixels, x, normals + h * aside) for h in (step, -step)]),
        ):
            assert float(slope) == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=0.05)


def test_a_source_before_which_something_stands_does_not_count(views):
    pixels = inner(views, 5)
    x, normals = surface(views, 5, pixels)
    hidden = list(views.images)
    for source in neighbours(views)[5][:2]:
        hidden[source] = np.random.default_rng(1).integers(0, 255, hidden[source].shape).astype(np.uint8)
    assert float(found(Patches(replace(views, images=hidden)), 5, pixels, x, normals)) < 0.25


def test_patches_across_an_outline_or_without_texture_or_sources_are_not_compared(views):
    rows, columns = np.nonzero(views.masks[5])
    top = np.array([[columns[rows.argmin()], rows.min()], [0, 0]])
    x, normals = np.full((2, 3), CENTRE), -views.rays(5, top + 0.5)[1]
    assert float(found(Patches(views), 5, top, x, normals)) == 0
    pixels = inner(views, 5)
    plain = replace(views, images=[np.full_like(image, 90) for image in views.images])
    assert float(found(Patches(plain), 5, pixels, *surface(views, 5, pixels))) == 0
    lonely = views[np.array([5, 12])]  # on the far side
    assert not any(map(len, neighbours(lonely)))
    assert float(found(Patches(lonely), 0, pixels, *surface(views, 5, pixels))) == 0
