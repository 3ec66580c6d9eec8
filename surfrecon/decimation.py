"""Fewer faces for the same surface, by quadric error metrics: a mesh that was closed and manifold stays so.

Coordinates are local to the mesh's box throughout, so that large offsets cost no digits. Letters: P points, F faces.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from surfrecon import headroom
from surfrecon.errors import InputError
from surfrecon.geometry import Mesh
from surfrecon.metrics import closest, sample_surface
from surfrecon.repair import MeshReport, inspect

LEAST_FACES = 4  # of a solid
GENTLER = 5.0  # times as many faces are kept at most where fewer would not stay closed and manifold, unless COARSEST forbids it
COARSEST = 0.004  # of the longest side: by so much a solid's simplified surface may be off where collapses are to be gentle
TRIES = ((1.0, 3), (1.0, 5), (0.97, 4), (1.0, 7), (1.05, 5), (1.15, 6), (1.3, 5))  # times as many faces, and how greedily: see decimated()
ENOUGH = 1.02  # times as many faces as asked for are few enough to look no further
SAMPLES = 20_000  # on either surface, besides the vertices, where they are compared
CLOSE_ENOUGH = 1.1  # ratio of face counts at which the search for the fewest within an error ends
TINY = np.finfo(float).tiny


def decimated(mesh: Mesh, faces: int) -> Mesh:
    """The mesh with about so many faces, by edge collapse, without what vertices carry; see carried().

    A solid stays one of the same genus, and an open mesh doesn't become less manifold than it was: a few times as many faces are kept
    where fewer would tear or pinch it, and all where nothing helps. Patient collapses (3) keep nearer to the surface than greedy ones
    (armadillo to 20,000 faces: .17 against .43 % off at most), but stop before few faces are left; and where one order of collapses tears
    the surface, another often doesn't.

    Source: Garland and Heckbert, Surface simplification using quadric error metrics, 1997 (fast-simplification's method).
    """
    import fast_simplification

    if len(mesh.faces) <= faces:
        return mesh
    low, high = mesh.bounds()
    side = max(float((high - low).max()), TINY)
    local = ((mesh.vertices - low) / side).astype(np.float32)
    world = lambda points, kept: Mesh(points.astype(float) * side + low, kept, crs=mesh.crs, unit=mesh.unit)
    before = inspect(mesh)
    best = mesh
    for more, greed in TRIES:
        count = max(LEAST_FACES, int(more * faces))
        if len(best.faces) > ENOUGH * faces:
            fewer = world(*fast_simplification.simplify(local, mesh.faces.astype(np.int32), target_count=count, agg=greed))
            if len(fewer.faces) < len(best.faces) and _as_whole(fewer, before):
                best = fewer
    if before.solid and len(best.faces) > GENTLER * faces:
        fewer = world(*_collapsed(local, mesh.faces, GENTLER * faces))
        best = fewer if len(fewer.faces) < len(best.faces) and inspect(fewer).solid else best
    return best


def decimated_within(mesh: Mesh, error: float) -> Mesh:
    """The mesh with few faces, whose surface is nowhere further than `error` from the old one, nor the old one from it; see deviation().

    The number of faces is bisected, so there may be a mesh with fewer that no step has tried.

    Args:
        error: > 0, world units.
    """
    if not error > 0:
        raise InputError(f"the error of a decimation must be > 0, in the mesh's units, got {error}")
    best, low, high = mesh, LEAST_FACES, len(mesh.faces)
    while high > CLOSE_ENOUGH * low + 1:
        middle = int(np.sqrt(low * high))
        fewer = decimated(mesh, middle)
        if len(fewer.faces) < len(mesh.faces) and _within(fewer, mesh, error):
            best, high = (fewer if len(fewer.faces) < len(best.faces) else best), middle
        else:
            low = middle
    return best


def deviation(mesh: Mesh, other: Mesh, *, seed: int = 0) -> float:
    """Largest distance between two surfaces, of either to the other: exact distances at all vertices and at SAMPLES places of each."""
    return max(_farthest(mesh, other, seed), _farthest(other, mesh, seed))


def carried(mesh: Mesh, source: Mesh) -> Mesh:
    """The mesh with what the vertices of another carry, taken from the place of its surface that is nearest to each vertex.

    Numbers are interpolated over the face, whole ones and those beside NaN are the nearest corner's; normals are made unit.
    """
    if source.colors is None and source.normals is None and not source.scalars:
        return replace(mesh, crs=source.crs, unit=source.unit)
    _, face = closest(mesh.vertices, source)
    corners = source.faces[face]
    weights = _weights(mesh.vertices, source.vertices[corners])
    rows = np.arange(len(corners))
    nearest = corners[rows, weights.argmax(axis=1)]
    mixed = lambda values: np.einsum("pk,pk...->p...", weights, values[corners].astype(float))

    def scalar(values: np.ndarray) -> np.ndarray:
        if values.dtype.kind != "f":
            return values[nearest]
        smooth = mixed(values)
        return np.where(np.isfinite(smooth), smooth, values[nearest]).astype(values.dtype)

    normals = None if source.normals is None else mixed(source.normals)
    if normals is not None:
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        normals = np.where(length > 0, normals / np.maximum(length, TINY), 0)
    return replace(
        mesh,
        normals=normals,
        colors=None if source.colors is None else np.clip(mixed(source.colors), 0, 1),
        scalars={name: scalar(values) for name, values in source.scalars.items()},
        crs=source.crs,
        unit=source.unit,
    )


def _as_whole(mesh: Mesh, before: MeshReport) -> bool:
    """Whether a decimated mesh has faces and nothing torn, pinched or joined that was not before."""
    if not len(mesh.faces):
        return False
    after = inspect(mesh)
    if before.solid:
        return after.solid and after.genus == before.genus
    counts = ("nonmanifold_edges", "nonmanifold_vertices", "inconsistent_edges")
    return (after.closed or not before.closed) and all(getattr(after, name) <= getattr(before, name) for name in counts)


def _within(mesh: Mesh, other: Mesh, error: float) -> bool:
    return _farthest(mesh, other, 0) <= error and _farthest(other, mesh, 0) <= error


def _farthest(mesh: Mesh, other: Mesh, seed: int) -> float:
    places = np.concatenate([mesh.vertices, sample_surface(mesh, SAMPLES, seed)[0]]) if mesh.area() > 0 else mesh.vertices
    return float(closest(places, other)[0].max())


def _weights(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(P, 3) weights of the corners (P, 3, 3) whose mean is the place of each triangle that is nearest to the point (P, 3)."""
    best, distance = np.zeros((len(points), 3)), np.full(len(points), np.inf)
    rows = np.arange(len(points))
    for k in range(3):
        start, side = corners[:, k], corners[:, (k + 1) % 3] - corners[:, k]
        along = np.clip(np.einsum("pi,pi->p", points - start, side) / np.maximum(np.einsum("pi,pi->p", side, side), TINY), 0, 1)
        away = np.linalg.norm(points - start - along[:, None] * side, axis=1)
        weights = np.zeros_like(best)
        weights[rows, k], weights[rows, (k + 1) % 3] = 1 - along, along
        nearer = away < distance
        best[nearer], distance[nearer] = weights[nearer], away[nearer]
    a, b, arm = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], points - corners[:, 0]
    normal = np.cross(a, b)
    squared = np.maximum(np.einsum("pi,pi->p", normal, normal), TINY)
    v = np.einsum("pi,pi->p", np.cross(arm, b), normal) / squared
    w = np.einsum("pi,pi->p", np.cross(a, arm), normal) / squared
    foot = np.stack([1 - v - w, v, w], axis=1)
    inside = (foot >= 0).all(axis=1) & (np.linalg.norm(normal, axis=1) > 0)
    best[inside] = foot[inside]
    return best


def _collapsed(points: np.ndarray, faces: np.ndarray, most: float) -> tuple[np.ndarray, np.ndarray]:
    """Points and faces of a solid in the unit box that is moved by at most COARSEST, by collapses that never tear or pinch it.

    The tolerance grows until there are at most so many faces.
    """
    headroom.demand(headroom.MANIFOLD3D_BYTES * len(faces), f"to collapse {len(faces):,} faces gently")
    import manifold3d

    solid = manifold3d.Manifold(manifold3d.Mesh(points, faces.astype(np.uint32)))
    tolerance = 0.5 / np.sqrt(len(faces))  # a fraction of an edge
    while solid.num_tri() > most and tolerance <= COARSEST:
        solid = solid.simplify(tolerance)
        tolerance *= np.sqrt(2)
    mesh = solid.to_mesh()
    return mesh.vert_properties[:, :3], mesh.tri_verts.astype(np.int64)
