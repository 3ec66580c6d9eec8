"""Bundle adjustment: poses and points that fit keypoints followed over several photographs, and outlines, where there are masks.

Points must project where they were found; of outlines the planes through two cameras that touch the object must agree. Both are one
least-squares problem over poses and points, robust, in units of each kind's own spread, with a pull towards the given poses. Part of the
data can be held out.

Letters: V views, N points, O observations of them, M frontier points. Poses as in poses.py.
Source: Triggs, McLauchlan, Hartley and Fitzgibbon, Bundle Adjustment - A Modern Synthesis, 2000; outlines.py's for the frontier points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from surfrecon.outlines import Frontier, Outlines
from surfrecon.poses import AT_INFINITY, Poses, Prior, cauchy, crossing, descended, solved, summed
from surfrecon.run import Run
from surfrecon.tracks import Links, Tracks

HELD_OUT = 5  # one track and one pair of outlines of so many is left out of the fit that decides
LOOSE = 2.5  # times the given doubt that a link may miss its epipolar line at first
TIGHT = 5.0  # times the spread of the residuals, from the second round on
CLEANINGS = 4  # most observations of one track that are dropped
ROUNDS = 4  # of linking, triangulating and fitting
STEPS = 8  # of Levenberg and Marquardt in one round
CAUCHY = 1.0  # spreads at which a residual's pull is halved
FINEST, FINEST_KEYPOINT = 0.05, 0.3  # pixels: no spread of outlines or keypoints is believed to be smaller
TO_SIGMA = 1.4826  # standard deviations in a median of absolute values
SHARED = 2.0  # times the spread of outlines that they count with: one corner of a hull serves several pairs, with the same error
POINT_STEPS = 5  # of a triangulated point, with the cameras as they are


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

    prior: Prior
    intrinsics: np.ndarray
    links: Links
    outlines: Outlines

    @property
    def focal(self) -> np.ndarray:
        return np.sqrt(self.intrinsics[:, 0, 0] * self.intrinsics[:, 1, 1])

    def tracks(self, poses: Poses, spread: Spread | None) -> Tracks:
        """Of links that the poses allow: as doubtful as given ones are, or after a fit with such a spread."""
        angle = np.hypot(np.radians(self.prior.doubt.degrees), self.prior.doubt.share)
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
        spread = None if poses is self.prior.given else self._spread(poses, self.tracks(poses, None))
        for turn in range(ROUNDS):
            run.step("poses", turn + 1, ROUNDS)
            tracks = self.tracks(poses, spread)
            part = tracks[~_held_out(tracks)] if hold_out else tracks
            if spread is not None:
                part = self._clean(poses, part, spread)
            points, spread = self.placed(poses, part), self._spread(poses, part)

            def around(state: tuple[Poses, np.ndarray], part: Tracks = part, spread: Spread = spread) -> tuple:
                frontier = self.frontier(state[0])
                fixed = part, frontier[~_held_out_pairs(frontier)] if hold_out else frontier, spread
                return lambda at: self.cost(*at, *fixed), lambda at, damping: self.step(*at, *fixed, damping)

            poses, points = descended((poses, points), around, steps=STEPS)
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
        return image[:, :2] - tracks.pixels, np.concatenate([-slope @ crossing(camera), -to_point], axis=2), to_point

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

    def cost(self, poses: Poses, points: np.ndarray, tracks: Tracks, frontier: Frontier, spread: Spread) -> float:
        off = (self.reprojected(poses, tracks, points)[0] ** 2).sum(axis=1) / spread.keypoints**2
        touching = self.touched(poses, frontier)[0] ** 2 / spread.outlines**2
        return self.prior.cost(poses) + sum(cauchy(item, CAUCHY)[0].sum() for item in (off, touching))

    # Steps ------------------------------------------------------------------------------------------------------------------------

    def placed(self, poses: Poses, tracks: Tracks) -> np.ndarray:
        """(N, 3) points nearest to the rays of their observations, then where they appear nearest to these."""
        count = len(tracks)
        homogeneous = np.column_stack([tracks.pixels, np.ones(len(tracks.pixels))])
        ray = np.einsum("oij,oj->oi", np.linalg.inv(self.intrinsics)[tracks.views], homogeneous)
        ray = np.einsum("oji,oj->oi", poses.rotations[tracks.views], ray)
        ray /= np.linalg.norm(ray, axis=1, keepdims=True)
        across = np.eye(3) - ray[:, :, None] * ray[:, None, :]
        normal = summed(across, tracks.points, count) + AT_INFINITY * np.eye(3)
        right = summed(np.einsum("oij,oj->oi", across, poses.centres[tracks.views]), tracks.points, count)
        points = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
        for _ in range(POINT_STEPS):
            off, _, slope = self.reprojected(poses, tracks, points)
            normal = summed(slope.transpose(0, 2, 1) @ slope, tracks.points, count)
            normal = normal + AT_INFINITY * (np.trace(normal, axis1=1, axis2=2)[:, None, None] + 1) * np.eye(3)
            right = summed(np.einsum("oki,ok->oi", slope, off), tracks.points, count)
            step = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
            better = summed((off**2).sum(axis=1), tracks.points, count)
            moved = points - step
            worse = summed((self.reprojected(poses, tracks, moved)[0] ** 2).sum(axis=1), tracks.points, count) > better
            points = np.where(worse[:, None], points, moved)
        return points

    def step(
        self, poses: Poses, points: np.ndarray, tracks: Tracks, frontier: Frontier, spread: Spread, damping: float
    ) -> tuple[Poses, np.ndarray]:
        """Poses and points after one damped Gauss-Newton step."""
        hessian, slope = self.prior.normal(poses)
        count = len(slope)
        every = np.arange(count)
        miss, *to_pose = self.touched(poses, frontier)
        weight = cauchy(miss**2 / spread.outlines**2, CAUCHY)[1] / spread.outlines**2
        for here, to_here in zip(frontier.views.T, to_pose):
            np.add.at(slope, here, (weight * miss)[:, None] * to_here)
            for there, to_there in zip(frontier.views.T, to_pose):
                np.add.at(hessian, (here, there), (weight[:, None] * to_here)[:, :, None] * to_there[:, None, :])

        miss, to_pose, to_point = self.reprojected(poses, tracks, points)
        weight = cauchy((miss**2).sum(axis=1) / spread.keypoints**2, CAUCHY)[1] / spread.keypoints**2
        weighted = weight[:, None, None] * to_pose
        hessian[every, every] += summed(weighted.transpose(0, 2, 1) @ to_pose, tracks.views, count)
        slope += summed(np.einsum("oki,ok->oi", weighted, miss), tracks.views, count)
        inner = summed(weight[:, None, None] * (to_point.transpose(0, 2, 1) @ to_point), tracks.points, len(tracks))
        inner_slope = summed(np.einsum("oki,ok->oi", weight[:, None, None] * to_point, miss), tracks.points, len(tracks))
        mixed = to_point.transpose(0, 2, 1) @ weighted
        steps, moves = solved(hessian, slope, inner, inner_slope, mixed, tracks.views, tracks.points, damping)
        return poses.stepped(steps), points + moves


def _held_out(tracks: Tracks) -> np.ndarray:
    """(O,) whether an observation is of a track that is held out."""
    return tracks.points % HELD_OUT == 0


def _held_out_pairs(frontier: Frontier) -> np.ndarray:
    """(M,) whether a frontier point is of a pair of views that is held out: each view is in some of them and in some others."""
    return (frontier.views.sum(axis=1) % HELD_OUT) == 0
