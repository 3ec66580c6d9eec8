"""From photographs with known cameras to a cloud of surface points: plane-sweep stereo, view by view, kept where views agree.

Each view in turn is the reference. A hypothesis is an inverse depth w = 1 / z for each of its pixels; it carries the sources' pictures over
to the reference, where windows are compared by normalised cross-correlation. The first sweep has planes parallel to the image; later ones,
at finer scales, shift the surface found so far, smoothed: their windows lean as it does, which planes parallel to the image would not.
Inverse depth is linear in pixel positions on every plane of space, so planes fitted to it are exact, and so is its bilinear interpolation.

Letters: H and W rows and columns of the reference, P hypotheses, N points. Frames and pixel positions as in views.py.

Sources: Collins, A space-sweep approach to true multi-image matching, 1996; Gallup et al., Real-time plane-sweeping stereo with multiple
sweeping directions, 2007; the agreement of views as in Schoenberger et al., Pixelwise view selection, 2016.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate, pad, unfold

from surfrecon.bounding import Silhouettes
from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud, Similarity, merge
from surfrecon.hull_surface import hull_surface
from surfrecon.run import Run
from surfrecon.thinning import thinned
from surfrecon.views import Views

BEST_ANGLE = np.radians(15.0)  # between two views' rays to a point: depth is well told and pictures still look alike
NARROWER, WIDER = np.radians(5.0), np.radians(12.0)  # angles off the best by this weigh exp(-1/2)
LEAST_WEIGHT = 0.01  # of a pair of views that can be matched
SAMPLES = 512  # places in the object's box or hull that tell which views share something
COARSE_SIDE = 500  # pixels of the longest side that is swept from end to end; larger views are halved until they fit
MOST_PLANES = 256
BLOCK = 1 << 24  # scores held at a time: 64 MiB
NEAREST = 0.05  # of the farthest depth: nothing nearer is looked for
CONTRAST = 1.5 / 255  # standard deviation of grey in a window below which noise decides
FILLED = 0.4  # share of a window that both pictures must show
LEAST_DOUBT = 0.02  # of 1 - score: what a perfect score leaves, quantised greys and bilinear pictures being what they are
DOUBT = 5.0  # pixels of the sources by which a peak may be uncertain: flat ones stand where there is no texture to tell depth
UNIQUE = 0.02  # by this the best plane's score must exceed that of any other but its neighbours
FIT = 5  # pixels along the window of the planes fitted to inverse depth
FILLS = (9, 17, 33, 65)  # windows of those that bridge gaps in the surface found so far
BAND, LAST_BAND = (0.5, 4), (0.25, 4)  # pixels of the sources between hypotheses, and hypotheses on either side of the surface so far
COARSE_PASSES, LAST_PASSES = 3, 1  # each leans the windows better: errors on slopes halve
FEW = 3  # sources or partners: with fewer, one on either side at best, a surface that leans is in the best one alone
MOST_PARTNERS = 10  # views asked to agree
REPROJECTION = 1.0  # pixels
DEPTH_AGREES = 0.005  # of the depth
HELD = 1_500_000  # points before they are averaged over voxels
HULL_GRID = 96  # cells along the hull's box
SILENT = 5.0  # pixels' widths from every stereo point: from there on the hull stands in
CONTRADICTED = 2  # views that see through a point of the hull, which then isn't the surface
HULL_CONFIDENCE = 0.05  # of points that the silhouettes alone tell
DISSENT = 0.05  # share of the views that may call a place background: a mask or two may be bad


@dataclass(frozen=True)
class Stereo:
    """Settings of the plane sweep.

    Attributes:
        sources: views compared with each reference; the best two count, so that one may be occluded.
        window: pixels along the compared windows, odd.
        least_ncc: mean correlation of the best two below which nothing is believed.
        agreeing: other views whose own depth must agree.
        voxel: side of the cells over which points are averaged, in pixels' widths at the object.
        hull: whether the visual hull, where there are masks, stands in where stereo is silent and nothing contradicts it.
    """

    sources: int = 4
    window: int = 7
    least_ncc: float = 0.6
    agreeing: int = 2
    voxel: float = 1.0
    hull: bool = True

    def __post_init__(self):
        if self.sources < 1 or self.agreeing < 1:
            raise InputError(f"stereo needs at least one source and one agreeing view, got {self.sources} and {self.agreeing}")
        if self.window < 3 or self.window % 2 == 0:
            raise InputError(f"the window of stereo must be an odd number of pixels, 3 or more, got {self.window}")
        if not self.voxel > 0:
            raise InputError(f"voxel must be > 0 (pixels' widths at the object), got {self.voxel}")


@dataclass(frozen=True, eq=False)
class DepthMap:
    """What one reference view tells: inverse depth (H, W) float32, 0 where unknown, and the score (H, W) it was found with."""

    inverse_depth: Tensor
    score: Tensor


def stereo_cloud(views: Views, settings: Stereo | None = None, *, run: Run | None = None) -> PointCloud:
    """The surface points that the views agree on, world frame, with normals, colours, origins (cameras) and `confidence` in (0, 1].

    Args:
        views: at least two, of a still scene; masks are respected where there are any.
        settings: see Stereo.
        run: device, progress.
    Raises:
        InputError: fewer than two views, or no two that see one place from fit angles, or nothing that they agree on.
    """
    settings, run = settings or Stereo(), run or Run()
    if len(views) < 2:
        raise InputError("stereo needs at least two views, got 1")
    unit_from_world = Similarity.fit(views)
    unit = views.transformed(unit_from_world)
    with run.stage("stereo"):
        partners = neighbours(unit)
        if not any(len(row) for row in partners):
            raise InputError("no two views see one place from directions that differ by about 5 to 40 degrees: stereo needs such pairs")
        levels = [unit]
        while levels[-1].sizes.max() > COARSE_SIDE or len(levels) < 2:
            levels.append(unit.scaled(0.5 ** len(levels)))
        hull = None if unit.masks is None else _hull(unit).to(run.torch_device())
        maps = []
        for view in range(len(unit)):
            maps.append(depth_map(levels, view, partners[view][: settings.sources], settings, run, hull))
            run.step("stereo", view + 1, len(unit), depths=float((maps[-1].score > 0).float().mean()))
    with run.stage("fuse"):
        cloud = fused(unit, maps, partners, settings, run)
    if not len(cloud):
        raise InputError("the views agree on no surface point: too little texture, or cameras that are off by more than a pixel")
    return cloud.transformed(unit_from_world.inverse())


def neighbours(views: Views) -> list[np.ndarray]:
    """For each view the others that can be matched with it, best first: by the angle between their rays to what both have in the frame."""
    low, high = views.bounds()
    places = low + (high - low) * np.random.default_rng(0).uniform(size=(SAMPLES, 3))
    seen = np.empty((len(views), SAMPLES), bool)
    for view, size in enumerate(views.sizes):
        pixels, _ = views.project(view, places)
        with np.errstate(invalid="ignore"):
            seen[view] = ((pixels >= 0) & (pixels < size)).all(axis=1)
    rays = views.centres[:, None] - places
    rays /= np.linalg.norm(rays, axis=2, keepdims=True)
    result = []
    for view in range(len(views)):
        angle = np.arccos(np.einsum("ni,vni->vn", rays[view], rays).clip(-1, 1))
        off = angle - BEST_ANGLE
        weight = np.exp(-0.5 * (off / np.where(off < 0, NARROWER, WIDER)) ** 2) * seen * seen[view]
        weight = weight.sum(axis=1) / max(1, seen[view].sum())
        weight[view] = 0
        order = np.argsort(-weight, kind="stable")
        result.append(order[weight[order] > LEAST_WEIGHT][:MOST_PARTNERS])
    return result


# One depth map -------------------------------------------------------------------------------------------------------------------


def depth_map(levels: list[Views], view: int, sources: np.ndarray, settings: Stereo, run: Run, hull: Tensor | None = None) -> DepthMap:
    """The depth map of one view by sweeps from coarse to fine.

    Args:
        levels: the views at full size, at half, at a quarter ...
        sources: (S,) rows of views.
        hull: see _hull; None sweeps the whole box.
    """
    height, width = levels[0].images[view].shape[:2]
    device = run.torch_device()
    if not len(sources) or (levels[0].masks is not None and not all(level.masks[view].any() for level in levels)):
        return DepthMap(torch.zeros(height, width, device=device), torch.zeros(height, width, device=device))
    coarse = _Sweep(levels[-1], view, sources, settings, device)
    far, near = coarse.range()
    step = coarse.step((near + far) / 2)
    planes = torch.linspace(far, near, int(np.clip(np.ceil((near - far) / step) + 1, 3, MOST_PLANES)))
    w, score = coarse(torch.zeros(()), planes, spacing=1.0, hull=hull)
    for level, step_pixels, reach in _passes(len(levels)):
        fine = _Sweep(levels[level], view, sources, settings, device)
        guide = _smoothed(w, score * (score > settings.least_ncc / 2))
        guide = interpolate(guide[None, None], fine.shape, mode="bilinear", align_corners=False)[0, 0]
        step = step_pixels * fine.step(float(guide[guide > 0].median()) if (guide > 0).any() else (near + far) / 2)
        w, score = fine(guide, step * torch.arange(-reach, reach + 1), spacing=step_pixels)
    known = (score >= settings.least_ncc) & (w >= far) & (w <= near)
    return DepthMap(torch.where(known, w, 0), torch.where(known, score, 0))


def _passes(levels: int) -> list[tuple[int, float, int]]:
    """(level, spacing of hypotheses in pixels of the sources, hypotheses on either side) of the sweeps after the first."""
    return [(levels - 1, *BAND)] * COARSE_PASSES + [(level, *BAND) for level in range(levels - 2, -1, -1)] + [(0, *LAST_BAND)] * LAST_PASSES


def _hull(views: Views) -> Tensor:
    """(Z, Y, X) float32, 1 in the cells of the object's box that the silhouettes leave, those that they touch among them."""
    low, high = views.bounds()
    side = (high - low) / HULL_GRID
    axes = [np.arange(HULL_GRID)] * 3
    z, y, x = np.meshgrid(*axes, indexing="ij")
    places = low + side * (np.stack([x, y, z], axis=-1).reshape(-1, 3) + 0.5)
    kept = Silhouettes.of(views.masks, views.intrinsics, views.cam_from_world).keep(places, float(np.linalg.norm(side)) / 2, 0.0)
    cells = torch.zeros(HULL_GRID**3)
    cells[torch.as_tensor(kept)] = 1
    return cells.reshape(HULL_GRID, HULL_GRID, HULL_GRID)


