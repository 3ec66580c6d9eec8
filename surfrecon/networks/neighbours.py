"""The points next to places, of several clouds at once."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

AT_ONCE = 2**24  # distances that a GPU holds


class Neighbours:
    """The points of one cloud that are next to places, asked for again and again.

    Attributes:
        points: (N, 3).
    """

    def __init__(self, points: Tensor):
        self.points = points
        self.tree = cKDTree(points.float().numpy()) if points.device.type == "cpu" else None

    @torch.no_grad()
    def __call__(self, x: Tensor, count: int) -> Tensor:
        """(Q, K) numbers of the `count` points next to each of (Q, 3) places, the nearest first; all of a cloud that has fewer."""
        count = min(count, len(self.points))
        if self.tree is not None:
            return torch.from_numpy(self.tree.query(x.detach().float().numpy(), np.arange(1, count + 1), workers=-1)[1])
        rows = max(1, AT_ONCE // len(self.points))
        return torch.cat([torch.cdist(some, self.points).topk(count, largest=False).indices for some in x.detach().split(rows)])


def nearest_points(points: Tensor, x: Tensor, count: int) -> Tensor:
    """(B, Q, K) the same of each of B clouds (B, N, 3), at places (B, Q, 3) of its own."""
    return torch.stack([Neighbours(cloud)(places, count) for cloud, places in zip(points, x)])
