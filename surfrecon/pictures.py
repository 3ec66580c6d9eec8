"""Pictures of meshes and clouds without OpenGL: rays by Embree, shading in numpy.

Letters: N rays or points, H, W rows and columns of a picture. World frame as the mesh has it; Embree itself computes in float32, so a
scene is moved and scaled to its own box first and the distance of each hit is found again in float64.
"""

from __future__ import annotations

import numpy as np

from surfrecon.geometry import Mesh

REFINE_LIMIT = 1e-4  # of the scene's radius: a float64 hit further from Embree's own is a grazing ray, and Embree's is kept


class Scene:
    """A mesh ready to be hit by rays."""

    def __init__(self, mesh: Mesh):
        self.mesh = mesh
        if not len(mesh.faces):
            return
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        low, high = mesh.bounds()
        self.centre = (low + high) / 2
        self.radius = max(float(np.linalg.norm(high - low)) / 2, np.finfo(np.float32).tiny)
        self.corners = (mesh.triangles() - self.centre) / self.radius  # float64, in the ball of radius 1
        self.normals = np.cross(self.corners[:, 1] - self.corners[:, 0], self.corners[:, 2] - self.corners[:, 0])
        vertices = ((mesh.vertices - self.centre) / self.radius).astype(np.float32)
        self.embree = EmbreeScene(robust=True)  # no ray slips between two faces
        TriangleMesh(self.embree, vertices, np.ascontiguousarray(mesh.faces, np.int32))

    def hits(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The first face that each ray meets.

        Args:
            origins: (N, 3) world frame.
            directions: (N, 3) of any length > 0.
        Returns:
            (N,) distance in world units, inf where nothing is hit; (N,) face, -1 where none; (N, 3) weights of the face's corners, zero
            where none.
        """
        count = len(origins)
        distance, face, weights = np.full(count, np.inf), np.full(count, -1, np.int64), np.zeros((count, 3))
        if not (count and len(self.mesh.faces)):
            return distance, face, weights
        origins = (np.asarray(origins, float) - self.centre) / self.radius
        directions = np.asarray(directions, float)
        directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        # Rays start where they enter the ball around the scene: far origins would cost float32 its digits.
        ahead = np.maximum(-np.einsum("ni,ni->n", origins, directions) - 1.0 - REFINE_LIMIT, 0.0)
        origins = origins + ahead[:, None] * directions
        found = self.embree.run(origins.astype(np.float32), directions.astype(np.float32), output=1)
        row = np.flatnonzero(found["primID"] >= 0)
        face[row] = found["primID"][row]
        u, v = found["u"][row].astype(float), found["v"][row].astype(float)
        weights[row] = np.stack([1 - u - v, u, v], axis=1)
        rough = found["tfar"][row].astype(float)
        normal = self.normals[face[row]]
        slope = np.einsum("ni,ni->n", normal, directions[row])
        with np.errstate(divide="ignore", invalid="ignore"):
            exact = np.einsum("ni,ni->n", normal, self.corners[face[row], 0] - origins[row]) / slope
            exact = np.where(np.abs(exact - rough) < REFINE_LIMIT, exact, rough)
        distance[row] = (exact + ahead[row]) * self.radius
        return distance, face, weights


def cast_rays(mesh: Mesh, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) distance to the first face along each ray, inf where nothing is hit, and (N,) that face, -1 where none. See Scene.hits."""
    distance, face, _ = Scene(mesh).hits(origins, directions)
    return distance, face
