"""C++ kernels for CPUs, float32, one Python file beside each C++ file; the library is loaded at the first call."""

from surfrecon.ops.native.bending import laplacian, laplacian_rows
from surfrecon.ops.native.compositing import neus_composite
from surfrecon.ops.native.dense import adam_step, pulling, spline_gather, spline_splat, trilinear
from surfrecon.ops.native.field import spline_field
from surfrecon.ops.native.hash_encoding import hash_encode
from surfrecon.ops.native.hash_sdf import hash_sdf
from surfrecon.ops.native.loader import available
from surfrecon.ops.native.loops import odd_loops
from surfrecon.ops.native.marching import march
from surfrecon.ops.native.medians import known_medians
from surfrecon.ops.native.pull import pull_rows
from surfrecon.ops.native.sweep import sweep_scores

__all__ = [
    "KERNELS",
    "adam_step",
    "available",
    "hash_encode",
    "hash_sdf",
    "known_medians",
    "laplacian",
    "laplacian_rows",
    "march",
    "neus_composite",
    "odd_loops",
    "pull_rows",
    "pulling",
    "spline_field",
    "spline_gather",
    "spline_splat",
    "sweep_scores",
    "trilinear",
]

KERNELS = frozenset(__all__) - {"KERNELS", "available"}  # ops that are here
