"""Whether photographs and their cameras agree; if not, how the cameras were meant.

Each reading of the cameras (axes, direction of the matrices, size that the intrinsics refer to) says where a keypoint of one image can
lie in the next: on a line, in front of both cameras. Matches that some reading explains are held against all of them. Masks tell in their
own way: the hull of the right cameras fills the silhouettes. Only what is clearly better under another reading is refused; doubt is logged.

Letters: V views, M matches. Residuals are in pixels of images CHECK_SIDE wide.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from surfrecon.bounding import Silhouettes
from surfrecon.conventions import CONVENTIONS, Convention
from surfrecon.errors import InputError
from surfrecon.keypoints import Keypoints, keypoints, matches
from surfrecon.views import Views

log = logging.getLogger("surfrecon")

CHECK_SIDE = 640  # pixels of the longest side of the images that are compared
ANCHORS = 6  # views that are compared with the next by name and the nearest by pose
FEWEST_IN_PAIR = 8  # matches: with fewer, two images hardly show the same
FEWEST_MATCHES = 50  # in all pairs, below which nothing is concluded
EXPLAINED = 4.0  # pixels: a residual that a reading may have in calibrations as bad as those of cheap depth cameras
GOOD = 2.0  # pixels: residual that most explained matches must have under a reading that is to replace the given one
TOLERATED = 0.5  # pixels: a median residual below this is never refused
CLEARLY = 1.8  # times that another reading's median residual must be smaller; measured for doubled and halved focal lengths: 1.9 and more
ALIKE = 1.25  # times the smallest residual up to which the likeliest mistake is named rather than the best fit
VOTES = 2 / 3  # share of the pairs that must prefer it
HARDLY = 0.15  # share of good matches below which the cameras are doubted in the log
SCALES = (0.5, 2.0, 0.25, 4.0)  # of intrinsics, likeliest first: images are usually halved
OFF_CENTRE = 1.15  # ratio of a principal point to the middle of the image from which it suggests a scale of its own
PARALLAX = np.radians(1.0)  # between two rays that are less apart it isn't sure that they meet in front
TIGHT = 0.25  # cells that the hull may lie beside a cell whose picture is to fill the silhouettes
MISSED = 0.01, 0.015  # share of the silhouettes that the hull leaves open under a reading that replaces another; under the one replaced
# Measured on synthetic masks: 0.000 under the right cameras, 0.020 and 0.052 for focal lengths doubled and halved.


@dataclass(frozen=True, eq=False)
class Reading:
    """One way to understand the cameras: what it says of the given one, and the cameras that follow."""

    says: str
    intrinsics: np.ndarray
    cam_from_world: np.ndarray


@dataclass(frozen=True, eq=False)
class Pair:
    """Two views and the (M, 2) pixels of what both show."""

    views: tuple[int, int]
    pixels: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Verdict:
    """What the images say of the cameras.

    Attributes:
        matches: number that some reading explains.
        residual: their median distance from the lines that the given cameras draw.
        best: what the reading with the smallest says, and that residual, leaving out the given one.
        good: share of all matches whose residual is small under the given cameras.
        missed: median share of the silhouettes that their hull leaves open; None without masks, or where the keypoints suffice.
        refused: the sentence about the likely mistake, where there is one.
    """

    matches: int
    residual: float
    best: tuple[str, float]
    good: float
    missed: float | None
    refused: str | None


def check_poses(views: Views, convention: Convention) -> None:
    """Refuse cameras that the images contradict, where it is clear how they were meant.

    Args:
        views: as read.
        convention: how the file's matrices were read.
    Raises:
        InputError: the sentence names the likely mistake and what to do.
    """
    verdict = examine(views, convention)
    if verdict.refused:
        raise InputError(verdict.refused)
    if verdict.matches < FEWEST_MATCHES:
        log.info("poses are not checked: neighbouring images have %d points in common that tell", verdict.matches)
    elif verdict.good < HARDLY:
        log.warning("the poses hardly fit the images: only %.0f %% of the points found in two images agree with them", 100 * verdict.good)


def examine(views: Views, convention: Convention) -> Verdict:
    """The verdict of keypoints and, where these leave it open, of masks on the cameras."""
    given, *others = readings(views, convention)
    pairs = list(matched_pairs(views))
    scale = CHECK_SIDE / views.sizes.max(axis=1)
    residuals = [[scale[pair.views[0]] * epipolar_residuals(pair, reading) for pair in pairs] for reading in (given, *others)]
    flat = np.array([np.concatenate([*each, np.empty(0)]) for each in residuals])
    known = (flat < EXPLAINED).any(axis=0)
    ours, *theirs = [float(np.median(values[known])) if known.any() else np.inf for values in flat]
    best = next(i for i, median in enumerate(theirs) if median <= ALIKE * min(theirs))
    refused, missed, enough = None, None, known.sum() >= FEWEST_MATCHES
    if enough and ours > max(TOLERATED, CLEARLY * theirs[best]) and theirs[best] < GOOD:
        votes = [np.median(other) < np.median(own) for own, other in zip(residuals[0], residuals[1 + best])]
        if np.mean(votes) >= VOTES:
            miss = f"miss their lines by {ours:.1f} pixels" if np.isfinite(ours) else "would lie behind the cameras"
            refused = f"{others[best].says} (points seen in two images {miss}; read so, they are off by {theirs[best]:.1f} pixels)"
    if views.masks is not None and not refused and not (enough and theirs[best] > CLEARLY * ours):
        possible = [reading for reading, median in zip(others, theirs) if not (enough and median > CLEARLY * ours)]
        missed, refused = masks_say(views, given, possible)
    good = float((flat[0] < GOOD).mean()) if flat.size else 0.0
    return Verdict(int(known.sum()), ours, (others[best].says, theirs[best]), good, missed, refused)


def masks_say(views: Views, given: Reading, others: list[Reading]) -> tuple[float, str | None]:
    """Share of the silhouettes that the hull leaves open, and the likely mistake if it is another reading's hull that fills them."""
    missed = silhouettes_missed(views, given)
    if missed > MISSED[1]:
        for reading in others:
            share = silhouettes_missed(views, reading)
            if share < MISSED[0]:
                return missed, f"{reading.says} (the masks' hull leaves {missed:.1%} of them open; read so, {share:.1%})"
    return missed, None


