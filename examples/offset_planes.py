"""A method of one's own: the distance to the tangent plane of the nearest point, which gridpull is compared with here.

    python examples/offset_planes.py [SCAN]

Source: Hoppe et al., "Surface reconstruction from unorganized points", 1992, section 3.2; normals and their sides are those of our survey.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from surfrecon.data_tools.scanner import scan as simulated
from surfrecon.data_tools.shapes import mesh_of, named
from surfrecon.fields import Field
from surfrecon.geometry import PointCloud
from surfrecon.io import read_scan
from surfrecon.methods import METHODS
from surfrecon.reconstruction import reconstruct, resolution_for
from surfrecon.run import Run
from surfrecon.survey import survey

SECONDS_PER_POINT, BYTES = 2e-5, 5e8


class PlanesField(Field):
    """Signed distances to planes through points (N, 3) along unit normals (N, 3): of each place, to those of its nearest points."""

    def __init__(self, points: np.ndarray, normals: np.ndarray, neighbours: int, resolution: int):
        super().__init__()
        self.points, self.normals, self.neighbours, self.resolution = points, normals, neighbours, resolution
        self.tree = cKDTree(points)

    def forward(self, x: Tensor) -> Tensor:
        return self.value_and_gradient(x)[0]

    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        places = x.cpu().numpy().astype(float)
        nearest = self.tree.query(places, self.neighbours, workers=-1)[1].reshape(len(places), -1)
        normal = self.normals[nearest].mean(axis=1)
        value = np.einsum("nki,nki->nk", places[:, None] - self.points[nearest], self.normals[nearest]).mean(axis=1)
        return torch.as_tensor(value).to(x), torch.as_tensor(normal).to(x)


@dataclass(frozen=True)
class OffsetPlanes:
    """Settings of offset_planes.

    Attributes:
        neighbours: planes whose distances are averaged.
    """

    neighbours: int = 4

    PRESETS: ClassVar[dict[str, dict[str, Any]]] = {"balanced": {}, "fast": {"neighbours": 1}}
    accepts: ClassVar[tuple[type, ...]] = (PointCloud,)
    starts_from: ClassVar[tuple[str, dict[str, Any]] | None] = None
    refined_by: ClassVar[tuple[str, dict[str, Any]] | None] = None
    follows: ClassVar[bool] = False

    def fit(self, scan: PointCloud, run: Run, start: Field | None = None) -> Field:
        known = survey(scan, run)
        return PlanesField(known.scan.points, known.orientation.normals, self.neighbours, resolution_for(known.scan))

    def foresee(self, scan: PointCloud) -> tuple[float, float, int]:
        return SECONDS_PER_POINT * len(scan), BYTES, resolution_for(scan)


METHODS["offset_planes"] = f"{__name__}:OffsetPlanes"

if __name__ == "__main__":
    shape = named("bracket")
    cloud = read_scan(sys.argv[1]) if len(sys.argv) > 1 else simulated(mesh_of(shape), points=5000)
    for method in (OffsetPlanes(), OffsetPlanes(neighbours=1), "gridpull"):
        mesh = reconstruct(cloud, method).mesh
        error = "" if len(sys.argv) > 1 else f", vertices off by {np.abs(shape.distance(mesh.vertices)).mean():.2g} on average"
        print(f"{method}: {len(mesh.faces)} faces, volume {mesh.volume():.4g}{error}")
