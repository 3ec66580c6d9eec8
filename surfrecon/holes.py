"""Holes in a mesh, closed by fans; and seams, where vertices lie at one place that should be one.

A hole is a loop of edges of one face each. Letters: V vertices, F faces, B border edges.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from surfrecon.geometry import Mesh
from surfrecon.repair import inspect, selected


def without_seams(mesh: Mesh) -> Mesh:
    """The mesh with vertices at exactly the same place made one, with the first one's colour and fields, if that joins borders.

    The mesh itself where it doesn't, or where it would make edges or vertices that aren't manifold.
    """
    before = inspect(mesh)
    if before.closed or not before.duplicate_positions:
        return mesh
    _, first, vertex = np.unique(mesh.vertices, axis=0, return_index=True, return_inverse=True)
    faces = first[vertex.reshape(-1)][mesh.faces]
    kept = (faces != np.roll(faces, 1, axis=1)).all(axis=1)  # the others have become edges
    joined = selected(replace(mesh, faces=faces), kept)
    after = inspect(joined)
    worse = after.nonmanifold_edges > before.nonmanifold_edges or after.nonmanifold_vertices > before.nonmanifold_vertices
    return mesh if worse or after.boundary_edges >= before.boundary_edges else joined


def closed(mesh: Mesh) -> tuple[Mesh, int, int]:
    """The mesh with its holes closed, how many were, and how many were left since their border meets itself or branches.

    A hole of three edges becomes a face, a larger one a fan around its middle, whose vertex gets the mean of what the border carries.
    """
    tail, head = mesh.faces.ravel(), np.roll(mesh.faces, -1, axis=1).ravel()
    count = len(mesh.vertices)
    _, edge, around = np.unique(np.minimum(tail, head) * count + np.maximum(tail, head), return_inverse=True, return_counts=True)
    border = around[edge.reshape(-1)] == 1
    tail, head = tail[border], head[border]
    if not len(tail):
        return mesh, 0, 0
    loops = connected_components(coo_matrix((np.ones(len(tail)), (tail, head)), shape=(count, count)), directed=False)[1][tail]
    simple = (np.bincount(tail, minlength=count)[tail] == 1) & (np.bincount(head, minlength=count)[tail] == 1)
    following = np.full(count, -1)
    following[head] = tail  # the other side of the border, as the faces to come see it
    faces, fans, left = [mesh.faces], [], 0
    for loop in np.unique(loops):
        own = loops == loop
        if not simple[own].all():
            left += 1
        elif own.sum() == 3:
            a = tail[own][0]
            faces.append(np.array([[a, following[a], following[following[a]]]]))
        else:
            vertices = tail[own]
            middle = count + len(fans)
            faces.append(np.column_stack([vertices, following[vertices], np.full(len(vertices), middle)]))
            fans.append(vertices)
    grown = replace(_with_middles(mesh, fans), faces=np.concatenate(faces))
    return grown, len(faces) - 1, left


def _with_middles(mesh: Mesh, groups: list[np.ndarray]) -> Mesh:
    """The mesh with a vertex more for each group of vertices: their mean, in place, colour and fields; normals point as theirs do."""

    def grown(values: np.ndarray | None) -> np.ndarray | None:
        if values is None or not groups:
            return values
        means = np.stack([values[group].astype(float).mean(axis=0) for group in groups])
        return np.concatenate([values, np.rint(means).astype(values.dtype) if values.dtype.kind in "iub" else means.astype(values.dtype)])

    low = mesh.bounds()[0]
    normals = grown(mesh.normals)
    if normals is not None:
        normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(float).tiny)
    return Mesh(
        grown(mesh.vertices - low) + low,
        mesh.faces,
        normals=normals,
        colors=grown(mesh.colors),
        scalars={name: grown(values) for name, values in mesh.scalars.items()},
        crs=mesh.crs,
        unit=mesh.unit,
    )
