"""Photographs of meshes: colour, mask, depth and normals at given cameras by rays, without a display, the same bytes on every run.

Letters: V views, H, W rows and columns, N rays or pixels, S rays of one pixel. Pixels, axes and depth as in surfrecon.views. Light is
summed and averaged as it is, linear, and only then encoded as sRGB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from surfrecon.data_tools.textures import Texture
from surfrecon.errors import InputError
from surfrecon.geometry import Mesh
from surfrecon.pictures import CREASE, GREY, Scene
from surfrecon.views import Views

BAND = 1 << 18  # rays at a time
MOST_SAMPLES = 16  # rays along each side of a pixel
HALF = 0.5  # share of a pixel's rays above which it belongs to the mask


@dataclass(frozen=True)
class Lamp:
    """Light from infinitely far: (3,) direction towards it, of any length > 0, world frame, and its strength."""

    toward: tuple[float, float, float]
    strength: float


@dataclass(frozen=True)
class Light:
    """How a surface of albedo a and normal n shines towards the viewer v, without shadows:

        a (ambient + sum over lamps of strength max(n . l, 0)) + gloss * sum of strength max(n . h, 0)^sharpness, h halfway of l and v

    Attributes:
        lamps: fixed in the world; the second keeps relief visible on the side that the first leaves dark.
        sky, ground: ambient light on what faces up (+z) and down.
        gloss: 0 for a surface that looks the same from everywhere.
        sharpness: exponent of the highlight.
    Source: Blinn, Models of light reflection for computer synthesized pictures, 1977.
    """

    lamps: tuple[Lamp, ...] = (Lamp((0.5, -0.6, 0.8), 0.85), Lamp((-0.7, 0.4, -0.5), 0.40))
    sky: float = 0.35
    ground: float = 0.25
    gloss: float = 0.08
    sharpness: float = 24.0

    def shine(self, albedo: np.ndarray, normals: np.ndarray, toward_viewer: np.ndarray) -> np.ndarray:
        """(N, 3) linear colours of (N, 3) linear albedos; normals and directions are (N, 3) unit vectors."""
        diffuse = self.ground + (self.sky - self.ground) * (1 + normals[:, 2]) / 2
        highlight = np.zeros(len(normals))
        for lamp in self.lamps:
            toward = _unit(np.asarray(lamp.toward, float))
            facing = np.maximum(normals @ toward, 0)
            diffuse = diffuse + lamp.strength * facing
            between = np.maximum(np.einsum("ni,ni->n", normals, _unit(toward + toward_viewer)), 0)
            highlight += lamp.strength * np.where(facing > 0, between**self.sharpness, 0)
        return albedo * diffuse[:, None] + self.gloss * highlight[:, None]


@dataclass(frozen=True, eq=False)
class Rendering:
    """Photographs and what else is true of them.

    Attributes:
        views: with masks and depths.
        normals: V arrays (H, W, 3) float32, unit, world frame; zero where the ray through a pixel's middle meets nothing.
    """

    views: Views
    normals: tuple[np.ndarray, ...]


def render(
    mesh: Mesh,
    cameras: Views,
    *,
    texture: Texture | None = None,
    rest: np.ndarray | None = None,
    light: Light | None = None,
    samples: int = 3,
    background: tuple[float, float, float] | None = None,
) -> Rendering:
    """What cameras see of a mesh.

    A pixel's colour is the mean over those of its rays that meet the mesh; it is in the mask where more than half of them do. Depth and
    normal are those that the ray through its middle finds, and 0 where that meets nothing: exact, not averaged, along the rim as well.

    Args:
        mesh: world frame; its normals shade it, else those of its faces' means; edges sharper than CREASE stay sharp.
        cameras: of which the images are left aside.
        texture: solid, sRGB; None takes the colours of the vertices, else grey.
        rest: (V, 3) vertices where the texture sits, for a mesh that has moved; None for where the mesh is.
        light: None for the default lamps.
        samples: rays along each side of a pixel.
        background: sRGB in [0, 1] on which the object is composed; None leaves black what is no object, and the rim unmixed.
    Raises:
        InputError: a mesh without faces, samples out of range, rest vertices that aren't the mesh's.
    """
    if not len(mesh.faces):
        raise InputError("the mesh to photograph has no faces")
    if not 1 <= samples <= MOST_SAMPLES:
        raise InputError(f"samples must be 1 to {MOST_SAMPLES} rays along a pixel's side, got {samples}")
    if rest is not None and np.shape(rest) != mesh.vertices.shape:
        raise InputError(f"rest must hold the mesh's {len(mesh.vertices)} vertices, got {np.shape(rest)}")
    surface = _Surface(mesh, texture, mesh.vertices if rest is None else np.asarray(rest, float), light or Light())
    shown = [_photograph(surface, cameras, view, samples, background) for view in range(len(cameras))]
    images, masks, depths, normals = (tuple(maps) for maps in zip(*shown))
    return Rendering(replace(cameras, images=images, masks=masks, depths=depths), normals)


class _Surface:
    """A mesh ready to be hit and to shine."""

    def __init__(self, mesh: Mesh, texture: Texture | None, rest: np.ndarray, light: Light):
        self.mesh, self.texture, self.rest, self.light = mesh, texture, rest, light
        self.scene = Scene(mesh)
        self.face_normals = _unit(mesh.area_vectors())
        self.vertex_normals = mesh.vertex_normals() if mesh.normals is None else mesh.normals

    def normals(self, face: np.ndarray, weights: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(N, 3) unit normals, on the side that the rays come from."""
        flat, around = self.face_normals[face], self.vertex_normals[self.mesh.faces[face]]
        sharp = np.einsum("nki,ni->nk", around, flat) < CREASE
        normals = _unit(np.einsum("nk,nki->ni", weights, np.where(sharp[..., None], flat[:, None], around)))
        behind = np.einsum("ni,ni->n", flat, directions) > 0
        return np.where(behind[:, None], -normals, normals)

    def shine(self, face: np.ndarray, weights: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(N, 3) linear colours."""
        corners = self.mesh.faces[face]
        if self.texture is not None:
            paint = self.texture(np.einsum("nk,nki->ni", weights, self.rest[corners]))
        elif self.mesh.colors is not None:
            paint = np.einsum("nk,nki->ni", weights, self.mesh.colors[corners])
        else:
            paint = np.broadcast_to(GREY, (len(face), 3))
        return self.light.shine(linear(paint), self.normals(face, weights, directions), -directions)


def _photograph(surface: _Surface, cameras: Views, view: int, samples: int, background) -> tuple[np.ndarray, ...]:
    """Image, mask, depth and normals of one view."""
    width, height = cameras.sizes[view]
    shine, share = np.zeros((height * width, 3)), np.zeros(height * width)
    depth, normals = np.zeros(height * width, np.float32), np.zeros((height * width, 3), np.float32)
    fine = (np.arange(samples) + 0.5) / samples - 0.5
    offsets = np.stack(np.meshgrid(fine, fine), axis=-1).reshape(-1, 2)
    for pixel, middles in _covered(surface.mesh, cameras, view, BAND // samples**2):
        origins, directions = cameras.rays(view, middles)
        distance, face, weights = surface.scene.hits(origins, directions)
        hit = face >= 0
        depth[pixel[hit]] = distance[hit] * (directions[hit] @ cameras.directions[view])
        normals[pixel[hit]] = surface.normals(face[hit], weights[hit], directions[hit])
        origins, directions = cameras.rays(view, (middles[:, None] + offsets).reshape(-1, 2))
        _, face, weights = surface.scene.hits(origins, directions)
        hit = np.flatnonzero(face >= 0)
        colors = np.zeros((len(face), 3))
        colors[hit] = np.clip(surface.shine(face[hit], weights[hit], directions[hit]), 0, 1)
        hits = (face >= 0).reshape(len(pixel), -1).sum(axis=1)
        share[pixel] = hits / samples**2
        shine[pixel] = colors.reshape(len(pixel), -1, 3).sum(axis=1) / np.maximum(hits, 1)[:, None]
    if background is not None:
        shine = share[:, None] * shine + (1 - share[:, None]) * linear(np.asarray(background, float))
    shape = (height, width)
    image = (255 * encoded(shine) + 0.5).astype(np.uint8).reshape(*shape, 3)
    return image, (share > HALF).reshape(shape), depth.reshape(shape), normals.reshape(*shape, 3)


def _covered(mesh: Mesh, cameras: Views, view: int, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Numbers (N,) and middles (N, 2) of the pixels that may see the mesh, `most` at a time: those in the box around its vertices."""
    size = cameras.sizes[view]
    place, depth = cameras.project(view, mesh.vertices)
    low, high = np.zeros(2, int), size
    if (depth > 0).all():
        low = np.clip(np.floor(place.min(0)), 0, size).astype(int)
        high = np.clip(np.ceil(place.max(0)), 0, size).astype(int)
    x, y = np.arange(low[0], high[0]), np.arange(low[1], high[1])
    pixel = (y[:, None] * size[0] + x).ravel()
    for start in range(0, len(pixel), max(1, most)):
        part = pixel[start : start + max(1, most)]
        yield part, np.stack([part % size[0], part // size[0]], axis=1) + 0.5


def linear(srgb: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values in [0, 1] (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((np.maximum(srgb, 0) + 0.055) / 1.055) ** 2.4)


def encoded(light: np.ndarray) -> np.ndarray:
    """sRGB values of linear light in [0, 1] (IEC 61966-2-1)."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), np.finfo(float).tiny)
