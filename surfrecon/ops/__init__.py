"""The compute contract: each op, who can compute it, and the choice between them."""

from surfrecon.errors import InputError
from surfrecon.ops.reference import STENCIL, SparseRows, bspline_evaluate, bspline_weights, gather, splat

__all__ = ["STENCIL", "SparseRows", "bspline_evaluate", "bspline_weights", "choices", "gather", "splat"]

OPS = ("bspline_weights", "bspline_evaluate", "gather", "splat", "SparseRows")


def choices(device: str = "auto", backend: str = "auto") -> list[tuple[str, str, str]]:
    """(op, backend, reason) for every op.

    Raises:
        InputError: the backend isn't there.
    """
    if backend not in ("auto", "reference"):
        raise InputError(f"there is no backend {backend!r} in this version; reference (plain torch, any device) is the only one")
    return [(op, "reference", "plain torch, any device: the only backend of this version") for op in OPS]
