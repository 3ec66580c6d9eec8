"""Plain torch, any device, any float dtype: the oracle of every other backend, and the fallback."""

from surfrecon.ops.reference.adam import adam_step
from surfrecon.ops.reference.bspline import STENCIL, bspline_evaluate, bspline_weights
from surfrecon.ops.reference.compositing import neus_alpha, neus_composite
from surfrecon.ops.reference.dense_spline import spline_gather, spline_splat
from surfrecon.ops.reference.field import spline_field
from surfrecon.ops.reference.hash_encoding import hash_encode
from surfrecon.ops.reference.hash_sdf import hash_sdf
from surfrecon.ops.reference.loops import odd_loops
from surfrecon.ops.reference.marching import march
from surfrecon.ops.reference.medians import known_medians
from surfrecon.ops.reference.pulling import pulling
from surfrecon.ops.reference.sparse import SparseRows
from surfrecon.ops.reference.sweep import box_sums, sweep_scores
from surfrecon.ops.reference.terms import laplacian, laplacian_rows, pull_rows
from surfrecon.ops.reference.trilinear import trilinear

__all__ = [
    "STENCIL",
    "SparseRows",
    "adam_step",
    "box_sums",
    "bspline_evaluate",
    "bspline_weights",
    "hash_encode",
    "hash_sdf",
    "known_medians",
    "laplacian",
    "laplacian_rows",
    "march",
    "neus_alpha",
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
