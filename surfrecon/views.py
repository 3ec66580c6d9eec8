"""Photographs with known cameras: a frozen dataclass of numpy arrays, checked on creation.

Letters: V views, H and W rows and columns of one image, N points or pixels. A camera looks along +z of its frame, x to the right, y down
(OpenCV); cam_from_world is a rotation and a translation. A pixel position is (x, y) = (column, row) with (0, 0) at the corner of the image:
the middle of the first pixel is (0.5, 0.5). Depth is z in the camera's frame, world units, never the distance along the ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from surfrecon import bounding
from surfrecon.errors import InputError
from surfrecon.geometry import ROTATION_TOLERANCE, PointCloud, Similarity, checked_array, object_bounds

DEPTH_SAMPLES = 20_000  # pixels with depth that bound the object; more would not move the box
SHARED = 0.5  # an SfM point within this share of the frames that the most seen point is in belongs to the object
LEAST_SHARED = 0.1  # where that leaves a smaller share of the points, the cameras don't circle one object: all points count


@dataclass(frozen=True, eq=False)
class Views:
    """V photographs of one object or scene, free of lens distortion, with their cameras in one world frame.

    Attributes:
        images: V arrays (H, W, 3) uint8 sRGB, of any sizes; grey ones (H, W) get three equal channels.
        intrinsics: (V, 3, 3) float64, pixels from camera: [[fx, skew, cx], [0, fy, cy], [0, 0, 1]].
        cam_from_world: (V, 3, 4) float64; (V, 4, 4) is taken as well.
        masks: V arrays (H, W) bool, True on the object, or None.
        depths: V arrays (H, W) float32, 0 where unknown, or None.
        points: (N, 3) float64 points of the scene as structure from motion found them, or None.
        names: of the images, for messages.
    Raises:
        InputError: wrong shapes, numbers that differ between the lists, a camera that cannot be.
    """

    images: tuple[np.ndarray, ...]
    intrinsics: np.ndarray
    cam_from_world: np.ndarray
    masks: tuple[np.ndarray, ...] | None = None
    depths: tuple[np.ndarray, ...] | None = None
    points: np.ndarray | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self):
        count = len(self.images)
        if not count:
            raise InputError("there are no views: at least one image with its camera is needed")
        names = tuple(map(str, self.names)) or tuple(f"view {v}" for v in range(count))
        if len(names) != count:
            raise InputError(f"names must be {count}, one for each image, got {len(names)}")
        keep = lambda name, value: object.__setattr__(self, name, value)
        keep("names", names)
        keep("images", tuple(_image(name, image) for name, image in zip(names, self.images)))
        for kind, dtype in (("masks", np.bool_), ("depths", np.float32)):
            maps = getattr(self, kind)
            if maps is not None:
                if len(maps) != count:
                    raise InputError(f"{kind} must be {count}, one for each image, got {len(maps)}")
                keep(kind, tuple(_map(kind, *item, dtype) for item in zip(names, maps, self.images)))
        keep("intrinsics", _intrinsics(self.intrinsics, names))
        keep("cam_from_world", _poses(self.cam_from_world, names))
        if self.points is not None:
            keep("points", checked_array("points", self.points, (None, 3), np.float64))

    def __len__(self) -> int:
        return len(self.images)

    @property
    def content(self) -> tuple[np.ndarray | None, ...]:
        """The arrays that decide the surface."""
        return self.intrinsics, self.cam_from_world, self.points, *self.images, *(self.masks or ()), *(self.depths or ())

    def distinct(self) -> Views:
        """The views themselves: two photographs are never one."""
        return self

    @property
    def sizes(self) -> np.ndarray:
        """(V, 2) width and height of each image."""
        return np.array([image.shape[1::-1] for image in self.images])

    @cached_property
    def centres(self) -> np.ndarray:
        """(V, 3) positions of the cameras, world frame."""
        return bounding.centres(self.cam_from_world)

    @property
    def directions(self) -> np.ndarray:
        """(V, 3) unit vectors along which the cameras look, world frame."""
        return self.cam_from_world[:, 2, :3]

    def project(self, view: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixel positions (N, 2) and depth (N,) of (N, 3) world points in one view; pixels are NaN where the depth isn't > 0."""
        # Moved to the camera first: subtracting nearby floats is exact, so large offsets cost no digits.
        camera = (np.asarray(points, float) - self.centres[view]) @ self.cam_from_world[view, :, :3].T
        depth = camera[:, 2]
        image = camera @ self.intrinsics[view].T
        return image[:, :2] / np.where(depth > 0, depth, np.nan)[:, None], depth

    def pixel_centres(self, view: int) -> np.ndarray:
        """(H * W, 2) middles of one view's pixels, row by row."""
        width, height = self.sizes[view]
        return np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1).reshape(-1, 2)

    def rays(self, view: int, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Origins (N, 3) and unit directions (N, 3), world frame, of the rays through (N, 2) pixel positions of one view."""
        directions = self._unprojected(view, pixels) @ self.cam_from_world[view, :, :3]
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        return np.broadcast_to(self.centres[view], directions.shape), directions

    def depth_points(self, view: int, *, step: int = 1) -> np.ndarray:
        """(N, 3) world positions of the pixels of one view whose depth is known, row by row; of every step-th of these."""
        if self.depths is None:
            raise InputError("these views carry no depth maps")
        depth = self.depths[view]
        row, column = (place[::step] for place in np.nonzero(depth))
        rays = self._unprojected(view, np.column_stack([column + 0.5, row + 0.5]))
        return depth[row, column, None].astype(float) * rays @ self.cam_from_world[view, :, :3] + self.centres[view]

    def _unprojected(self, view: int, pixels: np.ndarray) -> np.ndarray:
        """(N, 3) points at depth 1 in the camera's frame."""
        pixels = np.asarray(pixels, float)
        return np.column_stack([pixels, np.ones(len(pixels))]) @ np.linalg.inv(self.intrinsics[view]).T

    def bounds(self) -> np.ndarray:
        """(2, 3) box of the object: of the masks' visual hull, else of the depth maps, else of the points, else about the cameras' focus.

        Raises:
            InputError: the masks share no place; without anything else, the cameras don't look at one place.
        """
        return self._bounds

    object_bounds = bounds  # the views' box is the object's from the start

    @cached_property
    def _bounds(self) -> np.ndarray:
        if self.masks is not None:
            return self._hull_bounds()
        if self.depths is not None:
            step = max(1, sum(map(np.count_nonzero, self.depths)) // DEPTH_SAMPLES)
            points = np.concatenate([self.depth_points(view, step=step) for view in range(len(self))])
            if len(points):
                return object_bounds(points)
        if self.points is not None and len(self.points):
            return object_bounds(self._shared_points())
        centre = bounding.focus(self.centres, self.directions)
        away = np.abs(np.einsum("vi,vi->v", centre - self.centres, self.directions))
        focal = np.stack([self.intrinsics[:, 0, 0], self.intrinsics[:, 1, 1]], axis=-1)
        radius = np.median(away * (self.sizes / 2 / focal).max(axis=1))  # of the ball that holds what half of the frames show
        return np.stack([centre - radius, centre + radius])

    def _hull_bounds(self) -> np.ndarray:
        cells, side = bounding.Silhouettes.of(self.masks, self.intrinsics, self.cam_from_world).hull()
        if not len(cells):
            raise InputError("the masks of these views share no place in space: the masks or the cameras are wrong")
        return np.stack([cells.min(0) - side / 2, cells.max(0) + side / 2])

    def _shared_points(self) -> np.ndarray:
        """The points that many views have in their frame: of photographs around an object those on it, not its surroundings."""
        frames = np.zeros(len(self.points), int)
        for view, size in enumerate(self.sizes):
            pixels, _ = self.project(view, self.points)
            with np.errstate(invalid="ignore"):
                frames += ((pixels >= 0) & (pixels < size)).all(axis=1)
        shared = frames >= max(1, SHARED * frames.max())
        return self.points[shared] if shared.mean() >= LEAST_SHARED else self.points

    def transformed(self, target_from_source: Similarity) -> Views:
        """The same photographs in another frame: each shows every moved point where it showed the point; depths scale."""
        rotation = self.cam_from_world[:, :, :3] @ target_from_source.rotation.T
        translation = -np.einsum("vij,vj->vi", rotation, target_from_source.points(self.centres))
        scale = np.float32(target_from_source.scale)
        return replace(
            self,
            cam_from_world=np.concatenate([rotation, translation[:, :, None]], axis=2),
            depths=None if self.depths is None else tuple(scale * depth for depth in self.depths),
            points=None if self.points is None else target_from_source.points(self.points),
        )

    def __getitem__(self, views) -> Views:
        """The views that a slice, a mask or an index array selects; points stay."""
        rows = np.arange(len(self))[views]
        if rows.ndim != 1:
            raise InputError(f"views are selected by a slice, a mask or several indices, got {views!r}: for one view give [{views!r}]")
        pick = lambda values: None if values is None else tuple(values[row] for row in rows)
        return replace(
            self,
            images=pick(self.images),
            intrinsics=self.intrinsics[rows],
            cam_from_world=self.cam_from_world[rows],
            masks=pick(self.masks),
            depths=pick(self.depths),
            names=pick(self.names),
        )

    def scaled(self, factor: float) -> Views:
        """The views at `factor` in (0, 1] times the size: colours and masks averaged over areas, depths taken at pixel middles."""
        if not 0 < factor <= 1:
            raise InputError(f"views are scaled by a factor > 0 and at most 1, got {factor}")
        sizes = np.maximum(1, np.round(self.sizes * factor)).astype(int)
        shrunk = lambda maps, shrink: None if maps is None else tuple(shrink(item, size) for item, size in zip(maps, sizes))
        ratio = sizes / self.sizes
        return replace(
            self,
            images=shrunk(self.images, area_mean),
            masks=shrunk(self.masks, lambda mask, size: area_mean(mask.astype(np.uint8) * np.uint8(255), size) > 127),
            depths=shrunk(self.depths, nearest),
            intrinsics=np.concatenate([ratio, np.ones((len(self), 1))], axis=1)[:, :, None] * self.intrinsics,
        )


Scan = PointCloud | Views


def area_mean(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A uint8 image (H, W) or (H, W, 3) at a smaller (width, height), each pixel the mean of the area it covers."""
    from PIL import Image

    width, height = map(int, size)
    if image.shape[1::-1] == (width, height):
        return image
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def nearest(values: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """An array (H, W) at another (width, height), each pixel the value found at its middle: what lies at an edge isn't mixed."""
    rows, columns = (((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip((size[1], size[0]), values.shape))
    return values[rows[:, None], columns]


def _image(name: str, image: np.ndarray) -> np.ndarray:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)) or 0 in image.shape:
        raise InputError(f"the image of {name} must be (H, W, 3) or (H, W) of uint8, got {image.shape} of {image.dtype}")
    image = np.ascontiguousarray(image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)).view()
    image.flags.writeable = False
    return image


def _map(kind: str, name: str, values: np.ndarray, image: np.ndarray, dtype) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != image.shape[:2] or (values.dtype.kind == "b") != (dtype is np.bool_):
        raise InputError(
            f"{kind} must be as large as their images, of {dtype.__name__}: for {name} got {values.shape} of {values.dtype}, "
            f"its image is {image.shape[:2]}"
        )
    if kind == "depths" and not (values >= 0).all():  # NaN isn't either
        raise InputError(f"depths must be >= 0, 0 where unknown: for {name} some are negative or NaN")
    return checked_array(f"{kind} of {name}", values, values.shape, dtype)


def _intrinsics(value: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    intrinsics = checked_array("intrinsics", value, (len(names), 3, 3), np.float64)
    for name, k in zip(names, intrinsics):
        if not (k[0, 0] > 0 and k[1, 1] > 0 and k[1, 0] == 0 and (k[2] == (0, 0, 1)).all()):
            raise InputError(f"intrinsics must be [[fx, skew, cx], [0, fy, cy], [0, 0, 1]] with fx, fy > 0: for {name} got {k.tolist()}")
    return intrinsics


def _poses(value: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    rows = 4 if np.shape(value)[1:2] == (4,) else 3
    poses = checked_array("cam_from_world", value, (len(names), rows, 4), np.float64)
    for name, pose in zip(names, poses):
        rotation = pose[:3, :3]
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > ROTATION_TOLERANCE or np.linalg.det(rotation) < 0:
            raise InputError(
                f"cam_from_world must hold a rotation of determinant 1 and a translation: for {name} its rotation is {rotation.tolist()}"
            )
        if (pose[3:] != (0, 0, 0, 1)).any():
            raise InputError(f"the last row of cam_from_world must be 0 0 0 1: for {name} got {pose[3].tolist()}")
    return checked_array("cam_from_world", poses[:, :3], (len(names), 3, 4), np.float64)
