"""Handles too small to be seen: pinholes through thin sheets, hairs between near ones; cut along their shortest loop, both ends capped.

A tree over the vertices and a tree over the faces across the other edges leave 2 g edges. Each of these closes a cycle of
faces; a loop of vertices that crosses one of the cycles an odd number of times doesn't part the mesh. So each edge gets a bit for each
cycle that crosses it, and loops are told by the exclusive or of their edges' bits. Short ones are looked for around the marked edges.

Letters: V vertices, F faces, E edges, g genus. A side is as in slivers.py. A mesh here is closed, manifold and consistently wound.
Source: the trees are those of Eppstein, "Dynamic generators of topologically embedded graphs", 2003; the search is ours.
"""

from __future__ import annotations

import heapq

import numpy as np
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import breadth_first_order, connected_components

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
        for loop in loops:
            mesh = cut(mesh, loop)
        cuts += len(loops)
    return mesh, cuts


def short_loops(mesh: Mesh, *, longest: float) -> list[np.ndarray]:
    """Loops along edges, no longer than that, all of which together don't part the mesh and don't touch: (K,) vertices in turn of each.

    The shortest is the first. There may be more, for which these leave no room; there are none if and only if this finds none.
    """
    tail, head, marks = _marked_edges(mesh.faces, len(mesh.vertices))
    if not marks:
        return []
    length = np.linalg.norm(mesh.vertices[tail] - mesh.vertices[head], axis=1)
    start, end, edge = np.r_[tail, head], np.r_[head, tail], np.tile(np.arange(len(tail)), 2)
    order = np.argsort(start, kind="stable")
    first = np.searchsorted(start[order], np.arange(len(mesh.vertices) + 1))
    graph = first.tolist(), end[order].tolist(), edge[order].tolist(), length.tolist()
    shortest, searched = {}, set()  # by their bits: loops with the same ones part the mesh together
    spread = SPREAD * longest
    for mark in sorted(marks):
        root = int(tail[mark])
        if root in searched:
            continue
        loop, bits, near = _loop_from(root, graph, marks, longest=longest + 2 * spread, near=spread)
        searched |= near
        if loop:
            along = _length(mesh.vertices[loop])
            if along <= min(longest, shortest.get(bits, (np.inf,))[0]):
                shortest[bits] = along, loop
    return _apart(sorted((along, loop, bits) for bits, (along, loop) in shortest.items()), graph)


def _apart(candidates: list[tuple[float, list[int], int]], graph: tuple) -> list[np.ndarray]:
    """Of loops (length, vertices, bits), the first ones that don't touch those before, nor part the mesh together with them."""
    first, neighbour, *_ = graph
    taken, touched, basis = [], set(), {}  # the basis of their bits, by its numbers' highest
    for _, loop, bits in candidates:
        while bits.bit_length() in basis:
            bits ^= basis[bits.bit_length()]
        if bits and touched.isdisjoint(loop):
            basis[bits.bit_length()] = bits
            taken.append(np.array(loop))
            for vertex in loop:
                touched.update((vertex, *neighbour[first[vertex] : first[vertex + 1]]))
    return taken


