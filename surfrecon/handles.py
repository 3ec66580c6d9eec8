"""Handles too small to be seen: pinholes through thin sheets, hairs between near ones; cut along their shortest loop, both ends capped.

Each edge gets a word such that around every face the exclusive or of the words is 0: along a loop that parts the mesh it is 0 too, along
another one it isn't, but by a chance of 2^-63. A tree over the vertices and a tree over the faces across the other edges leave 2 g edges,
whose words are drawn; those of the first tree's edges are 0, and those that the second one crosses follow from them. Short loops are
looked for around the edges with a word.

Letters: V vertices, F faces, E edges, g genus. A side is as in slivers.py. A mesh here is closed, manifold and consistently wound.
Source: the trees are those of Eppstein, "Dynamic generators of topologically embedded graphs", 2003; words and search are ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

from surfrecon import ops
from surfrecon.geometry import Mesh
from surfrecon.slivers import following, opposite_sides

SPREAD = 0.1  # of the longest loop: marked edges this near to a place that was searched from count as searched
PARTED = 0.25  # of the way to their neighbours that the two ends of a cut move apart


def without_small_handles(mesh: Mesh, *, longest: float) -> tuple[Mesh, int]:
    """The mesh with small handles cut, and how many were.

    A handle is small where a loop along edges that doesn't part the mesh is no longer than `longest`. Vertices carry positions alone.
    """
    cuts = 0
    while loops := short_loops(mesh, longest=longest):
        mesh = cut(mesh, loops)
        cuts += len(loops)
    return mesh, cuts


def short_loops(mesh: Mesh, *, longest: float) -> list[np.ndarray]:
    """Loops along edges, no longer than that, all of which together don't part the mesh and don't touch: (K,) vertices in turn of each.

    The shortest is the first. There may be more, for which these leave no room; there are none if and only if this finds none.
    """
    opposite = opposite_sides(mesh.faces).ravel()
    side = np.flatnonzero(np.arange(mesh.faces.size) < opposite)  # one for each edge
    tail, head = mesh.faces.ravel()[side], mesh.faces.ravel()[following(side)]
    words = _words(mesh.faces, opposite, side, len(mesh.vertices))
    if not words.any():
        return []
    length = np.linalg.norm(mesh.vertices[tail] - mesh.vertices[head], axis=1)
    start, end, edge = np.r_[tail, head], np.r_[head, tail], np.tile(np.arange(len(tail)), 2)
    order = np.argsort(start, kind="stable")
    first, neighbour = np.searchsorted(start[order], np.arange(len(mesh.vertices) + 1)), end[order]
    graph = [torch.from_numpy(array) for array in (first, neighbour, edge[order], length.astype(np.float32), words, tail[words != 0])]
    spread = SPREAD * longest
    vertices, sizes, odd = (found.numpy() for found in ops.odd_loops(*graph, longest=longest + 2 * spread, near=spread))
    shortest: dict[int, tuple[float, list[int]]] = {}  # by their word: loops with the same one part the mesh together
    for loop, word in zip(np.split(vertices, sizes.cumsum()[:-1]), odd.tolist()):
        along = float(np.linalg.norm(mesh.vertices[loop] - mesh.vertices[np.roll(loop, -1)], axis=1).sum())
        if along <= min(longest, shortest.get(word, (np.inf,))[0]):
            shortest[word] = along, loop.tolist()
    apart = _apart([loop for _, loop in sorted(shortest.values())], first, neighbour)
    return _joined(apart, mesh.faces, opposite)


def _apart(loops: list[list[int]], first: np.ndarray, neighbour: np.ndarray) -> list[np.ndarray]:
    """The loops that don't touch those before."""
    taken, touched = [], set()
    for loop in loops:
        if touched.isdisjoint(loop):
            taken.append(np.array(loop))
            for vertex in loop:
                touched.update((vertex, *neighbour[first[vertex] : first[vertex + 1]].tolist()))
    return taken


