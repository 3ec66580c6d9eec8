"""Short loops of a graph, see loops.cpp."""

from __future__ import annotations

import torch
from torch import Tensor

from surfrecon.ops.loops import check_graph
from surfrecon.ops.native.loader import BYTES, FLOATS, LONGS, REAL, SIZE, checked, function

_loops = function("odd_loops", [*[LONGS] * 3, FLOATS, LONGS, SIZE, LONGS, SIZE, REAL, REAL, BYTES, LONGS, SIZE, *[LONGS] * 3])


def odd_loops(
    first: Tensor, neighbour: Tensor, edge: Tensor, length: Tensor, words: Tensor, roots: Tensor, *, longest: float, near: float
) -> tuple[Tensor, Tensor, Tensor]:
    """As the reference's, but for the rounding of sums.

    Raises:
        InputError: a shape is another, or a dtype or device.
    """
    check_graph(first, neighbour, edge, length, words, roots)
    length = checked(length, "length", (None,), torch.float32)
    graph = [checked(tensor, "a graph's numbers", (None,), torch.int64) for tensor in (first, neighbour, edge, words, roots)]
    begins, ends, edges, labels, starts = (tensor.data_ptr() for tensor in graph)
    vertices, room = len(first) - 1, len(first)  # a loop has no vertex twice
    searched = torch.zeros(vertices, dtype=torch.uint8)
    new = lambda size: torch.empty(size, dtype=torch.int64)
    done, parts = torch.zeros(2, dtype=torch.int64), []
    while int(done[0]) < len(roots):
        loops, sizes, found = new(room), new(len(roots)), new(len(roots))
        _loops(
            begins, ends, edges, length.data_ptr(), labels, vertices, starts, len(roots), longest, near, searched.data_ptr(),
            loops.data_ptr(), room, sizes.data_ptr(), found.data_ptr(), done.data_ptr(),
        )  # fmt: skip
        sizes = sizes[: int(done[1])]
        parts.append((loops[: int(sizes.sum())], sizes, found[: len(sizes)]))
    return tuple(torch.cat(part) for part in zip(*parts)) if parts else (new(0), new(0), new(0))
