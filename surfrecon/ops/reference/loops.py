"""Short loops of a graph that a cocycle tells from those that bound. Letters: V vertices, E edges, R roots."""

from __future__ import annotations

import heapq
import math

import torch
from torch import Tensor

from surfrecon.ops.loops import check_graph


def odd_loops(
    first: Tensor, neighbour: Tensor, edge: Tensor, length: Tensor, words: Tensor, roots: Tensor, *, longest: float, near: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The shortest loop over each root along whose edges the exclusive or of the words isn't 0, without its tail.

    A root no further than `near` from an earlier one that was searched from is left out.

    Args:
        first: (V + 1,) where each vertex begins in the next two, then their number.
        neighbour: (2 E,) vertices. edge: (2 E,) the edge to each.
        length: (E,) > 0. words: (E,) int64.
        roots: (R,) vertices, in the order of the search.
        longest: loops over a root that are longer don't count.
        near: along edges.
    Returns:
        (vertices, sizes, words): of the loops that were found, their vertices in turn, one loop after the other; (L,); (L,).
    Raises:
        InputError: a shape or an integer's dtype is another.
    Gradient: none.
    """
    check_graph(first, neighbour, edge, length, words, roots)
    graph = [tensor.tolist() for tensor in (first, neighbour, edge, length, words)]
    searched: set[int] = set()
    found = []
    for root in roots.tolist():
        if root not in searched:
            loop, word, close = _loop_over(root, *graph, longest=longest, near=near)
            searched |= close
            if loop:
                found.append((loop, word))
    numbers = lambda values: torch.tensor(values, dtype=torch.int64)
    return numbers([v for loop, _ in found for v in loop]), numbers([len(loop) for loop, _ in found]), numbers([word for _, word in found])


def _loop_over(
    root: int, first: list, neighbour: list, edge_at: list, length: list, words: list, *, longest: float, near: float
) -> tuple[list[int], int, set[int]]:
    """The loop over one root, empty where there is none; its word; the vertices near the root. By Dijkstra's algorithm."""
    before, distance, word, done, close = {root: -1}, {root: 0.0}, {root: 0}, set(), set()
    heap, best, odd = [(0.0, root)], None, 0
    while heap and heap[0][0] <= longest / 2:
        d, vertex = heapq.heappop(heap)
        if vertex in done:
            continue
        done.add(vertex)
        if d <= near:
            close.add(vertex)
        for place in range(first[vertex], first[vertex + 1]):
            other, edge = neighbour[place], edge_at[place]
            along = word[vertex] ^ words[edge]
            if other in done:
                if along != word[other] and d + distance[other] + length[edge] <= longest:
                    longest, best, odd = d + distance[other] + length[edge], (vertex, other), along ^ word[other]
            elif d + length[edge] < distance.get(other, math.inf):
                distance[other], word[other], before[other] = d + length[edge], along, vertex
                heapq.heappush(heap, (distance[other], other))
    return _between(*best, before) if best else [], odd, close


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
