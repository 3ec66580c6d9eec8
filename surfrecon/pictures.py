"""Pictures of meshes and clouds without OpenGL: rays by Embree, shading in numpy.

Letters: N rays or points, H, W rows and columns of a picture. World frame as the mesh has it; Embree itself computes in float32, so a
scene is moved and scaled to its own box first and the distance of each hit is found again in float64.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from surfrecon.geometry import Mesh

REFINE_LIMIT = 1e-4  # of the scene's radius: a float64 hit further from Embree's own is a grazing ray, and Embree's is kept

FRAME = 1.08  # of the object's box: free space around it
LIGHT = np.array([-0.35, -0.45, -1.0])  # towards the light, in the camera's right, down, forward
AMBIENT = 0.25
GREY = np.array([0.82, 0.82, 0.85])
BACKGROUND = np.array([1.0, 1.0, 1.0])
ANCHORS = np.array([[0.20, 0.05, 0.35], [0.15, 0.35, 0.60], [0.10, 0.60, 0.55], [0.55, 0.80, 0.30], [0.98, 0.92, 0.25]])


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


@dataclass(frozen=True)
class Camera:
    """An orthographic camera that looks at the middle of a box.

    Attributes:
        toward: (3,) direction of sight, world frame.
        up: (3,) world direction that is up in the picture.
        size: width and height in pixels.
    """

    toward: tuple[float, float, float]
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    size: tuple[int, int] = (800, 600)

    def rays(self, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(H W, 3) origins and (H W, 3) directions, row by row from the top left, and the (3, 3) rows right, down, forward."""
        forward = np.asarray(self.toward, float) / np.linalg.norm(self.toward)
        right = np.cross(forward, self.up)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(forward, right), forward])
        width, height = self.size
        half = np.abs(axes) @ np.ptp(bounds, axis=0) / 2
        pixel = FRAME * max(2 * half[0] / width, 2 * half[1] / height)
        x, y = np.meshgrid((np.arange(width) + 0.5 - width / 2) * pixel, (np.arange(height) + 0.5 - height / 2) * pixel)
        depth = np.full(x.size, -2 * np.linalg.norm(half))
        origins = bounds.mean(0) + np.stack([x.ravel(), y.ravel(), depth], axis=1) @ axes
        return origins, np.broadcast_to(forward, origins.shape), axes


def shaded(mesh: Mesh, camera: Camera, *, scene: Scene | None = None, colors: np.ndarray | None = None) -> np.ndarray:
    """(H, W, 3) uint8 picture: vertex normals in a head light that stands a little up and to the left, 2 x 2 samples a pixel.

    Args:
        mesh: world frame.
        camera: where from.
        scene: of the same mesh, where several pictures are made.
        colors: (V, 3) in [0, 1]; None paints it grey.
    """
    width, height = camera.size
    fine = replace(camera, size=(2 * width, 2 * height))
    origins, directions, axes = fine.rays(mesh.bounds())
    _, face, weights = (scene or Scene(mesh)).hits(origins, directions)
    hit = np.flatnonzero(face >= 0)
    corners = mesh.faces[face[hit]]
    normal = np.einsum("nk,nki->ni", weights[hit], mesh.vertex_normals()[corners])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), np.finfo(float).tiny)
    light = LIGHT @ axes
    bright = AMBIENT + (1 - AMBIENT) * np.abs(normal @ light / np.linalg.norm(light))
    paint = GREY if colors is None else np.einsum("nk,nki->ni", weights[hit], colors[corners])
    picture = np.full((len(face), 3), BACKGROUND)
    picture[hit] = np.clip(bright[:, None] * paint, 0, 1)
    picture = picture.reshape(height, 2, width, 2, 3).mean((1, 3))
    return (255 * picture + 0.5).astype(np.uint8)


def colormap(values: np.ndarray) -> np.ndarray:
    """(V, 3) colours of values in [0, 1]: dark blue over green to yellow, of rising brightness."""
    place = np.clip(values, 0, 1) * (len(ANCHORS) - 1)
    return np.stack([np.interp(place, np.arange(len(ANCHORS)), ANCHORS[:, axis]) for axis in range(3)], axis=1)


def six_sides(mesh: Mesh, *, size: tuple[int, int] = (800, 600), colors: np.ndarray | None = None) -> np.ndarray:
    """(2 H, 3 W, 3) uint8 pictures from front, right, back (above), left, top, bottom (below)."""
    scene = Scene(mesh)
    looks = [(0, 1, 0), (-1, 0, 0), (0, -1, 0), (1, 0, 0), (0, 0, -1), (0, 0, 1)]
    tiles = [shaded(mesh, Camera(look, (0, 1, 0) if look[2] else (0, 0, 1), size), scene=scene, colors=colors) for look in looks]
    return np.concatenate([np.concatenate(tiles[:3], axis=1), np.concatenate(tiles[3:], axis=1)], axis=0)
