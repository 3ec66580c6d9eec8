"""Kernels in Triton for NVIDIA GPUs, float32; triton itself is imported at the first call.

The first call for a layout compiles its kernels (seconds; Triton keeps them on disk) and tries them on one point. After that nothing waits
for the GPU, and no buffer's size depends on its numbers, except that march waits once a call, for the number of its samples. A step of
training without march can be captured as a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from surfrecon.ops.hash_grid import HashGrid, SdfNetwork
from surfrecon.ops.samples import Composite, Samples, Surface
from surfrecon.ops.triton.here import PRECISIONS, precision, problem, use_precision

KERNELS = frozenset({"adam_step", "hash_encode", "hash_sdf", "march", "neus_composite"})

__all__ = ["KERNELS", "PRECISIONS", "precision", "problem", "use_precision", *sorted(KERNELS)]


def hash_encode(
    grid: HashGrid, table: Tensor, x: Tensor, *, mask: Tensor | None = None, gradient: bool = False
) -> tuple[Tensor, Tensor | None]:
    """As the reference's; gradient: table, first order."""
    from surfrecon.ops.triton import encoding

    return encoding.hash_encode(grid, table, x, mask=mask, gradient=gradient)


def hash_sdf(
    network: SdfNetwork,
    table: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    x: Tensor,
    *,
    mask: Tensor | None = None,
    gradient: bool = True,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """As the reference's, to the precision in use; gradient: table, weights and biases, first order."""
    from surfrecon.ops.triton import sdf

    return sdf.hash_sdf(network, table, weights, biases, x, mask=mask, gradient=gradient)


def adam_step(parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, *, step: int | Tensor, rate: float | Tensor) -> None:
    """As the reference's."""
    from surfrecon.ops.triton import adam

    adam.adam_step(parameter, gradient, mean, square, step=step, rate=rate)


def neus_composite(
    samples: Samples, directions: Tensor, sdf: Tensor, gradient: Tensor, color: Tensor, inv_s: Tensor, *, anneal: float = 1.0
) -> Composite:
    """As the reference's; gradient: directions, sdf, gradient, color and inv_s, first order. Offsets are not looked at by the CPU."""
    from surfrecon.ops.triton import compositing

    return compositing.neus_composite(samples, directions, sdf, gradient, color, inv_s, anneal=anneal)


def march(
    occupied: Tensor,
    origins: Tensor,
    directions: Tensor,
    *,
    step: float | Tensor,
    jitter: Tensor,
    most: int,
    surface: Surface | None = None,
) -> Samples:
    """As the reference's, to the byte; with a surface but for samples on the edge of being seen. It waits once, for their number."""
    from surfrecon.ops.triton import marching

    return marching.march(occupied, origins, directions, step=step, jitter=jitter, most=most, surface=surface)
