"""What rays see of samples, see compositing.cpp."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from surfrecon.ops.native.loader import COUNT, FLOATS, LONGS, REAL, SIZE, checked, function, threads
from surfrecon.ops.samples import Composite, Samples, check_composite

CHUNK = 64  # rays, as in compositing.cpp

_INPUTS = [LONGS, SIZE, *[FLOATS] * 6, REAL, REAL]
_forward = function("neus_composite_forward", [*_INPUTS, *[FLOATS] * 6, COUNT])
_backward = function("neus_composite_backward", [*_INPUTS, *[FLOATS] * 12, ctypes.c_void_p, COUNT], ctypes.c_double)


def neus_composite(
    samples: Samples, directions: Tensor, sdf: Tensor, gradient: Tensor, color: Tensor, inv_s: Tensor, *, anneal: float = 1.0
) -> Composite:
    """As the reference's; gradient: directions, sdf, gradient, color and inv_s, first order.

    Raises:
        InputError: a shape is another, dtype or device is not float32 on the CPU, or offsets fall.
    """
    checked(samples.t, "t", (None,), torch.float32)
    check_composite(samples, directions, sdf, gradient, color, inv_s, anneal)
    samples.check_order()
    fixed = (samples.offsets.contiguous(), samples.t.contiguous(), samples.lengths.contiguous())
    moving = (directions.contiguous(), sdf.contiguous(), gradient.contiguous(), color.contiguous(), inv_s)
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in moving)
    return Composite(*_Composite.apply(anneal, keep, *fixed, *moving))


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anneal, keep, offsets, t, lengths, directions, sdf, gradient, color, inv_s):
        rays = len(directions)
        weights = torch.empty_like(t)
        behind = torch.empty_like(t) if keep else None
        colors, normal, depth, transmittance = t.new_empty(rays, 3), t.new_empty(rays, 3), t.new_empty(rays), t.new_empty(rays)
        inputs = offsets, t, lengths, directions, sdf, gradient, color
        _forward(
            *_arguments(inputs, inv_s, anneal), *map(_pointer, (weights, colors, depth, normal, transmittance, behind)), threads(),
        )  # fmt: skip
        if keep:
            ctx.save_for_backward(*inputs, inv_s, weights, transmittance, behind)
        ctx.anneal = anneal
        ctx.set_materialize_grads(False)
        return weights, colors, depth, normal, transmittance

    @staticmethod
    @once_differentiable
    def backward(ctx, *owed):
        *inputs, inv_s, weights, transmittance, behind = ctx.saved_tensors
        owed = [None if each is None else each.contiguous() for each in owed]
        wanted = ctx.needs_input_grad[5:9]
        by_directions, by_sdf, by_gradient, by_color = (
            torch.empty_like(tensor) if want or place == 1 else None for place, (tensor, want) in enumerate(zip(inputs[3:], wanted))
        )
        sums = torch.empty(-(-len(transmittance) // CHUNK), dtype=torch.float64)
        by_inv_s = _backward(
            *_arguments(inputs, inv_s, ctx.anneal), *map(_pointer, (weights, transmittance, behind, *owed)),
            *map(_pointer, (by_directions, by_sdf, by_gradient, by_color, sums)), threads(),
        )  # fmt: skip
        return (*[None] * 5, by_directions, by_sdf, by_gradient, by_color, inv_s.new_tensor(by_inv_s))


def _arguments(inputs: tuple[Tensor, ...], inv_s: Tensor, anneal: float) -> tuple:
    offsets, *arrays = inputs
    return (offsets.data_ptr(), len(offsets) - 1, *map(_pointer, arrays), float(inv_s), anneal)


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
