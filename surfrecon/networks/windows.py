"""What a network knows of a whole cloud: an object in its box, a scene window by window, each with a halo as wide as it looks.

Windows agree where they meet: a cell depends on its surroundings alone, and its window holds all of them, or ends where the lattice does.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from surfrecon.networks.frames import object_lattice, scene_lattice
from surfrecon.networks.occupancy_network import Features, OccupancyNetwork

WINDOW = 96  # cells along a window's side, its halo not counted: a gigabyte with the scenes' network


class Lattice(NamedTuple):
    """Where the cells of a cloud lie.

    Attributes:
        origin: (3,) corner, float64.
        step: side of a cell.
        shape: (3,) cells.
    """

    origin: np.ndarray
    step: float
    shape: tuple[int, int, int]

    def cells_of(self, x: Tensor) -> Tensor:
        """Places (..., 3) in cells, those beyond the lattice on its border."""
        most = torch.tensor(self.shape, dtype=x.dtype, device=x.device)
        return torch.minimum(((x - torch.as_tensor(self.origin, dtype=x.dtype, device=x.device)) / self.step).clamp(min=0), most)

    def place_of(self, cells: Tensor) -> Tensor:
        """Where places given in cells (..., 3) are."""
        return cells * self.step + torch.as_tensor(self.origin, dtype=cells.dtype, device=cells.device)


@torch.no_grad()
def encoded(network: OccupancyNetwork, points: np.ndarray, *, device: torch.device, window: int = WINDOW) -> tuple[Lattice, Features]:
    """The lattice around a cloud, as an object or as a scene, what the network is for, and what it knows of it.

    Args:
        points: (N, 3), any frame.
        window: cells along the side of the windows that a scene is looked at through; a whole multiple of the layout's stride.
    """
    layout = network.layout
    if layout.places:
        lattice = Lattice(*object_lattice(points, layout.cells), (layout.cells,) * 3)
    else:
        lattice = Lattice(*scene_lattice(points, layout.stride))
    place = torch.from_numpy(((points - lattice.origin) / lattice.step).astype(np.float32))[None].to(device)
    if layout.places:
        return lattice, network.encode(place, lattice.shape)
    return lattice, network.encode(place, lattice.shape, lambda unet, cells: windowed(unet, cells, window, layout.stride))


def windowed(unet: nn.Module, cells: Tensor, window: int, stride: int) -> Tensor:
    """unet(cells), (1, C, X, Y, Z), window by window: the same numbers, to rounding, with the memory of a window."""
    halo = -(-unet.reach // stride) * stride
    shape = cells.shape[2:]
    result = None
    for corner in product(*(range(0, count, window) for count in shape)):
        low = [max(0, start - halo) for start in corner]
        high = [min(count, start + window + halo) for start, count in zip(corner, shape)]
        part = unet(cells[(..., *(slice(a, b) for a, b in zip(low, high)))])
        stop = [min(count, start + window) for start, count in zip(corner, shape)]
        inner = tuple(slice(start - a, end - a) for start, end, a in zip(corner, stop, low))
        if result is None:
            result = part.new_empty((1, part.shape[1], *shape))
        result[(..., *(slice(start, end) for start, end in zip(corner, stop)))] = part[(..., *inner)]
    return result
