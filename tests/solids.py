"""Meshes that tests share."""

import numpy as np
import trimesh

from surfrecon.geometry import Mesh

FAR = np.array([8e5, 5.8e6, 100.0])  # a place in UTM


def ball(radius=1.0, centre=(0.0, 0.0, 0.0), *, level: int = 5) -> Mesh:
    """A sphere about `centre`, or an ellipsoid where `radius` is three half axes; 20 * 4^level faces, vertices on the surface."""
    made = trimesh.creation.icosphere(level)
    return Mesh(made.vertices * radius + np.asarray(centre, float), made.faces)


def together(*meshes: Mesh) -> Mesh:
    """Several meshes as one."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = [mesh.faces + start for mesh, start in zip(meshes, starts)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces))


def wavy_sheet(side: int = 60) -> Mesh:
    """An open, wavy sheet of 2 (side - 1)^2 faces over the unit square."""
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    faces = np.concatenate([np.stack([corner, corner + 1, corner + side], 1), np.stack([corner + 1, corner + side + 1, corner + side], 1)])
    return Mesh(np.column_stack([x.ravel(), y.ravel(), 0.1 * np.sin(6 * x.ravel()) * np.cos(5 * y.ravel())]), faces)
