"""What extraction costs: sparse bricks beside a dense lattice (PyMCubes on R^3 samples), of the same field in the same run.

    python benchmarks/extraction.py
"""

from __future__ import annotations

import time

import mcubes
import numpy as np
import torch
from results import record, table

from surfrecon.extract import marching_cubes
from surfrecon.fields import Field

RESOLUTIONS = (128, 256, 512, 1024)
LARGEST_DENSE = 256  # a dense lattice of 512^3 would take 0.5 GB and minutes
MAJOR, MINOR = 0.6, 0.22  # radii of the torus


class Torus(Field):
    """A torus with ripples: a distance up to its slope bound. Counts its evaluations."""

    lipschitz = 1.5

    def __init__(self):
        super().__init__()
        self.evaluations = 0

    def forward(self, x):
        self.evaluations += len(x)
        ring = torch.hypot(torch.hypot(x[:, 0], x[:, 1]) - MAJOR, x[:, 2]) - MINOR
        return ring + 0.01 * torch.sin(20 * x).prod(1)

    def value_and_gradient(self, x):
        raise NotImplementedError("extraction asks for values alone")


def dense(field: Field, resolution: int) -> int:
    """Faces of marching cubes over every node of the box."""
    axis = torch.linspace(-1, 1, resolution + 1)
    layers = [field(torch.cartesian_prod(axis[i : i + 1], axis, axis)) for i in range(resolution + 1)]
    return len(mcubes.marching_cubes(torch.stack(layers).reshape((resolution + 1,) * 3).numpy(), 0)[1])


def main() -> None:
    rows, before = [], None
    for resolution in RESOLUTIONS:
        field = Torus()
        start = time.perf_counter()
        faces = len(marching_cubes(field, resolution=resolution).faces)
        seconds, evaluations = time.perf_counter() - start, field.evaluations
        row = [f"{resolution}", f"{faces:,}", f"{evaluations:,}", f"{evaluations / faces:.1f}", f"{seconds:.2f}"]
        row.append("" if before is None else f"{seconds / before:.1f}")
        if resolution <= LARGEST_DENSE:
            start = time.perf_counter()
            same = dense(Torus(), resolution)
            assert same == faces, (same, faces)
            row += [f"{time.perf_counter() - start:.2f}", f"{(resolution + 1) ** 3 / evaluations:.1f}"]
        else:
            row += ["", f"{(resolution + 1) ** 3 / evaluations:.1f}"]
        rows.append(row)
        before = seconds
        print("  ".join(row), flush=True)
    head = ["cells a side", "faces", "evaluations", "per face", "s", "times the row above", "dense lattice, s", "its evaluations over ours"]
    growth = np.log2(float(rows[-1][4]) / float(rows[0][4])) / np.log2(RESOLUTIONS[-1] / RESOLUTIONS[0])
    text = f"A rippled torus. Time grows with resolution^{growth:.1f} (area: 2, volume: 3).\n\n" + table(head, rows)
    print(text)
    record("Extraction", text)


if __name__ == "__main__":
    main()
