"""What a graph must be for its loops to be looked for. Letters: V vertices, E edges, R roots."""

from __future__ import annotations

import torch
from torch import Tensor

from surfrecon.errors import InputError


def check_graph(first: Tensor, neighbour: Tensor, edge: Tensor, length: Tensor, words: Tensor, roots: Tensor) -> None:
    """Raise InputError where a shape or an integer's dtype is another than odd_loops takes."""
    sizes = {"first": (len(first),), "neighbour": (2 * len(length),), "edge": (2 * len(length),), "words": (len(length),)}
    for (name, size), tensor in zip(sizes.items(), (first, neighbour, edge, words)):
        if tuple(tensor.shape) != size or tensor.dtype != torch.int64:
            raise InputError(f"{name} must be {size} int64, got {tuple(tensor.shape)} {tensor.dtype}")
    if length.ndim != 1 or roots.ndim != 1 or roots.dtype != torch.int64 or not len(first):
        raise InputError(f"length and roots must be vectors, roots int64, got {tuple(length.shape)}, {tuple(roots.shape)} {roots.dtype}")
