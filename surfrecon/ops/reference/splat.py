"""Moving numbers between points and lattice nodes: gather reads, splat adds; each is the other's transpose."""

from __future__ import annotations

import torch
from torch import Tensor


def gather(values: Tensor, slots: Tensor, weights: Tensor) -> Tensor:
    """(N,) sums of weights (N, K) times values (M,) at slots (N, K)."""
    return (values.take(slots) * weights).sum(1)


def splat(weights: Tensor, slots: Tensor, size: int) -> Tensor:
    """(size,) nodes that received weights (N, K) at slots (N, K); weights that meet add up."""
    return torch.zeros(size, dtype=weights.dtype, device=weights.device).index_add_(0, slots.reshape(-1), weights.reshape(-1))
