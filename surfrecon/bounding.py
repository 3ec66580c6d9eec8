"""Where the object of several views lies, from what the cameras alone tell: where they look, and the silhouettes they saw.

Letters: V views, N points. Cameras by intrinsics (V, 3, 3) and cam_from_world (V, 3, 4), as in views.py. Boxes are (2, 3): lowest and
highest corner, world frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from surfrecon.errors import InputError

# scipy is imported inside functions: views are known to methods' settings, which are read where --help must answer fast.

COARSE_SIDE = 256  # pixels of the longest side of the silhouettes that carve: a box needs no more
GRID = 40  # cells along a carved cube: its box is good to about 1 / 40 of its side
ROUNDS = 3  # carvings, each within the box of the one before
GROWTHS = 4  # times that the first cube is doubled when the object reaches its border
DISSENT = 0.05  # share of the views that may call a place background without carving it: a mask or two may be bad
SEEN = (0.8, 0.4, 0.1)  # share of the views that must have a place in their frame; the next where too little of the silhouettes is left
COVERED = 0.8  # share of its silhouette that the hull must cover in half of the views
LEAST_SPREAD = np.radians(2.0)  # optical axes more parallel than this don't tell at what depth they meet
WHOLE_CELL = np.sqrt(3) / 2  # sides from a cell's middle to its corner: the reach by which nothing of the object is lost


def centres(cam_from_world: np.ndarray) -> np.ndarray:
    """(V, 3) positions of the cameras, world frame."""
    return -np.einsum("vji,vj->vi", cam_from_world[:, :, :3], cam_from_world[:, :, 3])


def focus(origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(3,) point nearest to (V, 3) rays of unit direction: argmin_x of sum |(I - d d^T)(x - o)|^2.

    Raises:
        InputError: the rays are parallel, or diverge from a point behind most of their origins.
    """
    middle = origins.mean(0)  # solved about it: large offsets cost no digits
    across = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    normal = across.mean(0)
    if np.linalg.eigvalsh(normal)[0] < np.sin(LEAST_SPREAD) ** 2:
        raise InputError(
            "the cameras look in parallel, which doesn't tell where the object lies: give masks, or the points of an SfM model"
        )
    point = middle + np.linalg.solve(normal, np.einsum("vij,vj->i", across, origins - middle) / len(origins))
    if np.median(np.einsum("vi,vi->v", point - origins, directions)) <= 0:
        raise InputError("the cameras look away from each other rather than at one place: give masks, or the points of an SfM model")
    return point


