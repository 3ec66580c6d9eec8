"""Records of shapes to learn from, of random solids or of the user's own meshes: what stands in a set, see surfrecon.shape_set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np

from surfrecon.data_tools.families import FAMILIES, random_shape
from surfrecon.data_tools.rooms import room
from surfrecon.data_tools.shapes import Shape, mesh_of
from surfrecon.errors import InputError, SurfreconError
from surfrecon.geometry import Mesh, Similarity
from surfrecon.metrics import contains, sample_surface
from surfrecon.pictures import Scene
from surfrecon.shape_set import HALF, Record, directions

POINTS, PLACES = 12_288, 16_384
RESOLUTION = 64  # cells along a shape's box: its chords are off by less than a tenth of the noise of 0.005 that scans have
ROOMS, ROOM_RESOLUTION = "rooms", 192  # their walls are thinner
NEAR = (0.02, 0.06)  # standard deviations of places near the surface, a quarter of all each
LIFT = 1e-3  # of the longest side: from where on the surface a ray sets out
GRAZING = np.cos(np.radians(85))  # flatter than this nothing is seen
TRIES = 20  # of one seed, until a solid has a surface
AHEAD = 16  # shapes a worker is given at a time


def record_of(shape: Shape, family: int, rng: np.random.Generator, resolution: int = RESOLUTION) -> Record:
    """A record of a solid: its mesh gives the points, its own distance says what is inside."""
    mesh = mesh_of(shape, resolution)
    return _record(mesh, lambda p: shape.distance(p) < 0, family, rng)


def record_of_mesh(mesh: Mesh, rng: np.random.Generator, family: int = 0) -> Record:
    """A record of a watertight mesh.

    Raises:
        InputError: it isn't closed.
    """
    from surfrecon.repair import inspect

    if not inspect(mesh).solid:
        raise InputError("a mesh to learn from must be a closed solid: `surfrecon info` says what it lacks")
    return _record(mesh, lambda p: contains(p, mesh), family, rng)


def records(families: Sequence[str], count: int, *, seed: int, workers: int = 1) -> Iterator[Record]:
    """`count` random solids, one family after the other; the same for a seed, however many work at it.

    Raises:
        InputError: a family that doesn't exist.
    """
    for family in families:
        if family not in (*FAMILIES, ROOMS):
            raise InputError(f"there is no family {family!r}; choose among {', '.join(FAMILIES)}, {ROOMS}")
    make = partial(_random_record, tuple(families), seed)
    if workers == 1:
        yield from map(make, range(count))
        return
    with ProcessPoolExecutor(workers, initializer=_alone) as pool:
        yield from pool.map(make, range(count), chunksize=AHEAD)


def _alone() -> None:
    """One thread a worker: others would only wait for each other."""
    import torch

    torch.set_num_threads(1)


def _random_record(families: Sequence[str], seed: int, number: int) -> Record:
    family = number % len(families)
    for attempt in range(TRIES):
        rng = np.random.default_rng([seed, number, attempt])
        try:
            if families[family] == ROOMS:
                return record_of(room(rng), family, rng, ROOM_RESOLUTION)
            return record_of(random_shape(families[family], rng), family, rng)
        except SurfreconError as error:
            problem = error
    raise problem


def _record(mesh: Mesh, is_inside, family: int, rng: np.random.Generator) -> Record:
    low, high = mesh.bounds()
    scale = 1 / float((high - low).max())
    unit_from_mesh = Similarity(scale, -scale * (low + high) / 2)
    points, normals, _ = sample_surface(mesh, POINTS, int(rng.integers(2**31)))
    seen = _seen(mesh, points, normals, LIFT / scale)
    unit = unit_from_mesh.points(points)
    around = unit[rng.integers(len(unit), size=PLACES // 2)]
    around = around + np.repeat(NEAR, PLACES // 4)[:, None] * rng.standard_normal(around.shape)
    anywhere = rng.uniform(-HALF, HALF, (PLACES - len(around), 3))
    places = np.clip(np.concatenate([anywhere, around]), -HALF, HALF).astype(np.float16)
    inside = is_inside(unit_from_mesh.inverse().points(places.astype(float)))
    return Record(unit.astype(np.float16), seen, places, inside, family)


def _seen(mesh: Mesh, points: np.ndarray, normals: np.ndarray, lift: float) -> np.ndarray:
    """(N,) uint16: from which of the directions points are seen, nothing else being in the way."""
    seen, scene = np.zeros(len(points), np.uint16), Scene(mesh)
    for bit, direction in enumerate(directions()):
        facing = np.flatnonzero(normals @ direction > GRAZING)
        depth = scene.hits(points[facing] + lift * normals[facing], np.broadcast_to(direction, (len(facing), 3)))[0]
        seen[facing[~np.isfinite(depth)]] |= np.uint16(1 << bit)
    return seen
