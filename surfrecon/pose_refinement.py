"""Cameras that are off by tenths of a degree, set right by what the photographs show: keypoints and, where there are masks, outlines.

Keypoints chained over neighbouring views give points that must project where they were found (bundle adjustment); of outlines the planes
through two cameras that touch the object must agree. Both are one least-squares problem over poses and points, robust, in units of each
kind's own spread, with a pull towards the given poses. Part of the data is left out of the fit at first: only if that is explained clearly
better the cameras change.

Letters: V views, N points, O observations of them, M frontier points. A pose is a rotation (3, 3) cam_from_world and a centre (3,); a step
of it is (6,): a turn about the camera's own axes, radians, and a shift of the centre, world. The work is done in a frame of its own: the
object's middle is the origin, 1 the median distance of the cameras from it.
Source: Triggs, McLauchlan, Hartley and Fitzgibbon, Bundle Adjustment - A Modern Synthesis, 2000; outlines.py's for the frontier points.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse import bsr_matrix
from scipy.spatial.transform import Rotation

from surfrecon.errors import InputError
from surfrecon.geometry import Similarity
from surfrecon.outlines import Frontier, Outlines
from surfrecon.run import Run
from surfrecon.stereo import neighbours
from surfrecon.tracks import Links, Tracks
from surfrecon.views import Views

log = logging.getLogger("surfrecon")

FEWEST = 100  # observations and frontier points in all, below which nothing is changed
HELD_OUT = 5  # one track and one pair of outlines of so many is left out of the fit that decides
CLEARLY = 0.85  # times the residual of what is held out that must be reached; right cameras reach 0.94 (scan 24) to 1.2 by fitting noise
LEAST_GAIN = 0.1  # pixels by which it must fall as well: steps of masks are common to what is held out and what isn't (spot: 0.11 to 0.08)
LOOSE = 2.5  # times the given doubt that a link may miss its epipolar line at first
TIGHT = 5.0  # times the spread of the residuals, from the second round on
CLEANINGS = 4  # most observations of one track that are dropped
ROUNDS = 4  # of linking, triangulating and fitting
STEPS = 8  # of Levenberg and Marquardt in one round
DAMPING, CALMER, BOLDER = 1e-4, 0.2, 10.0  # of the first step; its factors after a step that helps, and one that doesn't
ENOUGH = 1e-4  # share by which a step must lower the cost for another to follow
CAUCHY = 1.0  # spreads at which a residual's pull is halved
GIVEN_CAUCHY = 3.0  # doubts at which that of a given pose is: one bad camera must not draw the frame after it
FINEST, FINEST_KEYPOINT = 0.05, 0.3  # pixels: no spread of outlines or keypoints is believed to be smaller
TO_SIGMA = 1.4826  # standard deviations in a median of absolute values
SHARED = 2.0  # times the spread of outlines that they count with: one corner of a hull serves several pairs, with the same error
MEAN_LENGTH = np.sqrt(8 / np.pi)  # of normal vectors in space, in standard deviations along an axis
POINT_STEPS = 5  # of a triangulated point, with the cameras as they are
SUSPECT, LEAST_SUSPECT = 3.0, 1.0  # times the median of all views, and pixels, from which a view's residual is bad
AT_INFINITY = 1e-9  # relative to the sum of the rays' projections: below, they are parallel


@dataclass(frozen=True)
class Doubt:
    """How far the given cameras may be off, on average.

    Attributes:
        degrees: of their directions.
        share: of their places, as a share of the distance to the object.
    """

    degrees: float = 0.5
    share: float = 0.005

    def __post_init__(self):
        if not (0 < self.degrees < 10 and 0 < self.share < 0.2):
            raise InputError(
                f"the doubt about cameras must be > 0 and below 10 degrees and a share of 0.2, got {self.degrees} and {self.share}: "
                "cameras that are worse need structure from motion"
            )


@dataclass(frozen=True, eq=False)
class Refinement:
    """What refined() came to.

    Attributes:
        views: with the better cameras, or the given ones.
        kept: why the given cameras were kept; empty where they were refined.
        degrees: (V,) turn of each camera.
        shift: (V,) way of each, as a share of its distance to the object.
        before, after: median residual under the given and under the fitted cameras, pixels, of data that the fit didn't see; NaN without.
        residuals: (V,) median residual of each view under the cameras in `views`, pixels; NaN where it shows nothing that tells.
        tracks, frontiers: keypoints followed over several views, and frontier points, that were used.
    """

    views: Views
    kept: str
    degrees: np.ndarray
    shift: np.ndarray
    before: float
    after: float
    residuals: np.ndarray
    tracks: int
    frontiers: int

    @property
    def refined(self) -> bool:
        return not self.kept

    @property
    def suspects(self) -> list[str]:
        """Names of the views whose residual stays bad: their photograph, mask or camera is not like the others."""
        if np.isnan(self.residuals).all():
            return []
        limit = max(LEAST_SUSPECT, SUSPECT * float(np.nanmedian(self.residuals)))
        return [name for name, residual in zip(self.views.names, self.residuals) if residual > limit]

    def summary(self) -> dict[str, Any]:
        """What report.json says of it."""
        return {
            "says": str(self),
            "refined": self.refined,
            "pixels_before": self.before,
            "pixels_after": self.after,
            "degrees": float(self.degrees.mean()),
            "shift": float(self.shift.mean()),
            "tracks": self.tracks,
            "frontier_points": self.frontiers,
            "suspects": self.suspects,
        }

    def __str__(self) -> str:
        if self.kept:
            return f"the given cameras are kept: {self.kept}"
        return (
            f"the cameras were turned by {self.degrees.mean():.2f} degrees and moved by {self.shift.mean():.2%} of their distance on "
            f"average: what photographs have in common now fits to {self.after:.2f} pixels, it was {self.before:.2f}"
        )


def refined(views: Views, *, doubt: Doubt | None = None, run: Run | None = None) -> Refinement:
    """The views with cameras that fit their photographs better, in the frame and scale of the given ones; else with the given ones.

    Args:
        views: whose cameras are about right; intrinsics are taken as they are.
        doubt: how far they may be off.
        run: progress, times.
    Raises:
        InputError: the cameras don't look at one place, so that nobody can tell what they show.
    """
    doubt, run = doubt or Doubt(), run or Run()
    with run.stage("poses"):
        result = _refined(views, doubt, run)
    log.info("%s", result)
    return result


def _refined(views: Views, doubt: Doubt, run: Run) -> Refinement:
    if len(views) < 2:
        return _as_given(views, "one view alone doesn't tell")
    box = _box(views)
    middle = box.mean(axis=0)
    scale = 1 / float(np.median(np.linalg.norm(views.centres - middle, axis=1)))
    local_from_world = Similarity(scale, -scale * middle)
    local = views.transformed(local_from_world)
    given = Poses(local.cam_from_world[:, :, :3], local.centres)
    links = Links.between(views, neighbours(views, box), run)
    outlines = Outlines.of(views.masks or [np.zeros((1, 1), bool)] * len(views))
    problem = Problem(given, views.intrinsics, doubt, links, outlines)

    seen = problem.tracks(given, None)
    if 2 * len(seen.views) + len(problem.frontier(given)) < FEWEST:
        return _as_given(views, "they have too little in common that could tell")
    fitted = problem.fitted(given, True, run)
    before, after = (problem.residuals(poses, fitted.tracks, True)[1] for poses in (given, fitted.poses))
    before, after = float(np.median(before)), float(np.median(after))
    poses, kept = given, ""
    if after < min(CLEARLY * before, before - LEAST_GAIN):
        poses = problem.in_frame(problem.fitted(fitted.poses, False, run).poses)
    else:
        kept = f"what photographs have in common fits them to {before:.2f} pixels, and others wouldn't fit clearly better ({after:.2f})"
    tracks = problem.tracks(poses, fitted.spread)
    whose, size = problem.residuals(poses, tracks, False)
    residuals = np.array([np.median(size[whose == view]) if (whose == view).any() else np.nan for view in range(len(views))])
    moved = replace(local, cam_from_world=poses.cam_from_world).transformed(local_from_world.inverse())
    return Refinement(
        views=views if kept else replace(views, cam_from_world=moved.cam_from_world),
        kept=kept,
        degrees=np.degrees(np.linalg.norm(poses.turn_from(given), axis=1)),
        shift=np.linalg.norm(poses.centres - given.centres, axis=1) / problem.distance,
        before=before,
        after=after,
        residuals=residuals,
        tracks=len(tracks),
        frontiers=len(problem.frontier(poses)),
    )


def _as_given(views: Views, why: str) -> Refinement:
    zero, unknown = np.zeros(len(views)), np.full(len(views), np.nan)
    return Refinement(views, why, zero, zero, np.nan, np.nan, unknown, 0, 0)


def _box(views: Views) -> np.ndarray:
    """(2, 3) of the object; where cameras are so far off that masks or depths share no place, of what they look at."""
    try:
        return views.bounds()
    except InputError:
        return replace(views, masks=None, depths=None).bounds()


@dataclass(frozen=True, eq=False)
class Poses:
    """rotations (V, 3, 3) cam_from_world, and centres (V, 3)."""

    rotations: np.ndarray
    centres: np.ndarray

    @property
    def cam_from_world(self) -> np.ndarray:
        return np.concatenate([self.rotations, -self.rotations @ self.centres[:, :, None]], axis=2)

    def stepped(self, step: np.ndarray) -> Poses:
        """After (V, 6) steps."""
        return Poses(Rotation.from_rotvec(step[:, :3]).as_matrix() @ self.rotations, self.centres + step[:, 3:])

    def turn_from(self, other: Poses) -> np.ndarray:
        """(V, 3) the turns that make the other's rotations these."""
        return Rotation.from_matrix(self.rotations @ other.rotations.transpose(0, 2, 1)).as_rotvec()


