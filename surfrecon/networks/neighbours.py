"""The points next to places, of several clouds at once."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

AT_ONCE = 2**24  # distances that a GPU holds


@torch.no_grad()
def nearest_points(points: Tensor, x: Tensor, count: int) -> Tensor:
    """(B, Q, K) numbers of the `count` points of each cloud next to each place, the nearest first; all of a cloud that has fewer.

    Args:
        points: (B, N, 3).
        x: (B, Q, 3).
        count: K.
    """
    count = min(count, points.shape[1])
    if points.device.type == "cpu":
        found = [
            cKDTree(cloud).query(places, np.arange(1, count + 1), workers=-1)[1]
            for cloud, places in zip(points.float().numpy(), x.detach().float().numpy())
        ]
        return torch.from_numpy(np.stack(found))
    rows = max(1, AT_ONCE // (len(points) * points.shape[1]))
    return torch.cat([torch.cdist(some, points).topk(count, largest=False).indices for some in x.detach().split(rows, dim=1)], dim=1)