@dataclass(frozen=True, eq=False)
class Silhouettes:
    """Coarse masks of V views with their cameras: what a visual hull is carved from.

    Attributes:
        masks: V arrays (H, W) bool, reduced so that a coarse pixel is object where any pixel of it is.
        background: V arrays (H, W) float32, distance to the nearest pixel of the object, in coarse pixels.
        intrinsics: (V, 3, 3) to coarse pixels.
        cam_from_world: (V, 3, 4).
    """

    masks: list[np.ndarray]
    background: list[np.ndarray]
    intrinsics: np.ndarray
    cam_from_world: np.ndarray

    @classmethod
    def of(cls, masks: Sequence[np.ndarray], intrinsics: np.ndarray, cam_from_world: np.ndarray) -> Silhouettes:
        """The silhouettes of the views that saw the object: an empty mask says nothing about where it is.

        Raises:
            InputError: every mask is empty.
        """
        from scipy.ndimage import distance_transform_edt

        seen = [v for v, mask in enumerate(masks) if mask.any()]
        if not seen:
            raise InputError("every mask is empty: a mask must be True (white, opaque) on the object")
        steps = [ceil(max(masks[v].shape) / COARSE_SIDE) for v in seen]
        coarse = [_any_of_blocks(masks[v], step) for v, step in zip(seen, steps)]
        background = [distance_transform_edt(~mask).astype(np.float32) for mask in coarse]
        to_coarse = np.stack([np.diag([1 / step, 1 / step, 1.0]) for step in steps])
        return cls(coarse, background, to_coarse @ intrinsics[seen], cam_from_world[seen])

    def centre(self) -> np.ndarray:
        """(3,) point nearest to the rays through the middle of each silhouette."""
        middles = np.stack([[*(np.argwhere(mask).mean(0)[::-1] + 0.5), 1.0] for mask in self.masks])
        rays = np.einsum("vji,vj->vi", self.cam_from_world[:, :, :3], np.linalg.solve(self.intrinsics, middles[:, :, None])[:, :, 0])
        return focus(centres(self.cam_from_world), rays / np.linalg.norm(rays, axis=1, keepdims=True))

    def radius(self, centre: np.ndarray) -> float:
        """Of a ball about `centre` that holds what any silhouette shows at the centre's depth, world units; 0 if it lies behind all."""
        largest = 0.0
        for mask, k, pose in zip(self.masks, self.intrinsics, self.cam_from_world):
            x, y, depth = pose[:, :3] @ centre + pose[:, 3]
            if depth > 0:
                rows, columns = np.nonzero(mask)
                across = (columns + 0.5 - k[0, 2]) / k[0, 0] - x / depth, (rows + 0.5 - k[1, 2]) / k[1, 1] - y / depth
                largest = max(largest, depth * float(np.hypot(*across).max()))
        return largest

    def pixels(self, view: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row and column (N,) of the coarse pixel that (N, 3) points fall into, -1 outside the frame, and coarse pixels per world unit."""
        pose, k = self.cam_from_world[view], self.intrinsics[view]
        camera = points @ pose[:, :3].T + pose[:, 3]
        depth = np.where(camera[:, 2] > 0, camera[:, 2], np.nan)
        with np.errstate(invalid="ignore"):
            column, row = np.floor((camera @ k.T)[:, :2].T / depth)
            height, width = self.masks[view].shape
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        pick = lambda value: np.where(inside, value, -1).astype(np.int64)
        return pick(row), pick(column), np.where(inside, k[0, 0] / depth, 0)

    def keep(self, points: np.ndarray, reach: float, seen: float) -> np.ndarray:
        """Rows (K,) of the (N, 3) places that the silhouettes leave, each standing for a ball of radius `reach` (world units).

        A place that less than the share `seen` of the views have in their frame isn't kept.
        """
        rows = np.arange(len(points))
        against, frames = np.zeros(len(points), int), np.zeros(len(points), int)
        count = len(self.masks)
        for view in range(count):
            row, column, scale = self.pixels(view, points[rows])
            inside = row >= 0
            # Half a coarse pixel's diagonal: the place is looked up at the middle of its pixel.
            out = inside & (self.background[view][row, column] > reach * scale + np.sqrt(0.5))
            against[rows] += out
            frames[rows] += inside
            hopeless = (against[rows] > DISSENT * count) | (frames[rows] + (count - 1 - view) < seen * count)
            rows = rows[~hopeless]
        return rows

    def carve(self, box: np.ndarray, seen: float, reach: float) -> tuple[np.ndarray, float]:
        """Centres (K, 3) of the cells of a box that the hull comes to within `reach` cells of, and a cell's side."""
        side = float((box[1] - box[0]).max()) / GRID
        axes = [np.arange(max(1, ceil(extent / side - 1e-9))) for extent in box[1] - box[0]]
        points = box[0] + side * (np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3) + 0.5)
        return points[self.keep(points, side * reach, seen)], side

    def hull(self, reach: float = WHOLE_CELL) -> tuple[np.ndarray, float]:
        """Centres (K, 3) of the coarse cells that the visual hull comes to within `reach` cells of, and a cell's side.

        There are none where the silhouettes share no place.
        """
        centre = self.centre()
        half = 1.5 * self.radius(centre)
        cells, side = np.empty((0, 3)), 0.0
        for seen in SEEN if half > 0 else ():
            cells, side = self._hull(centre, half, seen, reach)
            if np.median(self.covered(cells, side)) >= COVERED:
                break
        return cells, side

    def _hull(self, centre: np.ndarray, half: float, seen: float, reach: float) -> tuple[np.ndarray, float]:
        for _ in range(1 + GROWTHS):
            cells, side = self.carve(np.stack([centre - half, centre + half]), seen, reach)
            if not len(cells) or np.abs(cells - centre).max() < half - side:
                break
            half *= 2
        for _ in range(ROUNDS - 1):
            if len(cells):
                cells, side = self.carve(np.stack([cells.min(0) - side / 2, cells.max(0) + side / 2]), seen, reach)
        return cells, side

    def covered(self, cells: np.ndarray, side: float) -> np.ndarray:
        """(V,) share of each silhouette that the cells' pictures cover: 1 for a hull of right cameras and masks."""
        from scipy.ndimage import binary_dilation

        shares = np.zeros(len(self.masks))
        for view, mask in enumerate(self.masks):
            row, column, scale = self.pixels(view, cells)
            picture = np.zeros(mask.shape, bool)
            picture[row[row >= 0], column[row >= 0]] = True
            if picture.any():
                reach = ceil(float(np.median(scale[row >= 0])) * side / 2)  # a cell's picture, from its centre
                picture = binary_dilation(picture, np.ones((3, 3), bool), iterations=max(1, reach))
            shares[view] = (picture & mask).sum() / mask.sum()
        return shares


def _any_of_blocks(mask: np.ndarray, step: int) -> np.ndarray:
    """A mask at 1 / step of its size, True where any pixel of a block is."""
    height, width = (ceil(side / step) * step for side in mask.shape)
    padded = np.zeros((height, width), bool)
    padded[: mask.shape[0], : mask.shape[1]] = mask
    return padded.reshape(height // step, step, width // step, step).any(axis=(1, 3))