def readings(views: Views, convention: Convention) -> list[Reading]:
    """The cameras as given, then as they are under each likely mistake."""
    bottom = np.broadcast_to([[[0.0, 0.0, 0.0, 1.0]]], (len(views), 1, 4))
    poses = np.concatenate([views.cam_from_world, bottom], axis=1)
    found = [Reading("", views.intrinsics, views.cam_from_world)]
    for other in CONVENTIONS:
        if other != convention:
            says = f"the poses look {other}, where {convention} is expected: convert them"
            found.append(Reading(says, views.intrinsics, other.cam_from_world(convention.matrices(poses))[:, :3]))
    middle = float(np.median(views.sizes / 2 / np.maximum(views.intrinsics[:, :2, 2], 1)))
    own = (middle,) if max(middle, 1 / middle) > OFF_CENTRE else ()
    for scale in dict.fromkeys((*SCALES, *own)):
        sized = np.diag([scale, scale, 1]) @ views.intrinsics
        says = f"the intrinsics look like those of images {1 / scale:.3g} times this size: scale focal lengths and centres by {scale:.3g}"
        found.append(Reading(says, sized, views.cam_from_world))
    for scale in SCALES:
        longer = views.intrinsics.copy()
        longer[:, :2, :2] *= scale
        wrong = f"{1 / scale:.3g} times too long" if scale < 1 else f"{scale:.3g} times too short"
        says = f"the focal lengths look {wrong}, as if in pixels of other images: scale them by {scale:.3g}"
        found.append(Reading(says, longer, views.cam_from_world))
    return found


