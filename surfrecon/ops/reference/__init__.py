"""Plain torch, any device, any float dtype: the oracle of every other backend, and the fallback."""

from surfrecon.ops.reference.bspline import STENCIL, bspline_evaluate, bspline_weights
from surfrecon.ops.reference.sparse import SparseRows
from surfrecon.ops.reference.splat import gather, splat

__all__ = ["STENCIL", "SparseRows", "bspline_evaluate", "bspline_weights", "gather", "splat"]
