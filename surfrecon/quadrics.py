"""Quadrics over the tangent planes of neighbourhoods, by weighted least squares. Letters: N points, K neighbours.

Source: Alexa et al., "Computing and rendering point set surfaces", 2003.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

FALLOFF = 2.0  # a neighbour's weight is exp(-FALLOFF (distance / farthest)^2)
RIDGE = 1e-5  # keeps quadrics of collinear neighbours solvable
BATCH = 2**20  # neighbours looked at in one go: 75 MB


def batches(count: int, width: int) -> list[np.ndarray]:
    return np.array_split(np.arange(count), max(1, -(-count * width // BATCH)))


def quadrics(centres: np.ndarray, around: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) unit normals at centres (N, 3), and (N,) heights of the surface over them, from neighbours (N, K, 3)."""
    local = torch.from_numpy(around - centres[:, None]).float()
    squared = local.square().sum(2)
    reach = squared.max(1).values.clamp(min=torch.finfo(torch.float32).tiny).sqrt()
    local = local / reach[:, None, None]
    weight = torch.exp(-FALLOFF * squared / reach[:, None] ** 2)
    frames = _frames(local, weight)
    uvw = local @ frames  # columns: normal, then two tangents
    w, u, v = uvw.unbind(2)
    basis = torch.stack([torch.ones_like(u), u, v, u * u, u * v, v * v], dim=2)
    weighted = basis * weight[:, :, None]
    matrix = weighted.transpose(1, 2) @ basis
    trace = torch.diagonal(matrix, dim1=1, dim2=2).sum(1)
    matrix = matrix + (RIDGE * trace)[:, None, None] * torch.eye(6)
    right = (weighted * w[:, :, None]).sum(1)
    fit = torch.linalg.solve(matrix, right)
    normal = frames @ torch.stack([torch.ones_like(reach), -fit[:, 1], -fit[:, 2]], dim=1)[:, :, None]
    length = normal.norm(dim=1)
    height = fit[:, 0] * reach / length[:, 0]
    return (normal / length[:, None])[:, :, 0].double().numpy(), height.double().numpy()


def _frames(local: Tensor, weight: Tensor) -> Tensor:
    """(N, 3, 3) orthonormal columns: the direction of least spread of weighted neighbours (N, K, 3) first."""
    mean = (local * weight[:, :, None]).sum(1, keepdim=True) / weight.sum(1)[:, None, None]
    centred = (local - mean) * weight.sqrt()[:, :, None]
    return torch.linalg.eigh(centred.transpose(1, 2) @ centred)[1]
