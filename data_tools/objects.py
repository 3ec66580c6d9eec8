"""Objects to photograph: a solid by its signed distance, a solid texture, and a closed mesh whose vertices lie on the surface.

Conventions as in shapes.py. What photographs must show and silhouettes cannot: hollows, which no outline ever reveals, and relief.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from surfrecon.data_tools.shapes import Shape, box, capsule, embossed, mesh_of, smooth_difference, sphere, torus
from surfrecon.data_tools.textures import Texture, stone
from surfrecon.errors import InputError
from surfrecon.geometry import Mesh

NEWTON_STEPS = 4  # onto the surface, from within half a cell
GRADIENT_STEP = 1e-6  # of the box's longest side, for central differences
BATCH = 1 << 17  # points at a time
RIM = 0.16  # rounding of the hollows' rims

TILE = 0.34  # period of the relic's raised tiles
TILE_HEIGHT = 0.016
TILE_EDGE = 0.8  # how soft their edges are: 1 would be a wave
WAVES = 5
WAVE_LENGTH = 0.18
WAVE_HEIGHT = 0.006  # all waves together, at most


@dataclass(frozen=True, eq=False)
class Object:
    """A solid and its colours, in one frame."""

    shape: Shape
    texture: Texture

    def mesh(self, resolution: int = 256) -> Mesh:
        """The closed surface with exact normals and the texture's colours at its vertices.

        Vertices lie on the surface to about 1e-9 of its size; faces are chords, so they lie off it by (their length)^2 / 8 R, R being the
        radius of curvature. `chord_errors` measures that.
        """
        mesh = mesh_of(self.shape, resolution)
        parts = [_onto(self.shape, mesh.vertices[i : i + BATCH]) for i in range(0, len(mesh.vertices), BATCH)]
        vertices, normals = (np.concatenate(part) for part in zip(*parts))
        return replace(mesh, vertices=vertices, normals=normals, colors=self.texture(vertices).astype(np.float32))


def chord_errors(shape: Shape, mesh: Mesh) -> np.ndarray:
    """(F,) distance from the middle of each face to the surface, to first order, world units: |distance| / |gradient|."""
    middles = mesh.triangles().mean(axis=1)
    parts = []
    for i in range(0, len(middles), BATCH):
        part = middles[i : i + BATCH]
        parts.append(np.abs(shape.distance(part)) / np.linalg.norm(_gradient(shape, part), axis=1))
    return np.concatenate(parts)


def _gradient(shape: Shape, p: np.ndarray) -> np.ndarray:
    step = GRADIENT_STEP * np.ptp(shape.bounds, axis=0).max()
    return np.stack([shape.distance(p + step * axis) - shape.distance(p - step * axis) for axis in np.eye(3)], axis=1) / (2 * step)


def _onto(shape: Shape, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points moved along the gradient onto the surface, and the unit normals there."""
    for _ in range(NEWTON_STEPS):
        gradient = _gradient(shape, p)
        p = p - (shape.distance(p) / np.einsum("ni,ni->n", gradient, gradient))[:, None] * gradient
    gradient = _gradient(shape, p)
    return p, gradient / np.linalg.norm(gradient, axis=1, keepdims=True)


def relic(seed: int = 0) -> Object:
    """A rounded block, 1.7 x 1.6 x 1.7, with a bowl in its top, a round dent, a trough and a blind bore in its sides and a moat in its
    foot; raised tiles and waves all over, in the hollows too; of layered stone. The seed moves relief and texture.
    """
    solid = box([1.7, 1.6, 1.7], rounding=0.3)
    hollows = [
        sphere(0.47).moved([0.0, 0.0, 0.74]),  # 0.58 deep, 0.9 wide
        sphere(0.36).moved([0.86, 0.05, -0.1]),
        capsule([-0.85, -0.3, -0.25], [-0.85, 0.3, 0.25], 0.24),
        capsule([0.1, -0.9, 0.0], [0.1, -0.45, 0.0], 0.21),  # 0.56 deep, 0.42 wide
        torus(0.36, 0.16).moved([0.0, 0.0, -0.85]),
    ]
    for hollow in hollows:
        solid = smooth_difference(solid, hollow, RIM)
    rng = np.random.default_rng(seed)
    phases = rng.uniform(0, 2 * np.pi, 3)
    vectors = rng.standard_normal((WAVES, 3))
    vectors *= 2 * np.pi / WAVE_LENGTH / np.linalg.norm(vectors, axis=1, keepdims=True)
    turns = rng.uniform(0, 2 * np.pi, WAVES)
    pitch = 2 * np.pi / TILE

    def relief(p: np.ndarray) -> np.ndarray:
        tiles = np.tanh(np.cos(pitch * p + phases).sum(axis=1) / TILE_EDGE)
        waves = np.sin(p @ vectors.T + turns).mean(axis=1)
        return TILE_HEIGHT * tiles + WAVE_HEIGHT * waves

    slope = TILE_HEIGHT / TILE_EDGE * np.sqrt(3) * pitch + WAVE_HEIGHT * 2 * np.pi / WAVE_LENGTH
    shape = embossed(solid, relief, TILE_HEIGHT + WAVE_HEIGHT, slope)
    return Object(shape, stone(shape.bounds, seed))


OBJECTS: dict[str, Callable[[int], Object]] = {"relic": relic}


def named_object(name: str, seed: int = 0) -> Object:
    """An object by its name in OBJECTS.

    Raises:
        InputError: no such object.
    """
    if name not in OBJECTS:
        raise InputError(f"there is no object {name!r}; choose one of {', '.join(OBJECTS)}")
    return OBJECTS[name](seed)