class _Sweep:
    """A reference and its sources at one scale; called with hypotheses it gives the best inverse depth and its score."""

    def __init__(self, views: Views, view: int, sources: np.ndarray, settings: Stereo, device: torch.device):
        self.views, self.view, self.window = views, view, settings.window
        grey, mask = _grey(views, view, device)
        self.shape = grey.shape
        rows, columns = (torch.nonzero(mask.amax(dim=axis))[:, 0].tolist() for axis in (1, 0))
        self.crop = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)  # the mask's box: nothing else is compared
        self.grey, self.mask, self.pixels = grey[self.crop], mask[self.crop], _pixels(*grey.shape, device)[self.crop]
        self.sources = []
        for source in sources:
            grey, mask = _grey(views, source, device)
            turn, shift = _carry(views, view, source)
            self.sources.append((torch.stack([grey * mask, mask]), turn.to(device), shift.to(device)))

    def range(self) -> tuple[float, float]:
        """Inverse of the farthest and the nearest depth of the object's box."""
        low, high = self.views.bounds()
        corners = np.stack(np.meshgrid(*zip(low, high), indexing="ij"), axis=-1).reshape(-1, 3)
        _, depth = self.views.project(self.view, corners)
        far = max(float(depth.max()), 1e-3)
        return 1 / far, 1 / max(float(depth.min()), NEAREST * far)

    def step(self, w: float) -> float:
        """The change of inverse depth that moves the middle of the reference's mask by a pixel in the sources, on average."""
        middle = self.pixels[self.grey.shape[0] // 2, self.grey.shape[1] // 2].cpu()
        speeds = []
        for _, turn, shift in self.sources:
            p = turn.cpu() @ middle + w * shift.cpu()
            speeds.append(float(torch.linalg.norm(shift.cpu()[:2] - p[:2] / p[2] * shift.cpu()[2]) / p[2].abs()))
        return 1 / max(float(np.mean(speeds)), 1e-6)

    def __call__(self, guide: Tensor, offsets: Tensor, *, spacing: float, hull: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The best of the hypotheses guide + offsets, between them by a parabola, and its score, 0 where there is none.

        Args:
            guide: (H, W) or () inverse depth.
            offsets: (P,) evenly spaced.
            spacing: of the offsets, in pixels of the sources.
            hull: cells of the object's box, see _hull; with it, hypotheses outside are left out.
        """
        height, width = self.grey.shape
        guide = guide.to(self.grey.device).expand(self.shape)[self.crop]
        rows = max(self.window, BLOCK // (len(offsets) * width))
        whole = torch.zeros(2, *self.shape, device=guide.device)
        parts = [self._block(guide, offsets, top, min(height, top + rows), spacing, hull) for top in range(0, height, rows)]
        whole[:, self.crop[0], self.crop[1]] = torch.cat(parts, dim=1)
        return whole[0], whole[1]

    def _block(self, guide: Tensor, offsets: Tensor, top: int, bottom: int, spacing: float, hull: Tensor | None) -> Tensor:
        half = self.window // 2
        first, last = max(0, top - half), min(self.grey.shape[0], bottom + half)
        own = slice(top - first, top - first + bottom - top)
        a, m, x, guide = (item[first:last] for item in (self.grey, self.mask, self.pixels, guide))
        turned = [torch.einsum("ij,hwj->ihw", turn, x) for _, turn, _ in self.sources]
        scores = torch.empty(len(offsets), bottom - top, a.shape[1], device=a.device)
        for p, offset in enumerate(offsets.tolist()):
            w = guide + offset
            best = second = torch.full_like(scores[p], -1)
            for (picture, _, shift), place in zip(self.sources, turned):
                ncc = self._ncc(a, m, picture, place + w * shift[:, None, None])[own]
                second = torch.maximum(second, torch.minimum(best, ncc))
                best = torch.maximum(best, ncc)
            scores[p] = best if len(self.sources) < FEW else (best + second) / 2
            if hull is not None:
                scores[p] = torch.where(self._in_hull(hull, x[own], w[own]), scores[p], -1)
        return torch.stack(_peak(scores, guide[own], offsets, m[own], spacing))

    def _in_hull(self, hull: Tensor, x: Tensor, w: Tensor) -> Tensor:
        """(H, W) whether the places at inverse depth w of the pixels x lie in cells of the hull."""
        low, high = self.views.bounds()
        pose = self.views.cam_from_world[self.view]
        ray = torch.as_tensor(2 / (high - low)[:, None] * (pose[:, :3].T @ np.linalg.inv(self.views.intrinsics[self.view])))
        start = torch.as_tensor(2 * (self.views.centres[self.view] - low) / (high - low) - 1)
        place = x @ ray.to(x).T / w.clamp(min=1e-6)[..., None] + start.to(x)
        return grid_sample(hull[None, None], place[None, None], mode="nearest", align_corners=False)[0, 0, 0] > 0

    def _ncc(self, a: Tensor, mask: Tensor, picture: Tensor, place: Tensor) -> Tensor:
        """(H, W) correlation of windows, over the pixels that both pictures show; -1 where these are too few."""
        height, width = picture.shape[1:]
        z = place[2].clamp(min=1e-6)
        grid = torch.stack([place[0] / z * (2 / width) - 1, place[1] / z * (2 / height) - 1], dim=-1)
        b, shown = grid_sample(picture[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=False)[0]
        m = mask * (shown > 0.999) * (place[2] > 1e-6)
        a, b = a * m, b * m
        n, sa, sb, saa, sbb, sab = _box(torch.stack([m, a, b, a * a, b * b, a * b]), self.window)
        per = 1 / n.clamp(min=1)
        va, vb = (saa - sa * sa * per) * per, (sbb - sb * sb * per) * per
        ncc = (sab - sa * sb * per) * per / torch.sqrt(va.clamp(min=0) * vb.clamp(min=0) + CONTRAST**4)
        return torch.where((n >= FILLED * self.window**2) & (m > 0), ncc.clamp(-1, 1), -1)


def _peak(scores: Tensor, guide: Tensor, offsets: Tensor, mask: Tensor, spacing: float) -> tuple[Tensor, Tensor]:
    """Inverse depth and score (H, W) of the best of (P, H, W) scores.

    A peak at either end of the hypotheses is none, nor is a flat one: where score = best - bend d^2 / 2 falls by what is wanting to a
    perfect one, 1 - best, within d pixels, d is the doubt. Nor one that others come near, where hypotheses are a pixel apart: repeated
    texture.
    """
    count = len(scores)
    best, index = scores.max(dim=0)
    inner = index.clamp(1, count - 2)
    before, after = (scores.gather(0, (inner + side)[None])[0] for side in (-1, 1))
    bend = (2 * best - before - after).clamp(min=1e-6)
    place = inner + (0.5 * (after - before) / bend).clamp(-0.5, 0.5)
    good = (index == inner) & (mask > 0) & (best > 0)
    good &= torch.minimum(before, after) > -0.99
    good &= spacing * torch.sqrt(2 * (1 - best + LEAST_DOUBT) / bend) < DOUBT
    if spacing >= 1:
        far = (torch.arange(count, device=scores.device)[:, None, None] - index).abs() > 2
        good &= torch.where(far, scores, -1).amax(dim=0) < best - UNIQUE
    w = guide + float(offsets[0]) + place * float(offsets[1] - offsets[0])
    good &= w > 0
    return torch.where(good, w, 0), torch.where(good, best, 0)


def _smoothed(w: Tensor, score: Tensor) -> Tensor:
    """Inverse depth without specks and gaps: medians, planes fitted to them, wider ones where nothing is known; 0 where they end."""
    known = (w > 0) & (score > 0)
    patches = unfold(pad(torch.where(known, w, torch.nan)[None, None], (2, 2, 2, 2), value=torch.nan), 5)[0]
    median = patches.nanmedian(dim=0).values.reshape(w.shape)
    known = ~median.isnan() & (patches.isnan().sum(dim=0).reshape(w.shape) < 16)  # at least ten of 25: a lone pixel is none
    median = torch.where(known, median, 0)
    weight = known.float()
    plane, solid = fitted_planes(median, weight, FIT)
    close = solid & ((plane[2] - median).abs() < 0.003 * median)
    result = torch.where(close, plane[2], median)
    for window in FILLS:
        count, total = _box(torch.stack([weight, median * weight]), window)
        result = torch.where((result == 0) & (count > 0), total / count.clamp(min=1), result)
    return result


def fitted_planes(w: Tensor, weight: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Planes w = a dx + b dy + c through inverse depth by weighted least squares over windows, dx and dy from the window's middle.

    Args:
        w: (H, W) inverse depth. weight: (H, W) >= 0.
    Returns:
        (3, H, W) a, b, c, and (H, W) bool: where the windows determine them.
    """
    height, width = w.shape
    x = torch.arange(width, device=w.device, dtype=torch.float64).expand(height, width)
    y = torch.arange(height, device=w.device, dtype=torch.float64)[:, None].expand(height, width)
    m, w = weight.double(), w.double()
    sums = _box(torch.stack([m, m * x, m * y, m * x * x, m * x * y, m * y * y, m * w, m * w * x, m * w * y]), window)
    n, sx, sy, sxx, sxy, syy, sw, swx, swy = sums
    per = 1 / n.clamp(min=1e-12)
    xx, xy, yy = sxx - sx * sx * per, sxy - sx * sy * per, syy - sy * sy * per
    wx, wy = swx - sw * sx * per, swy - sw * sy * per
    det = xx * yy - xy * xy
    solid = (n > 0) & (det > 0.05 * n * n)
    det = torch.where(solid, det, 1)
    a, b = (yy * wx - xy * wy) / det, (xx * wy - xy * wx) / det
    c = sw * per + a * (x - sx * per) + b * (y - sy * per)
    return torch.stack([a, b, c]).float(), solid


# Many depth maps -----------------------------------------------------------------------------------------------------------------


def fused(views: Views, maps: list[DepthMap], partners: list[np.ndarray], settings: Stereo, run: Run) -> PointCloud:
    """The points on which at least `agreeing` other views agree, means of what all of these say, averaged over voxels."""
    clouds, confirmed, held, pixel = [], [], 0, _pixel_width(views, maps)
    together = lambda parts: _voxels(merge(parts), settings.voxel * pixel)
    for view in range(len(views)):
        cloud, sure = _agreed(views, maps, view, partners[view], settings)
        clouds.append(cloud)
        confirmed.append(sure)
        held += len(clouds[-1])
        if held > HELD:
            clouds = [together(clouds)]
            held = 0
        run.step("fuse", view + 1, len(views))
    cloud = together(clouds)
    if settings.hull and views.masks is not None and len(cloud):
        return merge([cloud, _stand_in(views, confirmed, cloud, pixel)])
    return cloud


def _stand_in(views: Views, confirmed: list[Tensor], cloud: PointCloud, pixel: float) -> PointCloud:
    """The points of the visual hull that lie away from the cloud and that no two views see through."""
    hull = hull_surface(views, side=pixel)
    low, high = cloud.object_bounds()  # views from one side only have a hull that goes on behind the object
    hull = hull[((hull.points >= low - SILENT * pixel) & (hull.points <= high + SILENT * pixel)).all(axis=1)]
    hull = hull[cKDTree(cloud.points).query(hull.points)[0] > SILENT * pixel]
    against = np.zeros(len(hull), int)
    for view, w in enumerate(confirmed):
        there, depth = views.project(view, hull.points)
        found = _sampled(w, there)
        against += (found > 0) & (found * depth < 1 - DEPTH_AGREES)
    hull = hull[against < CONTRADICTED]
    toward = views.centres[:, None] - hull.points
    facing = np.argmax(np.einsum("vni,ni->vn", toward / np.linalg.norm(toward, axis=2, keepdims=True), hull.normals), axis=0)
    colors = np.zeros((len(hull), 3), np.float32)
    for view, image in enumerate(views.images):
        rows = np.flatnonzero(facing == view)
        column, row = np.clip(np.nan_to_num(views.project(view, hull.points[rows])[0]), 0, views.sizes[view] - 1).astype(int).T
        colors[rows] = image[row, column] / 255
    confidence = np.full(len(hull), HULL_CONFIDENCE, np.float32)
    return replace(hull, colors=colors, scalars={"confidence": confidence}, origins=views.centres[facing])


def _agreed(views: Views, maps: list[DepthMap], view: int, partners: np.ndarray, settings: Stereo) -> tuple[PointCloud, Tensor]:
    """The points of one view's depth map that others agree with, and its inverse depth (H, W) where they do, 0 elsewhere."""
    w = maps[view].inverse_depth
    plane, solid = fitted_planes(w, (w > 0).float(), FIT)
    solid &= (w > 0) & ((plane[2] - w).abs() < DEPTH_AGREES / 2 * w)
    row, column = (place.cpu().numpy() for place in torch.nonzero(solid, as_tuple=True))
    a, b, c = plane[:, row, column].double().cpu().numpy()
    pixels = np.stack([column + 0.5, row + 0.5], axis=1)
    # The plane n . x = 1 in the camera's frame has inverse depth (x, y, 1) K^-T n: n = K^T (a, b, c - a x - b y).
    slope = np.stack([a, b, c - a * pixels[:, 0] - b * pixels[:, 1]], axis=1) @ views.intrinsics[view]
    normals = -slope / np.linalg.norm(slope, axis=1, keepdims=True) @ views.cam_from_world[view, :, :3]
    points = _unproject(views, view, pixels, 1 / c)
    total, votes = points.copy(), np.zeros(len(points), int)
    for other in partners:
        there, _ = views.project(other, points)
        found = _sampled(maps[other].inverse_depth, there)
        known = found > 0
        theirs = _unproject(views, other, there[known], 1 / found[known])
        back, depth = views.project(view, theirs)
        with np.errstate(invalid="ignore"):
            near = np.linalg.norm(back - pixels[known], axis=1) < REPROJECTION
            near &= np.abs(depth * c[known] - 1) < DEPTH_AGREES
        rows = np.flatnonzero(known)[near]
        total[rows] += theirs[near]
        votes[rows] += 1
    keep = votes >= (settings.agreeing if len(partners) >= FEW else 1)
    points = total / (1 + votes)[:, None]
    keep &= (normals * (views.centres[view] - points)).sum(axis=1) > 0
    if views.masks is not None:
        keep &= within_masks(views, points)
    score = maps[view].score[row, column].double().cpu().numpy()
    sure = torch.zeros_like(w)
    sure[row[keep], column[keep]] = w[row[keep], column[keep]]
    cloud = PointCloud(
        points[keep],
        normals=normals[keep],
        colors=(views.images[view][row, column][keep] / 255).astype(np.float32),
        scalars={"confidence": (score * votes / (1 + votes))[keep].astype(np.float32)},
        origins=np.broadcast_to(views.centres[view], points.shape)[keep],
    )
    return cloud, sure


def within_masks(views: Views, points: np.ndarray) -> np.ndarray:
    """(N,) whether points project into the masks of all views but DISSENT of them; what is outside a frame isn't judged by it."""
    against = np.zeros(len(points), int)
    for view, mask in enumerate(views.masks):
        pixels, _ = views.project(view, points)
        with np.errstate(invalid="ignore"):
            inside = ((pixels >= 0) & (pixels < views.sizes[view])).all(axis=1)
        column, row = pixels[inside].astype(int).T
        against[np.flatnonzero(inside)[~mask[row, column]]] += 1
    return against <= DISSENT * len(views)


def _voxels(cloud: PointCloud, side: float) -> PointCloud:
    return thinned(cloud, side=side, enough=len(cloud) - 1) if len(cloud) > 1 else cloud


def _pixel_width(views: Views, maps: list[DepthMap]) -> float:
    """Width of a pixel at the surface, typically, in the views' units."""
    widths = []
    for view, item in enumerate(maps):
        known = item.inverse_depth[item.inverse_depth > 0]
        if len(known):
            widths.append(1 / (float(known.median()) * views.intrinsics[view, 0, 0]))
    return float(np.median(widths)) if widths else 1.0


def _sampled(w: Tensor, pixels: np.ndarray) -> np.ndarray:
    """(N,) inverse depth at (N, 2) pixel positions, linear between pixels; 0 where one of the four isn't known."""
    height, width = w.shape
    place = torch.as_tensor(np.nan_to_num(pixels, nan=-10.0), dtype=torch.float32, device=w.device)
    grid = place * torch.tensor([2 / width, 2 / height], device=w.device) - 1
    both = torch.stack([w, (w > 0).float()])[None]
    found, known = grid_sample(both, grid[None, None], mode="bilinear", padding_mode="zeros", align_corners=False)[0, :, 0]
    return torch.where(known > 0.999, found, 0).double().cpu().numpy()


def _unproject(views: Views, view: int, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
    origins, directions = views.rays(view, pixels)
    return origins + directions * (depth / (directions @ views.directions[view]))[:, None]


def _carry(views: Views, reference: int, source: int) -> tuple[Tensor, Tensor]:
    """(3, 3) and (3,) that take (x, y, 1) and inverse depth of the reference to the source's homogeneous pixel position."""
    there, here = views.cam_from_world[source], views.cam_from_world[reference]
    turn = there[:, :3] @ here[:, :3].T
    shift = there[:, 3] - turn @ here[:, 3]
    k = views.intrinsics[source]
    as_float = lambda value: torch.as_tensor(value, dtype=torch.float32)
    return as_float(k @ turn @ np.linalg.inv(views.intrinsics[reference])), as_float(k @ shift)


def _grey(views: Views, view: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(H, W) grey in [-0.5, 0.5] and mask, both float32."""
    image = torch.as_tensor(views.images[view].astype(np.float32), device=device)
    grey = (image @ torch.tensor([0.299, 0.587, 0.114], device=device)) / 255 - 0.5  # Rec. 601 luma
    mask = torch.ones_like(grey) if views.masks is None else torch.as_tensor(views.masks[view].astype(np.float32), device=device)
    return grey, mask


def _pixels(height: int, width: int, device: torch.device) -> Tensor:
    """(H, W, 3) homogeneous middles of pixels."""
    y, x = torch.meshgrid(torch.arange(height, device=device) + 0.5, torch.arange(width, device=device) + 0.5, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], dim=-1)


def _box(values: Tensor, window: int) -> Tensor:
    """(C, H, W) sums over odd square windows, zeros beyond the border; log2(window) additions along each axis."""
    for axis in (1, 2):
        values = _run_sums(values, window, axis)
    return values


def _run_sums(values: Tensor, window: int, axis: int) -> Tensor:
    size, half = values.shape[axis], window // 2
    edge = (half, half) if axis == 2 else (0, 0, half, half)
    power, length, total, start = pad(values, edge), 1, None, 0
    while True:
        if window & length:
            part = power.narrow(axis, start, size)
            total = part if total is None else total + part
            start += length
        if 2 * length > window:
            return total
        power = power.narrow(axis, 0, power.shape[axis] - length) + power.narrow(axis, length, power.shape[axis] - length)
        length *= 2
