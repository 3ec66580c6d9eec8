"""Scan a shape whose distance is known, reconstruct it, and see how far the mesh is from the truth.

    python examples/simulate_and_reconstruct.py [SHAPE]
"""

import sys

import numpy as np

from surfrecon.data_tools.scanner import scan
from surfrecon.data_tools.shapes import mesh_of, named
from surfrecon.reconstruction import reconstruct

shape = named(sys.argv[1] if len(sys.argv) > 1 else "knot")
truth = mesh_of(shape)
cloud = scan(truth, points=20_000, depth_noise=0.001, outliers=0.01)
mesh = reconstruct(cloud).mesh

diagonal = np.linalg.norm(np.ptp(truth.bounds(), axis=0))
error = 1e3 * np.abs(shape.distance(mesh.vertices)) / diagonal
print(f"{len(cloud)} points became {len(mesh.faces)} faces, volume {mesh.volume():.4g} (truth {truth.volume():.4g})")
print(f"distance of vertices from the true surface, thousandths of the diagonal: mean {error.mean():.2f}, largest {error.max():.1f}")
