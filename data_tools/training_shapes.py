"""Records of shapes to learn from, of random solids or of the user's own meshes: what stands in a set, see surfrecon.shape_set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
from scipy.spatial.transform import Rotation

from surfrecon.data_tools.families import FAMILIES, random_shape
from surfrecon.data_tools.rooms import room
from surfrecon.data_tools.scanner import GRAZING_LOST
from surfrecon.data_tools.shapes import Shape, mesh_of
from surfrecon.errors import InputError, SurfreconError
from surfrecon.geometry import Mesh, Similarity, directions_around
from surfrecon.metrics import contains, sample_surface
from surfrecon.pictures import Scene
from surfrecon.shape_set import HALF, UNIT, VIEWS, Record

RESOLUTION = 64  # cells along a shape's box: its chords are off by less than a tenth of the noise of 0.005 that scans have
POINTS, PLACES = 12_288, 16_384
ROOMS = "rooms"
ROOM_RESOLUTION, ROOM_POINTS, ROOM_PLACES = 192, 65_536, 65_536  # walls are thin, and windows of a room learnt from one by one
EYES = (1.2, 3.0)  # longest sides from the middle of a shape's box to an eye
EYE_HEIGHTS, CLEAR = (1.0, 2.0), 0.2  # metres above a room's floor, and to what is nearest
NEAR = (0.02, 0.06)  # standard deviations of places near the surface, a quarter of all each
LIFT = 1e-3  # of the longest side: from where on the surface a ray sets out
TRIES = 20  # of one seed, until a solid has a surface
AHEAD = 16  # shapes a worker is given at a time


def record_of(shape: Shape, family: int, rng: np.random.Generator, resolution: int = RESOLUTION) -> Record:
    """A record of a solid: its mesh gives the points, its own distance says what is inside."""
    return _record(mesh_of(shape, resolution), lambda p: shape.distance(p) < 0, family, rng, _eyes_around(rng))


def record_of_room(shape: Shape, family: int, rng: np.random.Generator) -> Record:
    """A record of a room in metres, its floor at z = 0: seen from within."""
    mesh = mesh_of(shape, ROOM_RESOLUTION)
    eyes = _unit_frame(*mesh.bounds()).points(eyes_within(shape, VIEWS, rng))
    return _record(mesh, lambda p: shape.distance(p) < 0, family, rng, eyes, ROOM_POINTS, ROOM_PLACES)


def eyes_within(shape: Shape, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 3) places in a room where a scanner may stand."""
    (low, high), eyes = shape.bounds, np.empty((0, 3))
    while len(eyes) < count:
        some = rng.uniform([*low[:2], EYE_HEIGHTS[0]], [*high[:2], EYE_HEIGHTS[1]], (4 * count, 3))
        eyes = np.concatenate([eyes, some[shape.distance(some) > CLEAR]])
    return eyes[:count]


def record_of_mesh(mesh: Mesh, rng: np.random.Generator, family: int = 0) -> Record:
    """A record of a watertight mesh.

    Raises:
        InputError: it isn't closed.
    """
    from surfrecon.repair import inspect

    if not inspect(mesh).solid:
        raise InputError("a mesh to learn from must be a closed solid: `surfrecon info` says what it lacks")
    return _record(mesh, lambda p: contains(p, mesh), family, rng, _eyes_around(rng))


def records(families: Sequence[str], count: int, *, seed: int, workers: int = 1) -> Iterator[Record]:
    """`count` random solids, one family after the other; the same for a seed, however many work at it.

    Raises:
        InputError: a family that doesn't exist.
    """
    for family in families:
        if family not in (*FAMILIES, ROOMS):
            raise InputError(f"there is no family {family!r}; choose among {', '.join(FAMILIES)}, {ROOMS}")
    if ROOMS in families and len(families) > 1:
        raise InputError(f"{ROOMS} have more points than other families; make a set of them alone")
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
                return record_of_room(room(rng), family, rng)
            return record_of(random_shape(families[family], rng), family, rng)
        except SurfreconError as error:
            problem = error
    raise problem


def _eyes_around(rng: np.random.Generator) -> np.ndarray:
    """(VIEWS, 3) places all around an object, in its unit frame, some nearer than others."""
    turned = Rotation.random(random_state=rng).apply(directions_around(VIEWS))
    return turned * rng.uniform(*EYES, (VIEWS, 1))


def _unit_frame(low: np.ndarray, high: np.ndarray) -> Similarity:
    """To the frame of a record: in longest sides, from the middle of the box."""
    scale = 1 / float((high - low).max())
    return Similarity(scale, -scale * (low + high) / 2)


def _record(
    mesh: Mesh, is_inside, family: int, rng: np.random.Generator, eyes: np.ndarray, n_points: int = POINTS, n_places: int = PLACES
) -> Record:
    """Args: is_inside: (N, 3) points in the mesh's frame -> (N,) bool. eyes: (VIEWS, 3) in the record's frame."""
    unit_from_mesh = _unit_frame(*mesh.bounds())
    points, normals, _ = sample_surface(mesh, n_points, int(rng.integers(2**31)))
    seen = seen_from(mesh, points, normals, unit_from_mesh.inverse().points(eyes), LIFT / unit_from_mesh.scale)
    unit = unit_from_mesh.points(points)
    around = unit[rng.integers(len(unit), size=n_places // 2)]
    around = around + np.repeat(NEAR, n_places // 4)[:, None] * rng.standard_normal(around.shape)
    anywhere = rng.uniform(-HALF, HALF, (n_places - len(around), 3))
    places = np.clip(np.concatenate([anywhere, around]), -HALF, HALF).astype(np.float16)
    inside = is_inside(unit_from_mesh.inverse().points(places.astype(float)))
    kept = np.round(UNIT * normals).astype(np.int8)
    return Record(unit.astype(np.float16), kept, eyes.astype(np.float16), seen, places, inside, family)


def seen_from(mesh: Mesh, points: np.ndarray, normals: np.ndarray, eyes: np.ndarray, lift: float) -> np.ndarray:
    """(N,) uint16, bit k: a point is seen from eye k, nothing else being in the way.

    Args:
        points, normals: (N, 3), on the mesh and in its frame, as all is here.
        eyes: (K, 3), 16 at most.
        lift: how far from the surface rays set out, in the mesh's units.
    """
    seen, scene, start = np.zeros(len(points), np.uint16), Scene(mesh), points + lift * normals
    for bit, eye in enumerate(eyes):
        ray = eye - start
        distance = np.linalg.norm(ray, axis=1)
        facing = np.flatnonzero(np.einsum("ni,ni->n", normals, ray) > GRAZING_LOST * distance)
        depth = scene.hits(start[facing], ray[facing] / distance[facing, None])[0]
        seen[facing[depth > distance[facing]]] |= np.uint16(1 << bit)
    return seen
