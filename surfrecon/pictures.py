"""Pictures of meshes and clouds without OpenGL: rays by Embree, shading in numpy.

Letters: N rays or points, V vertices, H, W rows and columns of a picture. A camera's axes are right, down, forward (OpenCV's x, y, z);
the top left pixel covers [0, 1] x [0, 1], so that its centre is (0.5, 0.5). World frame as the mesh has it; Embree itself computes in
float32, so a scene is moved and scaled to its own box first and the distance of each hit is found again in float64.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from surfrecon import headroom
from surfrecon.errors import InputError
from surfrecon.geometry import Mesh, PointCloud, object_bounds

REFINE_LIMIT = 1e-4  # of the scene's radius: a float64 hit further from Embree's own is a grazing ray, and Embree's is kept
FINE = 2  # rays along each side of a pixel
BAND = 1 << 18  # rays at a time
FRAME = 1.08  # of the object's extent: free space around it
LIGHT = np.array([-0.40, -0.55, -1.0]) / np.linalg.norm([-0.40, -0.55, -1.0])  # towards the light: above the viewer's left shoulder
SKY, GROUND = 0.38, 0.16  # light that comes from everywhere, on what faces up and down in the picture
SUN = 0.72
GREY = (0.80, 0.80, 0.83)
INSIDE = (0.80, 0.55, 0.45)  # the back of a face: seen through a hole, or where a mesh is inside out
UNKNOWN = (0.6, 0.6, 0.6)  # the colour of NaN
VIRIDIS = np.array(  # nine samples of the colour map by Smith and van der Walt (2015, CC0): even steps look even
    [
        (68, 1, 84),
        (71, 44, 122),
        (59, 81, 139),
        (44, 113, 142),
        (33, 144, 141),
        (39, 173, 129),
        (92, 200, 99),
        (170, 220, 50),
        (253, 231, 37),
    ]
)
CREASE = np.cos(np.radians(20))  # a vertex normal further from its face's belongs to a sharp edge, and the face stays flat there
SPLAT_SPACINGS = 2.0  # side of a point's square, in spacings of the cloud
SPLAT_PIXELS = 12  # at most
PLANE_NEIGHBOURS = 12
SCENE_BYTES = 250_000_000, 250  # that Embree and its threads take (134 MB), and for each face (100 to 150); without them it crashes
SIDES = ("front", "right", "back", "left", "top", "bottom")


class Scene:
    """A mesh ready to be hit by rays."""

    def __init__(self, mesh: Mesh):
        self.mesh = mesh
        if not len(mesh.faces):
            return
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        headroom.demand(SCENE_BYTES[0] + SCENE_BYTES[1] * len(mesh.faces), f"a scene of {len(mesh.faces):,} faces")
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
    """A camera that looks at the middle of a box and just holds it.

    Attributes:
        toward: (3,) direction of sight, world frame.
        up: (3,) world direction that is up in the picture; another axis takes its place where the camera looks along it.
        size: width and height in pixels.
        angle: vertical field of view in radians; None for an orthographic picture.
    """

    toward: tuple[float, float, float] = (-0.6, 1.0, -0.5)
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    size: tuple[int, int] = (800, 600)
    angle: float | None = None

    def axes(self) -> np.ndarray:
        """(3, 3) rows right, down, forward: cam_from_world."""
        forward = np.asarray(self.toward, float)
        if not np.linalg.norm(forward) > 0:
            raise InputError(f"a camera needs a direction to look in, got {self.toward}")
        forward = forward / np.linalg.norm(forward)
        for up in (self.up, (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)):
            right = np.cross(forward, up)
            if np.linalg.norm(right) > 1e-6 * np.linalg.norm(up):
                break
        right = right / np.linalg.norm(right)
        return np.stack([right, np.cross(forward, right), forward])

    def place(self, bounds: np.ndarray) -> tuple[np.ndarray, float]:
        """(3,) the eye (middle of the image plane where orthographic) for a box (2, 3), and the pixels per unit of length (per unit of
        tangent where perspective)."""
        axes, (width, height) = self.axes(), self.size
        corners = np.stack(np.meshgrid(*(bounds - bounds.mean(0)).T, indexing="ij"), axis=-1).reshape(8, 3) @ axes.T
        extent = FRAME * np.abs(corners[:, :2])
        if self.angle is None:
            scale = 1 / max(float((2 * extent / (width, height)).max()), np.finfo(np.float32).tiny)
            back = 2 * np.linalg.norm(corners[0])
        else:
            scale = height / 2 / np.tan(self.angle / 2)
            back = max(float((2 * scale * extent / (width, height) - corners[:, 2:]).max()), np.finfo(np.float32).tiny)
        return bounds.mean(0) - back * axes[2], scale

    def rays(self, bounds: np.ndarray, rows: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """(N, 3) origins and (N, 3) unit directions through the pixel centres of all or some rows, from the top left, row by row."""
        (eye, scale), axes, (width, height) = self.place(bounds), self.axes(), self.size
        x, y = np.meshgrid(np.arange(width) + 0.5 - width / 2, (np.arange(height) + 0.5 - height / 2)[rows])
        across = np.stack([x.ravel(), y.ravel()], axis=1) @ axes[:2] / scale
        if self.angle is None:
            return eye + across, np.broadcast_to(axes[2], across.shape)
        directions = axes[2] + across
        return np.broadcast_to(eye, across.shape), directions / np.linalg.norm(directions, axis=1, keepdims=True)

    def project(self, points: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(N, 2) column and row of points in the picture, in pixels, and (N,) their depth along the camera's forward axis."""
        eye, scale = self.place(bounds)
        local = (points - eye) @ self.axes().T
        depth = local[:, 2]
        flat = local[:, :2] if self.angle is None else local[:, :2] / depth[:, None]
        return flat * scale + np.array(self.size) / 2, depth