def _marked_edges(faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, dict[int, int]]:
    """(E,) one end and (E,) the other of each edge; row of an edge -> its bits, where it has some. count: of the vertices."""
    opposite = opposite_sides(faces).ravel()
    side = np.flatnonzero(np.arange(3 * len(faces)) < opposite)  # one for each edge
    tail, head = faces.ravel()[side], faces.ravel()[following(side)]
    components = connected_components(_linked(tail, head, count), directed=False)[0]
    if count - len(side) + len(faces) == 2 * components:
        return tail, head, {}
    before = _forest(tail, head, count)
    free = np.flatnonzero((before[tail] != head) & (before[head] != tail))
    left, right = side[free] // 3, opposite[side[free]] // 3
    behind = _forest(left, right, len(faces))
    # Two faces may share two edges. Only one of these is the tree's.
    crossed = np.full(len(faces), -1)
    for one, other in ((left, right), (right, left)):
        inner = behind[one] == other
        crossed[one[inner]] = free[inner]
    closing = np.zeros(len(tail), bool)
    closing[free] = True
    closing[crossed[crossed >= 0]] = False
    marks: dict[int, int] = {}
    for bit, edge in enumerate(np.flatnonzero(closing).tolist()):
        marks[edge] = marks.get(edge, 0) ^ (1 << bit)
        for face in (int(side[edge] // 3), int(opposite[side[edge]] // 3)):
            while behind[face] >= 0:  # what both ways to the root share cancels out
                marks[int(crossed[face])] = marks.get(int(crossed[face]), 0) ^ (1 << bit)
                face = int(behind[face])
    return tail, head, {edge: bits for edge, bits in marks.items() if bits}


def _linked(one: np.ndarray, other: np.ndarray, count: int) -> csr_matrix:
    """The graph of `count` items joined by these pairs."""
    return coo_matrix((np.ones(len(one)), (one, other)), shape=(count, count)).tocsr()


def _forest(one: np.ndarray, other: np.ndarray, count: int) -> np.ndarray:
    """(count,) the item before each in a spanning forest over these pairs, breadth first; -1 for roots."""
    graph = _linked(one, other, count)
    before = np.full(count, -1)
    pieces, piece = connected_components(graph, directed=False)
    roots = np.empty(pieces, int)
    roots[piece[::-1]] = np.arange(count)[::-1]  # the first item of each piece
    for root in roots:
        order, found = breadth_first_order(graph, root, directed=False)
        before[order[1:]] = found[order[1:]]
    return before


def _loop_from(
    root: int, graph: tuple, marks: dict[int, int], *, longest: float, near: float
) -> tuple[list[int] | None, int, set[int]]:
    """The shortest loop over `root` whose bits aren't all even, without its tail, or None; its bits; and the vertices near the root.

    Args:
        graph: of each vertex the first place in the next two; the neighbour and the edge there; lengths of the edges.
        longest: loops that are longer don't count.
        near: distance from the root.
    """
    first, neighbour, edge_at, length = graph
    before, distance, bits, done = {root: -1}, {root: 0.0}, {root: 0}, set()
    heap, best, odd = [(0.0, root)], None, 0
    close = set()
    while heap and heap[0][0] <= longest / 2:
        d, vertex = heapq.heappop(heap)
        if vertex in done:
            continue
        done.add(vertex)
        if d <= near:
            close.add(vertex)
        for place in range(first[vertex], first[vertex + 1]):
            other, edge = neighbour[place], edge_at[place]
            along = bits[vertex] ^ marks.get(edge, 0)
            if other in done:
                if along != bits[other] and d + distance[other] + length[edge] <= longest:
                    longest, best, odd = d + distance[other] + length[edge], (vertex, other), along ^ bits[other]
            elif d + length[edge] < distance.get(other, np.inf):
                distance[other], bits[other], before[other] = d + length[edge], along, vertex
                heapq.heappush(heap, (distance[other], other))
    return _between(*best, before) if best else None, odd, close


def _between(a: int, b: int, before: dict[int, int]) -> list[int]:
    """The loop over the edge (a, b) and the paths of its ends to the root, without what these share."""
    paths = []
    for vertex in (a, b):
        path = [vertex]
        while before[path[-1]] >= 0:
            path.append(before[path[-1]])
        paths.append(path[::-1])
    one, other = paths
    shared = 0
    while shared < min(len(one), len(other)) and one[shared] == other[shared]:
        shared += 1
    return one[shared - 1 :] + other[shared:][::-1]


def cut(mesh: Mesh, loop: np.ndarray) -> Mesh:
    """The mesh cut open along a loop (K,) of vertices, and a cap over each end."""
    faces, count, size = mesh.faces.copy(), len(mesh.vertices), len(loop)
    place = np.full(count, -1)
    place[loop] = np.arange(size)
    opposite = opposite_sides(faces).ravel()
    tails, heads = place[faces.ravel()], place[faces.ravel()[following(np.arange(faces.size))]]
    corners = []  # right of the loop, at its vertices
    for along in np.flatnonzero((tails >= 0) & (heads >= 0) & ((tails + 1) % size == heads)):
        ahead = (heads[along] + 1) % size
        corner = opposite[along]  # at the head, in the face to the right: turn around the head until the loop goes on
        corners.append(corner)
        while tails[following(following(corner))] != ahead:
            corner = opposite[following(following(corner))]
            corners.append(corner)
    flat = faces.reshape(-1)
    flat[corners] = count + place[flat[corners]]
    vertices = np.concatenate([mesh.vertices, mesh.vertices[loop]])
    caps = []
    for rim in (loop[::-1], count + np.arange(size)):
        vertices = _drawn_in(vertices, faces, rim)
        if size == 3:
            caps.append(rim[None])
        else:
            caps.append(np.stack([rim, np.roll(rim, -1), np.full(size, len(vertices))], axis=1))
            vertices = np.concatenate([vertices, vertices[rim].mean(0, keepdims=True)])
    return Mesh(vertices, np.concatenate([faces, *caps]))


def _drawn_in(vertices: np.ndarray, faces: np.ndarray, rim: np.ndarray) -> np.ndarray:
    """The vertices, those of a rim a part of the way towards their neighbours off it."""
    on = np.zeros(len(vertices), bool)
    on[rim] = True
    touching = faces[on[faces].any(1)]
    around = touching[~on[touching]]
    mean = vertices[around].mean(0) if len(around) else vertices[rim].mean(0)
    moved = vertices.copy()
    for vertex in rim:
        own = np.unique(touching[(touching == vertex).any(1)])
        own = own[~on[own]]
        target = vertices[own].mean(0) if len(own) else mean
        moved[vertex] += PARTED * (target - vertices[vertex])
    return moved


def _length(places: np.ndarray) -> float:
    return float(np.linalg.norm(places - np.roll(places, -1, axis=0), axis=1).sum())
