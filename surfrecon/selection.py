"""Which part of a scan is used, and how finely: a box, classes of points, means over cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud, checked_array
from surfrecon.thinning import averaged

CLASS = "classification"  # the scalar field, as LAS files name it


class NothingSelectedError(InputError):
    """No point of a scan, or of one of its files, is wanted."""


@dataclass(frozen=True)
class Selection:
    """What to use of a scan; by default all of it.

    Attributes:
        crop: (2, 3) lowest and highest corner of the box whose points are used, world frame.
        voxel: side of the cells over which points are averaged, world units.
        classes: values of the field `classification` that are used.
    Raises:
        InputError: a box that is empty or turned, a side <= 0.
    """

    crop: np.ndarray | None = None
    voxel: float | None = None
    classes: Sequence[int] | None = None

    def __post_init__(self):
        if self.crop is not None:
            crop = checked_array("crop", np.reshape(self.crop, (2, 3)), (2, 3), np.float64)
            if not (crop[0] < crop[1]).all():
                low, high = crop.tolist()
                raise InputError(f"the crop must go from lower to higher x, y and z, got {low} to {high}")
            object.__setattr__(self, "crop", crop)
        if self.voxel is not None and not 0 < self.voxel < np.inf:
            raise InputError(f"the voxel size must be > 0 (world units), got {self.voxel}")

    def rows(self, cloud: PointCloud) -> np.ndarray:
        """(N,) whether each point is wanted.

        Raises:
            InputError: classes are asked for and the scan has none. NothingSelectedError: no point is wanted.
        """
        keep = np.ones(len(cloud), bool)
        if self.classes is not None:
            if CLASS not in cloud.scalars:
                has = ", ".join(cloud.scalars) or "none"
                raise InputError(f"its points have no classes (no field {CLASS!r}; scalar fields: {has}): leave the choice of classes out")
            keep &= np.isin(cloud.scalars[CLASS], list(self.classes))
            if not keep.any():
                there = ", ".join(f"{value:g}" for value in np.unique(cloud.scalars[CLASS])[:20])
                wanted = ", ".join(map(str, self.classes))
                raise NothingSelectedError(f"none of its {len(cloud)} points is of class {wanted}: it has {there}")
        if self.crop is not None:
            low, high = self.crop
            keep &= ((cloud.points >= low) & (cloud.points <= high)).all(axis=1)
            if not keep.any():
                span = " to ".join(str(corner) for corner in cloud.bounds().round(3).tolist())
                raise NothingSelectedError(f"none of its points lies in the crop from {low.tolist()} to {high.tolist()}: they span {span}")
        return keep


def selected(cloud: PointCloud, selection: Selection) -> PointCloud:
    """The wanted points of a scan, as means over voxels where these are asked for.

    Raises:
        InputError: no point is wanted, or the scan has no classes though some are asked for.
    """
    if selection.crop is not None or selection.classes is not None:
        keep = selection.rows(cloud)
        cloud = cloud if keep.all() else cloud[keep]
    return cloud if selection.voxel is None else averaged(cloud, side=selection.voxel)
