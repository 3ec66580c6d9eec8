"""A moving object: a rigid motion and a smooth deformation, both known in closed form at every point and time.

Time runs from 0, where nothing has moved, to 1. A point p at rest goes to rigid(t) of deformed(p, t). The deformation twists slices of
equal height against each other and shifts them sideways: it keeps each slice's shape, hence the volume, and never folds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, Similarity, checked_array


@dataclass(frozen=True, eq=False)
class Motion:
    """Where the points of an object are at each time.

    Attributes:
        centre: (3,) that the object turns about, world frame at rest.
        diagonal: of its box, the unit of lengths below.
        axis: (3,) of any length > 0.
        turn: radians about the axis in all.
        drift: (3,) diagonals in all.
        twist: radians about z of the slice half a diagonal above the centre, at the end.
        bend: diagonals by which that slice is shifted along x, at the end; the shift grows with the square of the height.
    """

    centre: np.ndarray
    diagonal: float
    axis: tuple[float, float, float] = (0.3, -0.2, 1.0)
    turn: float = 0.6
    drift: tuple[float, float, float] = (0.15, -0.1, 0.05)
    twist: float = 0.4
    bend: float = 0.06

    def __post_init__(self):
        object.__setattr__(self, "centre", checked_array("centre", self.centre, (3,), float))
        if not (0 < self.diagonal < np.inf and np.linalg.norm(self.axis) > 0):
            raise InputError(f"a motion needs a diagonal > 0 and an axis, got {self.diagonal} and {self.axis}")

    @classmethod
    def of(cls, mesh: Mesh) -> Motion:
        """The default motion about the middle of a mesh's box."""
        low, high = mesh.bounds()
        return cls((low + high) / 2, float(np.linalg.norm(high - low)))

    def rigid(self, t: float) -> Similarity:
        """world_from_deformed, scale 1."""
        axis = np.asarray(self.axis, float) / np.linalg.norm(self.axis)
        rotation = Rotation.from_rotvec(self.turn * t * axis).as_matrix()
        return Similarity(1.0, self.centre + t * self.diagonal * np.asarray(self.drift) - rotation @ self.centre, rotation)

    def deformed(self, points: np.ndarray, t: float) -> np.ndarray:
        """(N, 3) points after the deformation alone; it sets in and ends gently."""
        ease = (1 - np.cos(np.pi * t)) / 2
        local = (np.asarray(points, float) - self.centre) / (self.diagonal / 2)
        x, y, z = local.T
        c, s = np.cos(ease * self.twist * z), np.sin(ease * self.twist * z)
        moved = np.stack([c * x - s * y + 2 * ease * self.bend * z**2, s * x + c * y, z], axis=1)
        return self.centre + self.diagonal / 2 * moved

    def points(self, points: np.ndarray, t: float) -> np.ndarray:
        """(N, 3) where points at rest are at time t; exactly themselves at 0."""
        return np.array(points, float) if t == 0 else self.rigid(t).points(self.deformed(points, t))

    def mesh(self, mesh: Mesh, t: float) -> Mesh:
        """The mesh at time t: the same faces, scalars and colours; its normals, if it has any, those of the moved faces."""
        if t == 0:
            return mesh
        moved = replace(mesh, vertices=self.points(mesh.vertices, t), normals=None)
        return moved if mesh.normals is None else replace(moved, normals=moved.vertex_normals())


def times(frames: int) -> np.ndarray:
    """(frames,) evenly from 0 to 1.

    Raises:
        InputError: fewer than two frames.
    """
    if frames < 2:
        raise InputError(f"a sequence needs at least 2 frames, got {frames}")
    return np.linspace(0, 1, frames)
