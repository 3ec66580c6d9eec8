"""The pictures of docs/limits.md: simulated scans where reconstruction meets its limits, each beside the truth.

    python docs/make_pictures.py
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from surfrecon.data_tools.scanner import scan
from surfrecon.data_tools.shapes import mesh_of, named
from surfrecon.geometry import Mesh, PointCloud
from surfrecon.pictures import Camera, contact_sheet, save_png, shaded
from surfrecon.reconstruction import reconstruct

FOLDER = Path(__file__).parent
SIZE = (480, 360)


def sparse() -> list[Mesh]:
    """A knot by ever fewer points."""
    truth = mesh_of(named("knot"))
    cloud = scan(truth, points=30_000)
    thinner = [cloud[np.random.default_rng(0).permutation(len(cloud))[:count]] for count in (3000, 500)]
    return [truth, *(reconstruct(part).mesh for part in thinner)]


def one_sided() -> list[Mesh]:
    """A bracket seen from one side, by gridpull and with what the network knows of shapes."""
    truth = mesh_of(named("bracket"))
    cloud = scan(truth, points=30_000)
    sides = cloud.origins @ np.array([1.0, 0.5, 0.7])
    part = PointCloud(cloud.points[sides > np.median(sides)])
    return [truth, reconstruct(part, "gridpull").mesh, reconstruct(part, "convonet").mesh]


def noisy() -> list[Mesh]:
    """A bracket with noise of 0.3 and 1 % of its diagonal."""
    truth = mesh_of(named("bracket"))
    return [truth, *(reconstruct(scan(truth, points=30_000, depth_noise=noise)).mesh for noise in (0.003, 0.01))]


PICTURES: dict[str, Callable[[], list[Mesh]]] = {"limit_sparse": sparse, "limit_one_side": one_sided, "limit_noise": noisy}


def main() -> None:
    for name, make in PICTURES.items():
        row = [shaded(mesh, Camera(size=SIZE)) for mesh in make()]
        save_png(contact_sheet(row, columns=len(row)), FOLDER / f"{name}.png")
        print(f"{name}.png", flush=True)


if __name__ == "__main__":
    main()
