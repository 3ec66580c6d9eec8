"""How a file's pose matrices are to be read: which way they map, and how the camera's axes lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # between OpenCV's axes (y down, z forward) and OpenGL's (y up, z back)


@dataclass(frozen=True)
class Convention:
    """Attributes: whether matrices map from camera to world, rather than back; whether the camera's axes are OpenGL's."""

    camera_to_world: bool
    opengl: bool

    def __str__(self) -> str:
        way = "camera-to-world" if self.camera_to_world else "world-to-camera"
        return f"{way} with {'OpenGL' if self.opengl else 'OpenCV'} axes ({'y up, z back' if self.opengl else 'y down, z forward'})"

    def cam_from_world(self, matrices: np.ndarray) -> np.ndarray:
        """(..., 4, 4) poses as Views has them, of a file's (..., 4, 4)."""
        poses = np.linalg.inv(matrices) if self.camera_to_world else matrices
        return FLIP @ poses if self.opengl else poses

    def matrices(self, cam_from_world: np.ndarray) -> np.ndarray:
        """(..., 4, 4) as a file of this convention holds them, of poses as Views has them."""
        poses = FLIP @ cam_from_world if self.opengl else cam_from_world
        return np.linalg.inv(poses) if self.camera_to_world else poses


WORLD_TO_CAMERA = Convention(camera_to_world=False, opengl=False)
CAMERA_TO_WORLD = Convention(camera_to_world=True, opengl=False)
CAMERA_TO_WORLD_OPENGL = Convention(camera_to_world=True, opengl=True)
CONVENTIONS = (WORLD_TO_CAMERA, CAMERA_TO_WORLD, CAMERA_TO_WORLD_OPENGL, Convention(camera_to_world=False, opengl=True))
