"""Photometric bundle adjustment: poses, and planes of patches of the surface, under which photographs look alike there.

Keypoints need corners; here every patch with some contrast tells what it can, if only along its edges. Depth maps say where patches are
and how they lean at first. A patch's plane and the poses of its own view and of a source carry its pixels to the source; what both show,
less its mean and scaled to length 1, should be the same: the squared difference is 2 (1 - NCC).

Letters: V views, P patches, K pixels of each, L pairs of a patch and a source, sorted by patch. Poses as in poses.py. A plane is (3,): its
product with (column, row, 1) is the inverse depth that the patch's view sees.
Source: Furukawa and Ponce, Accurate camera calibration from multi-view stereo and bundle adjustment, 2009.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from surfrecon.errors import InputError
from surfrecon.geometry import Similarity
from surfrecon.image_quality import LUMA
from surfrecon.inverse_depth import fitted_planes
from surfrecon.patches import LEAST_NCC, comparable, grid
from surfrecon.poses import Doubt, Poses, Prior, cauchy, descended, solved, summed
from surfrecon.run import Run
from surfrecon.stereo import Stereo, depth_maps
from surfrecon.views import Views

LONGEST_SIDE = 500  # pixels: larger views are scaled down; tenths of their pixels are told
MOST, OF_A_VIEW = 6000, (30, 150)  # patches in all, and of each view at least and at most
FEWEST = 100  # patches below which nothing is told
FIT = 7  # pixels along the window of the planes fitted to depth maps
BLUR = 0.7  # pixels, of the pictures: bilinear ones have slopes that jump
LEAST_NCC_OF_DEPTH = 0.5  # cameras are still off by a pixel or so
STEPS = 8  # of Levenberg and Marquardt
HELD_OUT = 5  # one patch of so many judges the others' fit
FINEST = 0.002  # of 1 - NCC: less isn't believed
CAUCHY = 1.0  # spreads at which a patch's pull is halved
FLAT = 1e-3  # length of a patch's grey, less its mean, that is none


def adjusted(views: Views, given: Views, doubt: Doubt, run: Run) -> Views | None:
    """The views with poses under which patches look more alike; None where they don't, or where there are too few.

    Args:
        views: cameras that are right to about a pixel.
        given: the same with the cameras that they are pulled towards.
        doubt: how far these may be off.
    """
    small = min(1.0, LONGEST_SIDE / views.sizes.max())
    views_here, given = (item.scaled(small) if small < 1 else item for item in (views, given))
    try:
        unit_from_world = Similarity.fit(views_here)
        unit = views_here.transformed(unit_from_world)
        maps, partners = depth_maps(unit, Stereo(least_ncc=LEAST_NCC_OF_DEPTH), run)
    except InputError:  # nothing that they share
        return None
    as_poses = lambda item: Poses(item.cam_from_world[:, :, :3], item.centres)
    prior = Prior(as_poses(given.transformed(unit_from_world)), doubt)
    problem, planes = Problem.of(unit, maps, partners, prior, run)
    if len(planes) < FEWEST:
        return None
    poses = as_poses(unit)
    judges = np.arange(len(planes)) % HELD_OUT == 0
    fitted = problem.part(~judges).fitted(poses, planes[~judges])[0]
    judging = problem.part(judges)
    before, after = (judging.disagreement(item, judging.fitted(item, planes[judges], fixed=True)[1]) for item in (poses, fitted))
    if not after < before:
        return None
    poses = problem.fitted(fitted, planes)[0]
    moved = replace(unit, cam_from_world=poses.cam_from_world).transformed(unit_from_world.inverse())
    return replace(views, cam_from_world=moved.cam_from_world)


@dataclass(frozen=True, eq=False)
class Problem:
    """Patches, and the views that they are looked for in.

    Attributes:
        greys: of each view, (H, W) levels.
        views: (P,) that patches are of.
        pixels: (P, K, 3) column, row, 1 of their pixels' middles.
        own: (P, K) what these show, of mean 0 and length 1.
        pairs: (L, 2) a patch and a source.
    """

    prior: Prior
    intrinsics: np.ndarray
    greys: tuple[np.ndarray, ...]
    views: np.ndarray
    pixels: np.ndarray
    own: np.ndarray
    pairs: np.ndarray

    @classmethod
    def of(cls, views: Views, maps: list, partners: list[np.ndarray], prior: Prior, run: Run) -> tuple[Problem, np.ndarray]:
        """Patches drawn from depth maps, and their planes (P, 3)."""
        generator, around = np.random.default_rng(run.seed), grid().numpy()
        count = int(np.clip(MOST // len(views), *OF_A_VIEW))
        greys = tuple(gaussian_filter(image @ LUMA, BLUR) for image in views.images)
        whose, pixels, own, planes, pairs, patches = [], [], [], [], [], 0
        for view, found in enumerate(maps):
            w = found.inverse_depth
            plane, solid = fitted_planes(w, (w > 0).float(), FIT)
            fit = comparable(views.images[view] @ LUMA, None if views.masks is None else views.masks[view])
            turn = generator.permutation(fit.size).reshape(fit.shape)  # of each pixel: one more or less leaves the others
            row, column = np.nonzero((solid & (w > 0)).cpu().numpy() & fit)
            first = np.sort(np.argsort(turn[row, column])[:count])
            row, column = row[first], column[first]
            a, b, c = plane[:, row, column].double().cpu().numpy()
            planes.append(np.column_stack([a, b, c - a * (column + 0.5) - b * (row + 0.5)]))
            at = np.column_stack([column, row])[:, None] + around
            own.append(_normalised(greys[view][at[..., 1], at[..., 0]])[0])
            pixels.append(np.concatenate([at + 0.5, np.ones((*at.shape[:2], 1))], axis=2))
            whose.append(np.full(len(row), view))
            numbers, sources = patches + np.arange(len(row)), partners[view][: Stereo().sources]
            pairs.append(np.column_stack([np.repeat(numbers, len(sources)), np.tile(sources, len(row))]).astype(int))
            patches += len(row)
        whose, pixels, own, planes, pairs = (np.concatenate(item) for item in (whose, pixels, own, planes, pairs))
        return cls(prior, views.intrinsics, greys, whose, pixels, own, pairs), planes

    def part(self, kept: np.ndarray) -> Problem:
        """With the patches (P,) that a mask keeps."""
        pairs = self.pairs[kept[self.pairs[:, 0]]]
        pairs = np.column_stack([(np.cumsum(kept) - 1)[pairs[:, 0]], pairs[:, 1]])
        return replace(self, views=self.views[kept], pixels=self.pixels[kept], own=self.own[kept], pairs=pairs)

    def fitted(self, poses: Poses, planes: np.ndarray, *, fixed: bool = False) -> tuple[Poses, np.ndarray]:
        """Poses and planes that fit better; or planes alone, with poses that are fixed."""

        def around(state: tuple[Poses, np.ndarray]):
            spread = max(FINEST, float(np.median(self.misfits(*state))))
            return lambda at: self.cost(*at, spread), lambda at, damping: self.step(*at, spread, damping, fixed)

        return descended((poses, planes), around, steps=STEPS)

    def misfits(self, poses: Poses, planes: np.ndarray) -> np.ndarray:
        """(L,) 1 - NCC, at most 1 - LEAST_NCC: what is worse, or out of the frame, is something else."""
        off, seen = self.compared(poses, planes)[:2]
        return np.where(seen, np.minimum((off**2).sum(axis=1) / 2, 1 - LEAST_NCC), 1 - LEAST_NCC)

    def disagreement(self, poses: Poses, planes: np.ndarray) -> float:
        """Median of 1 - NCC."""
        return float(np.median(self.misfits(poses, planes)))

    def cost(self, poses: Poses, planes: np.ndarray, spread: float) -> float:
        return self.prior.cost(poses) + float(cauchy(self.misfits(poses, planes) / spread, CAUCHY)[0].sum())

    def step(self, poses: Poses, planes: np.ndarray, spread: float, damping: float, fixed: bool) -> tuple[Poses, np.ndarray]:
        """Poses and planes after one damped Gauss-Newton step."""
        off, seen, slope = self.compared(poses, planes, slopes=True)
        patch, source = self.pairs.T
        ends = np.stack([source, self.views[patch]], axis=1)  # whose poses count
        misfit = (off**2).sum(axis=1) / 2
        weight = np.where(seen & (misfit < 1 - LEAST_NCC), cauchy(misfit / spread, CAUCHY)[1] / (2 * spread), 0)
        weighted = slope * weight[:, None, None]
        normal = weighted.transpose(0, 2, 1) @ slope  # (L, 15, 15)
        right = np.einsum("lki,lk->li", weighted, off)
        inner, inner_slope = summed(normal[:, 12:, 12:], patch, len(planes)), summed(right[:, 12:], patch, len(planes))
        hessian, pull = self.prior.normal(poses)
        if fixed:
            pull[:] = 0
            normal[:, 12:, :12] = 0
        else:
            for i, here in enumerate(ends.T):
                np.add.at(pull, here, right[:, 6 * i : 6 * i + 6])
                for j, there in enumerate(ends.T):
                    np.add.at(hessian, (here, there), normal[:, 6 * i : 6 * i + 6, 6 * j : 6 * j + 6])
        mixed = np.stack([normal[:, 12:, :6], normal[:, 12:, 6:12]], axis=1).reshape(-1, 3, 6)
        steps, moves = solved(hessian, pull, inner, inner_slope, mixed, ends.ravel(), np.repeat(patch, 2), damping)
        return poses.stepped(steps), planes + moves

    def compared(self, poses: Poses, planes: np.ndarray, slopes: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """(L, K) what sources show less what patches show, both normalised; (L,) whether they show all of it.

        And, if asked for, derivatives (L, K, 15) to the steps of the source's pose and of the patch's own, and to its plane.
        """
        patch, source = self.pairs.T
        own = self.views[patch]
        w = np.einsum("pkj,pj->pk", self.pixels, planes)
        there = np.where(np.abs(w) > np.finfo(float).tiny, w, np.finfo(float).tiny)
        camera = (np.einsum("pij,pkj->pki", np.linalg.inv(self.intrinsics)[self.views], self.pixels) / there[..., None])[patch]
        rotation = poses.rotations[source]
        turn = rotation @ poses.rotations[own].transpose(0, 2, 1)
        shift = np.einsum("lij,lj->li", rotation, poses.centres[own] - poses.centres[source])
        point = np.einsum("lij,lkj->lki", turn, camera) + shift[:, None]  # in the source's frame
        k = self.intrinsics[source]
        depth = np.where(point[..., 2] > 0, point[..., 2], 1)
        place = np.einsum("lij,lkj->lki", k[:, :2], point) / depth[..., None]
        grey, rise, seen = self._looked_up(source, place)
        seen &= (point[..., 2] > 0).all(axis=1) & (w > 0).all(axis=1)[patch]
        shown, length = _normalised(grey)
        off = shown - self.own[patch]
        if not slopes:
            return off, seen, None
        projection = (k[:, None, :2] - place[..., None] * k[:, None, 2:]) / depth[..., None, None]
        by_point = np.einsum("lki,lkij->lkj", rise, projection)
        by_camera = np.einsum("lkj,lji->lki", by_point, turn)
        by_centre = np.einsum("lkj,lji->lki", by_point, rotation)
        by_plane = -((by_camera * camera).sum(axis=2) / there[patch])[..., None] * self.pixels[patch]
        slope = np.concatenate([np.cross(point, by_point), -by_centre, np.cross(by_camera, camera), by_centre, by_plane], axis=2)
        slope -= slope.mean(axis=1, keepdims=True)
        slope -= shown[..., None] * np.einsum("lk,lki->li", shown, slope)[:, None]
        return off, seen, slope / length[..., None]

    def _looked_up(self, sources: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(L, K) grey at pixel positions (L, K, 2), linear between pixels, its (L, K, 2) slopes, and (L,) whether all are in the frame."""
        grey, slope, seen = np.zeros(places.shape[:2]), np.zeros(places.shape), np.zeros(len(places), bool)
        for source, picture in enumerate(self.greys):
            rows = np.flatnonzero(sources == source)
            at = places[rows] - 0.5
            inside = ((at >= 0) & (at <= np.array(picture.shape)[::-1] - 2)).all(axis=(1, 2))
            rows, at = rows[inside], at[inside]
            corner = np.floor(at).astype(int)
            (right, down), (column, row) = np.moveaxis(at - corner, 2, 0), np.moveaxis(corner, 2, 0)
            nw, ne, sw, se = (picture[row + j, column + i] for j in (0, 1) for i in (0, 1))
            upper, lower = nw + right * (ne - nw), sw + right * (se - sw)
            grey[rows] = upper + down * (lower - upper)
            slope[rows] = np.stack([ne - nw + down * (se - sw - ne + nw), lower - upper], axis=2)
            seen[rows] = True
        return grey, slope, seen


def _normalised(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Patches (L, K) of mean 0 and length 1, and the length (L, 1) that they had."""
    grey = grey - grey.mean(axis=1, keepdims=True)
    length = np.maximum(np.linalg.norm(grey, axis=1, keepdims=True), FLAT)
    return grey / length, length