def matched_pairs(views: Views) -> Iterator[Pair]:
    """Pairs of neighbouring views, with what both show."""
    features: dict[int, Keypoints] = {}

    def of(view: int) -> Keypoints:
        if view not in features:
            part = views[[view]].scaled(min(1.0, CHECK_SIDE / views.sizes[view].max()))
            found = keypoints(part.images[0].astype(np.float32).mean(axis=2))
            features[view] = Keypoints(found.pixels * views.sizes[view] / part.sizes[0], found.descriptors)
        return features[view]

    for one, other in _neighbours(views):
        rows = matches(of(one), of(other))
        if len(rows) >= FEWEST_IN_PAIR:
            yield Pair((one, other), (of(one).pixels[rows[:, 0]], of(other).pixels[rows[:, 1]]))


def _neighbours(views: Views) -> list[tuple[int, int]]:
    """Pairs that likely show the same: next to each other by name, as photographs are taken, and by the cameras' places."""
    count, pairs = len(views), set()
    for view in np.unique(np.linspace(0, count - 1, ANCHORS).round().astype(int)) if count > 1 else ():
        away = np.linalg.norm(views.centres - views.centres[view], axis=1)
        away[view] = np.inf
        for other in ((view + 1) % count, int(np.argmin(away))):
            pairs.add((min(view, other), max(view, other)))
    return sorted((int(one), int(other)) for one, other in pairs)


def epipolar_residuals(pair: Pair, reading: Reading) -> np.ndarray:
    """(M,) first-order distance of matches from the epipolar lines, pixels; infinite where the rays meet behind a camera.

    Source: Hartley and Zisserman, Multiple View Geometry, 2004, eq. 11.9 (Sampson) and section 9.6.
    """
    (one, other), (here, there) = pair.views, pair.pixels
    first, second = reading.cam_from_world[one], reading.cam_from_world[other]
    rotation = second[:, :3] @ first[:, :3].T
    translation = second[:, 3] - rotation @ first[:, 3]
    translation = translation / max(np.linalg.norm(translation), np.finfo(float).tiny)
    homogeneous = [np.column_stack([pixels, np.ones(len(pixels))]) for pixels in (here, there)]
    inverse = [np.linalg.inv(reading.intrinsics[view]) for view in (one, other)]
    across = np.cross(np.eye(3), translation)  # the matrix of translation x, transposed
    fundamental = inverse[1].T @ across.T @ rotation @ inverse[0]
    lines, back = homogeneous[0] @ fundamental.T, homogeneous[1] @ fundamental
    length = np.sqrt((lines[:, :2] ** 2).sum(1) + (back[:, :2] ** 2).sum(1))
    distance = np.abs((homogeneous[1] * lines).sum(1)) / np.maximum(length, np.finfo(float).tiny)

    # Depths a of ray u and b of ray v solve b v = a u + translation: crossed with v and with u.
    u, v = homogeneous[0] @ inverse[0].T @ rotation.T, homogeneous[1] @ inverse[1].T
    normal = np.cross(u, v)
    sine = np.linalg.norm(normal, axis=1) / (np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1))
    in_front = ((np.cross(v, translation) * normal).sum(1) > 0) & ((np.cross(u, translation) * normal).sum(1) > 0)
    return np.where(in_front | (sine < np.sin(PARALLAX)), distance, np.inf)


def silhouettes_missed(views: Views, reading: Reading) -> float:
    """Median over views of the share of the silhouette that the hull of all leaves open; 1 where they share no place."""
    silhouettes = Silhouettes.of(views.masks, reading.intrinsics, reading.cam_from_world)
    try:
        cells, side = silhouettes.hull(TIGHT)
    except InputError:  # the rays through the silhouettes don't meet
        return 1.0
    return 1 - float(np.median(silhouettes.covered(cells, side)))
