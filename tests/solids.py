"""Meshes that tests share."""

import numpy as np
import trimesh

from surfrecon.geometry import Mesh


def ball(radius=1.0, centre=(0.0, 0.0, 0.0), *, level: int = 5) -> Mesh:
    """A sphere about `centre`, or an ellipsoid where `radius` is three half axes; 20 * 4^level faces, vertices on the surface."""
    made = trimesh.creation.icosphere(level)
    return Mesh(made.vertices * radius + np.asarray(centre, float), made.faces)


def together(*meshes: Mesh) -> Mesh:
    """Several meshes as one."""
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = [mesh.faces + start for mesh, start in zip(meshes, starts)]
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]), np.concatenate(faces))