def shaded(
    mesh: Mesh,
    camera: Camera | None = None,
    *,
    scene: Scene | None = None,
    colors: np.ndarray | None = None,
    smooth: bool = True,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """(H, W, 3) uint8 picture of a mesh, lit from above the viewer's left shoulder, 2 x 2 samples a pixel.

    Args:
        mesh: world frame.
        camera: where from; it frames the mesh's box.
        scene: of the same mesh, where several pictures are made.
        colors: (V, 3) sRGB in [0, 1]; None paints fronts grey and backs reddish.
        smooth: interpolate vertex normals, except across sharp edges; False shows the faces.
        background: sRGB in [0, 1].
    """
    (paint,), share = _layers(mesh, camera or Camera(), scene or Scene(mesh), [colors], smooth)
    return as_bytes(paint + (1 - share) * np.asarray(background, float))


def cut_outs(
    mesh: Mesh, camera: Camera | None = None, *, scene: Scene | None = None, paints: Sequence[np.ndarray | None] = (None,)
) -> list[np.ndarray]:
    """(H, W, 4) uint8 pictures as of shaded(), transparent where nothing is seen, one for each paint; further ones cost little.

    Args:
        paints: what `colors` is to shaded(), for each picture.
    """
    layers, share = _layers(mesh, camera or Camera(), scene or Scene(mesh), paints, True)
    return [as_bytes(np.concatenate([paint / np.maximum(share, np.finfo(float).tiny), share], axis=2)) for paint in layers]


def cloud_picture(
    cloud: PointCloud,
    camera: Camera | None = None,
    *,
    colors: np.ndarray | None = None,
    background: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> np.ndarray:
    """(H, W, 3) uint8 picture of points as squares somewhat larger than their spacing, the nearest on top, lit from either side.

    Args:
        cloud: world frame; without normals, those of planes through neighbours light it.
        camera: where from; it frames the box of the object, far outliers left out.
        colors: (N, 3) sRGB in [0, 1]; None takes the cloud's own, else grey.
        background: sRGB in [0, 1].
    Raises:
        InputError: no points.
    """
    camera, bounds = camera or Camera(), object_bounds(cloud.points)
    width, height = FINE * camera.size[0], FINE * camera.size[1]
    fine = replace(camera, size=(width, height))
    pixels, depth = fine.project(cloud.points, bounds)
    spacing = cloud.spacing() if len(cloud) > 1 else np.inf
    scale = fine.place(bounds)[1] / (1.0 if camera.angle is None else float(np.median(depth)))
    side = round(float(np.clip(SPLAT_SPACINGS * spacing * scale, FINE, FINE * SPLAT_PIXELS)))
    far_first = np.argsort(-depth)
    before = depth > 0 if camera.angle is not None else np.ones(len(cloud), bool)
    far_first = far_first[(before & (np.abs(pixels) < 2 * (width + height)).all(1))[far_first]]
    corner = np.floor(pixels[far_first] - (side - 1) / 2).astype(np.int64)
    top, depths = np.full(height * width, -1), np.append(depth, np.inf)  # row -1: nothing there
    for dx, dy in np.ndindex(side, side):
        x, y = corner[:, 0] + dx, corner[:, 1] + dy
        seen = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        layer = np.full(height * width, -1)
        layer[y[seen] * width + x[seen]] = far_first[seen]  # the last one, the nearest, stays
        top = np.where(depths[layer] < depths[top], layer, top)
    there = np.flatnonzero(top >= 0)
    point, row = np.unique(top[there], return_inverse=True)
    colors = cloud.colors if colors is None else np.asarray(colors, float)
    paint = np.broadcast_to(GREY, (len(point), 3)) if colors is None else colors[point]
    normals = (_plane_normals(cloud.points, point) if cloud.normals is None else cloud.normals[point]) @ camera.axes().T
    light = _light(np.where(normals[:, 2:] > 0, -normals, normals))
    picture = np.full((height * width, 3), background, float)
    picture[there] = np.clip(light[:, None] * paint, 0, 1)[row]
    return as_bytes(picture.reshape(height // FINE, FINE, width // FINE, FINE, 3).mean((1, 3)))


def six_sides(
    item: Mesh | PointCloud, *, size: tuple[int, int] = (800, 600), colors: np.ndarray | None = None, up: str = "z"
) -> np.ndarray:
    """(2 H, 3 W, 3) uint8 orthographic pictures from front, right, back (above), left, top, bottom (below), with their names.

    Args:
        item: a mesh or a cloud.
        size: of one picture, width and height in pixels.
        colors: one row per vertex or point, sRGB in [0, 1].
        up: "z" or "y". The front is seen along +y where z is up, along -z where y is.
    """
    cameras = side_cameras(size, up)
    if isinstance(item, Mesh):
        scene = Scene(item)
        tiles = [shaded(item, camera, scene=scene, colors=colors) for camera in cameras]
    else:
        tiles = [cloud_picture(item, camera, colors=colors) for camera in cameras]
    return contact_sheet(tiles, SIDES)


def side_cameras(size: tuple[int, int] = (800, 600), up: str = "z") -> list[Camera]:
    """Orthographic cameras for each of SIDES, see six_sides()."""
    if up not in ("y", "z"):
        raise InputError(f'up must be "y" or "z", got {up!r}')
    above, ahead = np.eye(3)["xyz".index(up)], np.array([0.0, 1.0, 0.0] if up == "z" else [0.0, 0.0, -1.0])
    right = np.cross(ahead, above)
    cameras = [Camera(tuple(look), tuple(above), size) for look in (ahead, -right, -ahead, right)]
    cameras += [Camera(tuple(look), tuple(ahead), size) for look in (-above, above)]
    return cameras


def contact_sheet(images: Sequence[np.ndarray], labels: Sequence[str] = (), *, columns: int = 3) -> np.ndarray:
    """(rows H, columns W, 3) uint8 sheet of pictures of one size (H, W, 3), row by row, each with its label in the upper left corner."""
    from PIL import Image, ImageDraw, ImageFont

    if not images or len({image.shape for image in images}) > 1:
        raise InputError(f"a contact sheet needs pictures of one size, got {[image.shape for image in images]}")
    height, width = images[0].shape[:2]
    columns = min(columns, len(images))
    sheet = Image.new("RGB", (columns * width, -(-len(images) // columns) * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(max(10, height // 30))
    for i, image in enumerate(images):
        corner = (i % columns * width, i // columns * height)
        sheet.paste(Image.fromarray(image), corner)
        if i < len(labels):
            draw.text((corner[0] + height // 60, corner[1] + height // 60), labels[i], fill=(70, 70, 70), font=font)
    return np.asarray(sheet)


def colormap(values: np.ndarray) -> np.ndarray:
    """(V, 3) sRGB colours of values in [0, 1], dark blue over green to yellow; grey for NaN. Values outside take the colour at the end."""
    values = np.asarray(values, float)
    place = np.clip(values, 0, 1) * (len(VIRIDIS) - 1)
    colors = np.stack([np.interp(place, np.arange(len(VIRIDIS)), channel / 255) for channel in VIRIDIS.T], axis=-1)
    return np.where(np.isnan(values)[..., None], UNKNOWN, colors)


def save_png(image: np.ndarray, path: str | Path) -> None:
    """Write a picture (H, W, 3) uint8; the file is there whole or not at all."""
    from PIL import Image

    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.png")
    try:
        with open(temporary, "xb") as file:
            Image.fromarray(image).save(file, format="PNG")
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _layers(
    mesh: Mesh, camera: Camera, scene: Scene, paints: Sequence[np.ndarray | None], smooth: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(P, H, W, 3) a mesh in each of P paints, black where nothing is seen, and (H, W, 1) the share of each pixel in which something is."""
    width, height = camera.size
    fine, step = replace(camera, size=(FINE * width, FINE * height)), max(1, BAND // (FINE**2 * width))
    face_normals, vertex_normals = _unit(mesh.area_vectors()), mesh.vertex_normals()
    layers, share = np.empty((len(paints), height, width, 3)), np.empty((height, width, 1))
    means = lambda band: band.reshape(-1, FINE, FINE * width * band.shape[-1]).mean(1).reshape(-1, width, FINE, band.shape[-1]).mean(2)
    bounds = mesh.bounds() if len(mesh.vertices) else np.zeros((2, 3))
    for row in range(0, height, step):
        origins, directions = fine.rays(bounds, slice(FINE * row, FINE * (row + step)))
        _, face, weights = scene.hits(origins, directions)
        hit = np.flatnonzero(face >= 0)
        share[row : row + step] = means((face >= 0).astype(float)[:, None])
        face, weights = face[hit], weights[hit]
        normals, corners = face_normals[face], mesh.faces[face]
        behind = np.einsum("ni,ni->n", normals, directions[hit]) > 0
        if smooth:
            around = vertex_normals[corners]
            sharp = np.einsum("nki,ni->nk", around, normals) < CREASE
            normals = _unit(np.einsum("nk,nki->ni", weights, np.where(sharp[..., None], normals[:, None], around)))
        light = _light(np.where(behind[:, None], -normals, normals) @ camera.axes().T)
        for layer, colors in zip(layers, paints):
            paint = np.where(behind[:, None], INSIDE, GREY) if colors is None else np.einsum("nk,nki->ni", weights, colors[corners])
            band = np.zeros((len(origins), 3))
            band[hit] = np.clip(light[:, None] * paint, 0, 1)
            layer[row : row + step] = means(band)
    return layers, share


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), np.finfo(float).tiny)


def _light(normals: np.ndarray) -> np.ndarray:
    """(N,) brightness of normals in camera axes: Lambert's cosine, and a little from the sky."""
    return SUN * np.maximum(normals @ LIGHT, 0) + GROUND + (SKY - GROUND) * (1 - normals[:, 1]) / 2


def _plane_normals(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """(R, 3) unit normals, of either sign, of the planes through the neighbours of some points (N, 3)."""
    near = cKDTree(points).query(points[rows], min(PLANE_NEIGHBOURS, len(points)), workers=-1)[1].reshape(len(rows), -1)
    arms = points[near] - points[near].mean(1, keepdims=True)
    return np.linalg.eigh(np.einsum("rki,rkj->rij", arms, arms))[1][..., 0]


def as_bytes(picture: np.ndarray) -> np.ndarray:
    """A picture of numbers in [0, 1], clipped to them, as uint8."""
    return (255 * np.clip(picture, 0, 1) + 0.5).astype(np.uint8)
