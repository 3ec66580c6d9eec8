"""The compute contract: each op, who can compute it, and the choice between them."""

from surfrecon.ops.reference import STENCIL, SparseRows, bspline_evaluate, bspline_weights, gather, splat

__all__ = ["STENCIL", "SparseRows", "bspline_evaluate", "bspline_weights", "gather", "splat"]