@dataclass(frozen=True)
class Spread:
    """Standard deviation of residuals in pixels, of keypoints and of outlines."""

    keypoints: float
    outlines: float


@dataclass(frozen=True, eq=False)
class Fitted:
    """Poses that a fit found, the tracks that it linked in the end, and their spread."""

    poses: Poses
    tracks: Tracks
    spread: Spread


@dataclass(frozen=True, eq=False)
class Problem:
    """All that a fit knows, in its own frame."""

    given: Poses
    intrinsics: np.ndarray
    doubt: Doubt
    links: Links
    outlines: Outlines

    @property
    def distance(self) -> np.ndarray:
        """(V,) from the cameras to the object's middle, which is the origin."""
        return np.linalg.norm(self.given.centres, axis=1)

    @property
    def focal(self) -> np.ndarray:
        return np.sqrt(self.intrinsics[:, 0, 0] * self.intrinsics[:, 1, 1])

    def tracks(self, poses: Poses, spread: Spread | None) -> Tracks:
        """Of links that the poses allow: as doubtful as given ones are, or after a fit with such a spread."""
        angle = np.hypot(np.radians(self.doubt.degrees), self.doubt.share)
        tolerance = LOOSE * angle * self.focal if spread is None else np.full(len(self.focal), TIGHT * spread.keypoints)
        return self.links.tracks(self.intrinsics, poses.cam_from_world, tolerance)

    def frontier(self, poses: Poses) -> Frontier:
        return self.outlines.frontier(self.intrinsics, poses.rotations, poses.centres, np.zeros(3))

    def residuals(self, poses: Poses, tracks: Tracks, held_out: bool) -> tuple[np.ndarray, np.ndarray]:
        """Views and sizes in pixels of the residuals of all data, or of those that are held out: points are placed anew."""
        frontier = self.frontier(poses)
        if held_out:
            tracks, frontier = tracks[_held_out(tracks)], frontier[_held_out_pairs(frontier)]
        found = np.linalg.norm(self.reprojected(poses, tracks, self.placed(poses, tracks))[0], axis=1)
        touching = np.abs(self.touched(poses, frontier)[0])
        return np.concatenate([tracks.views, *frontier.views.T]), np.concatenate([found, touching, touching])

    def fitted(self, poses: Poses, hold_out: bool, run: Run) -> Fitted:
        """Poses that fit the data, or those that aren't held out, beginning at some; the end is in the given frame only nearly."""
        spread = None if poses is self.given else self._spread(poses, self.tracks(poses, None))
        for turn in range(ROUNDS):
            run.step("poses", turn + 1, ROUNDS)
            tracks = self.tracks(poses, spread)
            part = tracks[~_held_out(tracks)] if hold_out else tracks
            if spread is not None:
                part = self._clean(poses, part, spread)
            points, spread = self.placed(poses, part), self._spread(poses, part)
            damping = DAMPING
            for _ in range(STEPS):
                frontier = self.frontier(poses)
                frontier = frontier[~_held_out_pairs(frontier)] if hold_out else frontier
                cost = self.cost(poses, points, part, frontier, spread)
                while True:
                    new_poses, new_points = self.step(poses, points, part, frontier, spread, damping)
                    lower = self.cost(new_poses, new_points, part, frontier, spread)
                    if lower <= cost or damping > 1:
                        break
                    damping *= BOLDER
                if lower > cost:
                    break
                poses, points, damping = new_poses, new_points, damping * CALMER
                if lower > (1 - ENOUGH) * cost:
                    break
        spread = self._spread(poses, part)
        return Fitted(poses, self.tracks(poses, spread), spread)

    def _clean(self, poses: Poses, tracks: Tracks, spread: Spread) -> Tracks:
        """Without the observations that the others of their track contradict."""
        for _ in range(CLEANINGS):
            off = np.linalg.norm(self.reprojected(poses, tracks, self.placed(poses, tracks))[0], axis=1)
            good = off < TIGHT * spread.keypoints
            # Only the worst observation of a track can be blamed: it draws the point after it.
            worst = np.zeros(len(tracks))
            np.maximum.at(worst, tracks.points, off)
            good |= off < worst[tracks.points]
            if good.all():
                break
            tracks = tracks[good]
        return tracks

    def _spread(self, poses: Poses, tracks: Tracks) -> Spread:
        off = np.abs(self.reprojected(poses, tracks, self.placed(poses, tracks))[0]).ravel()
        free = np.sqrt(max(1.0, off.size / max(1, off.size - 3 * len(tracks))))  # points take part of the deviation up
        touching = np.abs(self.touched(poses, self.frontier(poses))[0])
        sigma = lambda values: TO_SIGMA * float(np.median(values)) if len(values) else 0.0
        return Spread(max(FINEST_KEYPOINT, free * sigma(off)), max(FINEST, SHARED * sigma(touching)))

    # Residuals and their derivatives ----------------------------------------------------------------------------------------------

    def reprojected(self, poses: Poses, tracks: Tracks, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(O, 2) how far from keypoints their points (N, 3) appear, pixels; slopes (O, 2, 6) to the pose and (O, 2, 3) to the point."""
        rotation, k = poses.rotations[tracks.views], self.intrinsics[tracks.views]
        camera = np.einsum("oij,oj->oi", rotation, points[tracks.points] - poses.centres[tracks.views])
        depth = np.where(np.abs(camera[:, 2]) > AT_INFINITY, camera[:, 2], AT_INFINITY)
        image = np.einsum("oij,oj->oi", k, camera) / depth[:, None]
        slope = (k[:, :2] - image[:, :2, None] * k[:, 2:]) / depth[:, None, None]
        to_point = slope @ rotation
        return image[:, :2] - tracks.pixels, np.concatenate([-slope @ _crossing(camera), -to_point], axis=2), to_point

    def touched(self, poses: Poses, frontier: Frontier) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(M,) how far frontier points miss their epipolar lines, pixels, with derivatives (M, 6) to the first and to the second pose.

        To first order the distance that both pixels together must move; its denominator is taken as constant.
        Source: Hartley and Zisserman, Multiple View Geometry, 2004, eq. 11.9 (Sampson).
        """
        homogeneous = np.concatenate([frontier.pixels, np.ones((len(frontier), 2, 1))], axis=2)
        inverse = np.linalg.inv(self.intrinsics)[frontier.views]
        rotation = poses.rotations[frontier.views]
        camera = np.einsum("mvij,mvj->mvi", inverse, homogeneous)
        ray = np.einsum("mvji,mvj->mvi", rotation, camera)
        baseline = poses.centres[frontier.views[:, 1]] - poses.centres[frontier.views[:, 0]]
        # baseline . (ray_0 x ray_1) is zero where they meet; `facing` are its derivatives to the rays.
        normal = np.cross(ray[:, 0], ray[:, 1])
        facing = np.stack([np.cross(ray[:, 1], baseline), np.cross(baseline, ray[:, 0])], axis=1)
        across = np.einsum("mvij,mvj->mvi", rotation, facing)
        slope = np.einsum("mvij,mvi->mvj", inverse[..., :2], across)
        length = np.maximum(np.sqrt((slope**2).sum(axis=(1, 2))), np.finfo(float).tiny)
        turn = -np.cross(camera, across)
        to_pose = [np.concatenate([turn[:, side], sign * normal], axis=1) / length[:, None] for side, sign in ((0, -1), (1, 1))]
        return np.einsum("mi,mi->m", baseline, normal) / length, *to_pose

    def pulled(self, poses: Poses) -> tuple[np.ndarray, np.ndarray]:
        """(V, 6) how far poses are from the given ones, in doubts, and the (V, 6) doubts: radians, lengths."""
        doubts = np.stack([np.full(len(self.distance), np.radians(self.doubt.degrees)), self.doubt.share * self.distance], axis=1)
        doubts = np.repeat(doubts / MEAN_LENGTH, 3, axis=1)
        return np.concatenate([poses.turn_from(self.given), poses.centres - self.given.centres], axis=1) / doubts, doubts

    def cost(self, poses: Poses, points: np.ndarray, tracks: Tracks, frontier: Frontier, spread: Spread) -> float:
        off = (self.reprojected(poses, tracks, points)[0] ** 2).sum(axis=1) / spread.keypoints**2
        touching = self.touched(poses, frontier)[0] ** 2 / spread.outlines**2
        pull = (self.pulled(poses)[0] ** 2).sum(axis=1)
        return sum(_cauchy(*item)[0].sum() for item in ((off, CAUCHY), (touching, CAUCHY), (pull, GIVEN_CAUCHY)))

    # Steps ------------------------------------------------------------------------------------------------------------------------

    def placed(self, poses: Poses, tracks: Tracks) -> np.ndarray:
        """(N, 3) points nearest to the rays of their observations, then where they appear nearest to these."""
        count = len(tracks)
        homogeneous = np.column_stack([tracks.pixels, np.ones(len(tracks.pixels))])
        ray = np.einsum("oij,oj->oi", np.linalg.inv(self.intrinsics)[tracks.views], homogeneous)
        ray = np.einsum("oji,oj->oi", poses.rotations[tracks.views], ray)
        ray /= np.linalg.norm(ray, axis=1, keepdims=True)
        across = np.eye(3) - ray[:, :, None] * ray[:, None, :]
        normal = _summed(across, tracks.points, count) + AT_INFINITY * np.eye(3)
        right = _summed(np.einsum("oij,oj->oi", across, poses.centres[tracks.views]), tracks.points, count)
        points = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
        for _ in range(POINT_STEPS):
            off, _, slope = self.reprojected(poses, tracks, points)
            normal = _summed(slope.transpose(0, 2, 1) @ slope, tracks.points, count)
            normal = normal + AT_INFINITY * (np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1) * np.eye(3)
            right = _summed(np.einsum("oki,ok->oi", slope, off), tracks.points, count)
            step = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
            better = _summed((off**2).sum(axis=1), tracks.points, count)
            moved = points - step
            worse = _summed((self.reprojected(poses, tracks, moved)[0] ** 2).sum(axis=1), tracks.points, count) > better
            points = np.where(worse[:, None], points, moved)
        return points

    def step(
        self, poses: Poses, points: np.ndarray, tracks: Tracks, frontier: Frontier, spread: Spread, damping: float
    ) -> tuple[Poses, np.ndarray]:
        """Poses and points after one damped Gauss-Newton step; points are eliminated first (Schur's complement)."""
        count = len(self.given.centres)
        hessian, slope = np.zeros((count, count, 6, 6)), np.zeros((count, 6))
        off, doubts = self.pulled(poses)
        weight = _cauchy((off**2).sum(axis=1), GIVEN_CAUCHY)[1][:, None]
        every = np.arange(count)
        hessian[every, every] += np.eye(6) * (weight / doubts**2)[:, None]
        slope += weight * off / doubts

        miss, *to_pose = self.touched(poses, frontier)
        weight = _cauchy(miss**2 / spread.outlines**2, CAUCHY)[1] / spread.outlines**2
        for here, to_here in zip(frontier.views.T, to_pose):
            np.add.at(slope, here, (weight * miss)[:, None] * to_here)
            for there, to_there in zip(frontier.views.T, to_pose):
                np.add.at(hessian, (here, there), (weight[:, None] * to_here)[:, :, None] * to_there[:, None, :])

        miss, to_pose, to_point = self.reprojected(poses, tracks, points)
        weight = _cauchy((miss**2).sum(axis=1) / spread.keypoints**2, CAUCHY)[1] / spread.keypoints**2
        weighted = weight[:, None, None] * to_pose
        hessian[every, every] += _summed(weighted.transpose(0, 2, 1) @ to_pose, tracks.views, count)
        slope += _summed(np.einsum("oki,ok->oi", weighted, miss), tracks.views, count)
        inner = _summed(weight[:, None, None] * (to_point.transpose(0, 2, 1) @ to_point), tracks.points, len(tracks))
        inner_slope = _summed(np.einsum("oki,ok->oi", weight[:, None, None] * to_point, miss), tracks.points, len(tracks))
        diagonal = np.einsum("nii->ni", inner)
        diagonal += damping * diagonal + AT_INFINITY * (diagonal.sum(axis=1, keepdims=True) + 1)
        inverse = np.linalg.inv(inner)

        full = hessian.transpose(0, 2, 1, 3).reshape(6 * count, 6 * count)
        full[np.diag_indices_from(full)] *= 1 + damping
        right = slope.ravel()
        if len(tracks):
            starts = np.concatenate([[0], np.cumsum(np.bincount(tracks.points, minlength=len(tracks)))])
            mixed = bsr_matrix((to_point.transpose(0, 2, 1) @ weighted, tracks.views, starts), shape=(3 * len(tracks), 6 * count)).tocsr()
            blocks = bsr_matrix((inverse, np.arange(len(tracks)), np.arange(len(tracks) + 1))).tocsr()
            carried = (blocks @ mixed).T
            full = full - (carried @ mixed).toarray()
            right = right - carried @ inner_slope.ravel()
        change = -np.linalg.solve(full, right)
        if len(tracks):
            back = inner_slope + (mixed @ change).reshape(-1, 3)
            points = points - np.einsum("nij,nj->ni", inverse, back)
        return poses.stepped(change.reshape(count, 6)), points

    def in_frame(self, poses: Poses) -> Poses:
        """The poses moved, turned and scaled as a whole to where the pull towards the given ones is least: what is seen says nothing of it.

        A turn q, shift t and scale 1 + s of the world make a rotation R exp(-R q) R and a centre c + q x c + t + s c.
        """
        for _ in range(ROUNDS):
            off, doubts = self.pulled(poses)
            weight = np.sqrt(_cauchy((off**2).sum(axis=1), GIVEN_CAUCHY)[1])[:, None]
            slope = np.zeros((len(off), 6, 7))
            slope[:, :3, :3] = -poses.rotations
            slope[:, 3:, :3] = -_crossing(poses.centres)
            slope[:, 3:, 3:6] = np.eye(3)
            slope[:, 3:, 6] = poses.centres
            slope *= (weight / doubts)[:, :, None]
            step = -np.linalg.lstsq(slope.reshape(-1, 7), (weight * off).ravel(), rcond=None)[0]
            turn = Rotation.from_rotvec(step[:3]).as_matrix()
            centres = np.exp(step[6]) * poses.centres @ turn.T + step[3:6]
            poses = Poses(poses.rotations @ turn.T, centres)
        return poses


def _held_out(tracks: Tracks) -> np.ndarray:
    """(O,) whether an observation is of a track that is held out."""
    return tracks.points % HELD_OUT == 0


def _held_out_pairs(frontier: Frontier) -> np.ndarray:
    """(M,) whether a frontier point is of a pair of views that is held out: each view is in some of them and in some others."""
    return (frontier.views.sum(axis=1) % HELD_OUT) == 0


def _cauchy(square: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Robust cost of squared residuals, in units of their spread, and the weight that each has in least squares."""
    return scale**2 * np.log1p(square / scale**2), 1 / (1 + square / scale**2)


def _crossing(vectors: np.ndarray) -> np.ndarray:
    """(N, 3, 3) matrices of v x."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)


def _summed(values: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
    """(count, ...) sums of the values (O, ...) that belong to each row."""
    flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
    sums = [np.bincount(rows, column, count) for column in flat.T]
    return np.stack(sums, axis=1).astype(float).reshape(count, *values.shape[1:])
