"""Faces that a move of vertices left thin or folded over: flipped edges where that helps, vertices put back where it doesn't.

Letters: V vertices, F faces. A side is 3 * face + i, from corner i to the next; the mesh is closed and manifold, so each has an opposite.
"""

from __future__ import annotations

import numpy as np

SLIVER = 0.1  # quality below which a face's edges may be flipped
LEAST_GAIN = 1e-3  # of quality by a flip: keeps flips from undoing each other
FLIP_ROUNDS = 20  # flips of one round touch different faces
UPRIGHT = 0.2  # least cosine between a face and its target normal
LEAST_QUALITY = 1e-3  # of a face whose vertices moved; thinner ones are put back
TINY = 1e-300


def following(side: np.ndarray) -> np.ndarray:
    """The next side of each side's face."""
    return side - side % 3 + (side + 1) % 3


def opposite_sides(faces: np.ndarray) -> np.ndarray:
    """(F, 3) the other face's side at each side; -1 at the border of an open part."""
    tail, head = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    key = np.minimum(tail, head) * (int(faces.max(initial=0)) + 1) + np.maximum(tail, head)
    order = np.argsort(key, kind="stable")
    pair = np.flatnonzero(key[order[1:]] == key[order[:-1]])
    opposite = np.full(len(key), -1)
    opposite[order[pair]], opposite[order[pair + 1]] = order[pair + 1], order[pair]
    return opposite.reshape(-1, 3)


def quality(vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(F,) 1 for an equilateral face along its normal (F, 3), 0 for one without area, negative where it's turned over."""
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    squares = sum(np.square(side).sum(1) for side in (b - a, c - b, a - c))
    return 2 * np.sqrt(3) * np.einsum("fd,fd->f", np.cross(b - a, c - a), normals) / np.maximum(squares, TINY)


def flipped(vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray, movable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(F, 3) faces and (F, 3) their target normals after flips that raise the lower quality of two faces, one of them a sliver.

    An edge is never put where one is, so a closed manifold stays one.

    Args:
        vertices: (V, 3). faces: (F, 3). normals: (F, 3) unit, where each face should look.
        movable: (V,) faces with such a vertex may change.
    """
    near = movable[faces].any(1)
    touched = np.zeros(len(vertices), bool)
    touched[faces[near]] = True
    part = np.flatnonzero(touched[faces].any(1))  # holds every edge between two touched vertices
    f, n, free = faces[part], normals[part], near[part]
    count = len(vertices)
    name = lambda a, b: np.minimum(a, b) * count + np.maximum(a, b)
    edges = set(name(f.ravel(), np.roll(f, -1, axis=1).ravel()).tolist())
    for _ in range(FLIP_ROUNDS):
        before = quality(vertices, f, n)
        opposite = opposite_sides(f).ravel()
        side = (3 * np.flatnonzero((before < SLIVER) & free)[:, None] + np.arange(3)).ravel()
        side = side[opposite[side] >= 0]
        side = side[free[opposite[side] // 3]]
        other, corner = opposite[side], f.ravel()
        first, second = side // 3, other // 3
        u, v, x, y = corner[side], corner[following(side)], corner[following(following(side))], corner[following(following(other))]
        new = np.stack([np.stack([x, u, y], 1), np.stack([y, v, x], 1)], 1)  # (S, 2, 3): the edge u-v becomes x-y
        rated = np.array([[quality(vertices, new[:, i], n[owner]) for owner in (first, second)] for i in range(2)])  # (2 new, 2 old, S)
        gain = rated.max(1).min(0) - np.minimum(before[first], before[second])
        looks = np.where(rated.argmax(1) == 0, first, second).T  # (S, 2) whose normal each new face takes
        used, done = set(), False
        for k in np.argsort(-gain, kind="stable"):
            a, b, edge = int(first[k]), int(second[k]), int(name(x[k], y[k]))
            if gain[k] < LEAST_GAIN or a in used or b in used or x[k] == y[k] or edge in edges:
                continue
            f[[a, b]], n[[a, b]] = new[k], n[looks[k]]
            edges.remove(int(name(u[k], v[k])))
            edges.add(edge)
            used |= {a, b}
            done = True
        if not done:
            break
    faces, normals = faces.copy(), normals.copy()
    faces[part], normals[part] = f, n
    return faces, normals


def unfolded(before: np.ndarray, after: np.ndarray, faces: np.ndarray, normals: np.ndarray) -> np.ndarray:
    """(V, 3) moved vertices, those of faces turned away from their target normals or without area back where they were.

    Args:
        before, after: (V, 3) vertices. faces: (F, 3). normals: (F, 3) unit, where each face should look.
    """
    after, moved = after.copy(), (after != before).any(1)
    while True:
        rows = np.flatnonzero(moved[faces].any(1))
        a, b, c = np.moveaxis(after[faces[rows]], 1, 0)
        vectors = np.cross(b - a, c - a)
        upright = np.einsum("fd,fd->f", vectors, normals[rows]) > UPRIGHT * np.linalg.norm(vectors, axis=1)
        bad = rows[~(upright & (quality(after, faces[rows], normals[rows]) > LEAST_QUALITY))]
        if not len(bad):
            return after
        back = np.zeros(len(after), bool)
        back[faces[bad]] = True
        after[back], moved[back] = before[back], False