def _joined(loops: list[np.ndarray], faces: np.ndarray, opposite: np.ndarray) -> list[np.ndarray]:
    """The loops but for those, as long ones as can be, across which what all of them part hangs together."""
    along = _along(loops, faces)
    open = np.ones(faces.size, bool)
    open[along] = open[opposite[along]] = False
    piece = connected_components(_linked(np.flatnonzero(open) // 3, opposite[open] // 3, len(faces)), directed=False)[1]
    at = dict(zip(faces.ravel()[along].tolist(), along.tolist()))
    whole = np.arange(piece.max(initial=0) + 1)  # of each piece the name of what it hangs together with
    kept = []
    for loop in reversed(loops):
        side = at[int(loop[0])]
        left, right = whole[piece[[side // 3, opposite[side] // 3]]]
        if left == right:
            kept.append(loop)
        whole[whole == left] = right
    return kept[::-1]


def _along(loops: Sequence[np.ndarray], faces: np.ndarray) -> np.ndarray:
    """(N,) the sides to the left of the loops, which don't touch."""
    ahead = np.full(int(faces.max(initial=0)) + 1, -1)
    for loop in loops:
        ahead[loop] = np.roll(loop, -1)
    return np.flatnonzero(ahead[faces.ravel()] == np.roll(faces, -1, axis=1).ravel())


def _words(faces: np.ndarray, opposite: np.ndarray, side: np.ndarray, count: int) -> np.ndarray:
    """(E,) int64. side: one of each edge's. count: of the vertices."""
    words = np.zeros(len(side), np.int64)
    tail, head = faces.ravel()[side], faces.ravel()[following(side)]
    components = connected_components(_linked(tail, head, count), directed=False)[0]
    if count - len(side) + len(faces) == 2 * components:
        return words
    before, _ = _forest(tail, head, count)
    free = np.flatnonzero((before[tail] != head) & (before[head] != tail))
    left, right = side[free] // 3, opposite[side[free]] // 3
    behind, levels = _forest(left, right, len(faces))
    # Two faces may share two edges. Only one of these is the tree's.
    crossed = np.full(len(faces), -1)
    for one, other in ((left, right), (right, left)):
        inner = behind[one] == other
        crossed[one[inner]] = free[inner]
    closing = np.zeros(len(side), bool)
    closing[free] = True
    closing[crossed[crossed >= 0]] = False
    words[closing] = np.random.default_rng(0).integers(1, np.iinfo(np.int64).max, np.count_nonzero(closing))
    edge = np.empty(faces.size, int)
    edge[side] = edge[opposite[side]] = np.arange(len(side))
    edge = edge.reshape(-1, 3)
    for level in levels[:0:-1]:  # of all but the roots', where it comes out even
        words[crossed[level]] = np.bitwise_xor.reduce(words[edge[level]], axis=1)
    return words


def _linked(one: np.ndarray, other: np.ndarray, count: int) -> csr_matrix:
    """The graph of `count` items joined by these pairs."""
    return coo_matrix((np.ones(len(one)), (one, other)), shape=(count, count)).tocsr()


def _forest(one: np.ndarray, other: np.ndarray, count: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Of a spanning forest over these pairs, breadth first: (count,) the item before each, -1 for roots; the items by steps from these."""
    graph = _linked(one, other, count)
    before = np.full(count, -1)
    pieces, piece = connected_components(graph, directed=False)
    roots = np.empty(pieces, int)
    roots[piece[::-1]] = np.arange(count)[::-1]  # the first item of each piece
    for root in roots:
        order, found = breadth_first_order(graph, root, directed=False)
        before[order[1:]] = found[order[1:]]
    depth, above = (before >= 0).astype(int), before.copy()
    while (above >= 0).any():  # twice as many steps at each turn
        further = above >= 0
        depth[further] += depth[above[further]]
        above[further] = above[above[further]]
    order = np.argsort(depth, kind="stable")
    return before, np.split(order, np.searchsorted(depth[order], np.arange(1, depth.max(initial=0) + 1)))


def cut(mesh: Mesh, loops: Sequence[np.ndarray]) -> Mesh:
    """The mesh cut open along loops (K,) of vertices that don't touch, and a cap over each end."""
    faces, count, rim = mesh.faces.copy(), len(mesh.vertices), np.concatenate(loops)
    copy = np.full(count, -1)
    copy[rim] = count + np.arange(len(rim))
    opposite, sides = opposite_sides(faces).ravel(), _along(loops, faces)
    tails = faces.ravel()
    ahead = dict(zip(tails[sides].tolist(), tails[following(sides)].tolist()))
    corners = []  # right of the loops, at their vertices
    for side in sides.tolist():
        corner = opposite[side]  # at the head, in the face to the right: turn around the head until the loop goes on
        target = ahead[int(tails[corner])]
        corners.append(corner)
        while tails[following(following(corner))] != target:
            corner = opposite[following(following(corner))]
            corners.append(corner)
    flat = faces.reshape(-1)
    flat[corners] = copy[flat[corners]]
    rims = [end for loop in loops for end in (loop[::-1], copy[loop])]
    vertices = _drawn_in(np.concatenate([mesh.vertices, mesh.vertices[rim]]), faces, rims)
    caps, middles = [], []
    for end in rims:
        if len(end) == 3:
            caps.append(end[None])
        else:
            caps.append(np.stack([end, np.roll(end, -1), np.full(len(end), len(vertices) + len(middles))], axis=1))
            middles.append(vertices[end].mean(0))
    return Mesh(np.concatenate([vertices, *np.reshape(middles, (-1, 1, 3))]), np.concatenate([faces, *caps]))


def _drawn_in(vertices: np.ndarray, faces: np.ndarray, rims: Sequence[np.ndarray]) -> np.ndarray:
    """The vertices, those of the rims a part of the way towards the mean of their neighbours off them, or else of the rim's."""
    on = np.zeros(len(vertices), bool)
    on[np.concatenate(rims)] = True
    touching = faces[on[faces].any(1)]
    ends = np.concatenate([touching[:, [i, j]] for i, j in ((0, 1), (1, 2), (2, 0))])
    ends = np.unique(np.concatenate([ends, ends[:, ::-1]]), axis=0)
    here, there = ends[on[ends[:, 0]] & ~on[ends[:, 1]]].T
    total, known = np.zeros(vertices.shape), np.bincount(here, minlength=len(vertices))[:, None]
    np.add.at(total, here, vertices[there])
    moved = vertices.copy()
    for rim in rims:
        around = total[rim].sum(0) / known[rim].sum() if known[rim].any() else vertices[rim].mean(0)
        target = np.where(known[rim] > 0, total[rim] / np.maximum(known[rim], 1), around)
        moved[rim] += PARTED * (target - vertices[rim])
    return moved
