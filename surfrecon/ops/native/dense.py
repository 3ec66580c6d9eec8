"""Dense lattices, see dense.cpp, dense_pulling.cpp and dense_spline.cpp; one step of Adam, see dense_adam.cpp."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from surfrecon.errors import InputError
from surfrecon.ops.native.loader import COUNT, FLOATS, INTS, LONGS, SIZE, checked, function, threads

CHUNK = 4096  # pairs of one partial sum, as in dense.h
MOST_POINTS = 2**31 - 1  # that int32 counts
DOUBLES, DOUBLE = ctypes.c_void_p, ctypes.c_double

_forward = function("trilinear_forward", [FLOATS, SIZE, FLOATS, SIZE, FLOATS, FLOATS, COUNT])
_backward = function("trilinear_backward", [FLOATS, SIZE, FLOATS, FLOATS, SIZE, FLOATS, INTS, INTS, LONGS, COUNT])
_pulling = function(
    "pulling",
    [FLOATS, FLOATS, SIZE, FLOATS, FLOATS, SIZE, DOUBLE, DOUBLE, DOUBLE, FLOATS, FLOATS, INTS, INTS, LONGS, INTS, DOUBLES, COUNT],
    DOUBLE,
)
_gather = function("spline_gather", [FLOATS, SIZE, SIZE, SIZE, FLOATS, SIZE, FLOATS, FLOATS, COUNT])
_splat = function("spline_splat", [FLOATS, FLOATS, SIZE, SIZE, SIZE, SIZE, SIZE, FLOATS, INTS, INTS, LONGS, COUNT])
_adam = function("adam_step", [FLOATS, FLOATS, FLOATS, FLOATS, SIZE, SIZE, DOUBLE, COUNT])


def trilinear(values: Tensor, x: Tensor, *, gradient: bool = True) -> tuple[Tensor, Tensor | None]:
    """As the reference's; gradient: values, first order."""
    return _Trilinear.apply(_lattice(values), _points(x, "x"), gradient)


class _Trilinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, x, gradient):
        value = values.new_empty(len(x))
        slope = values.new_empty(len(x), 3) if gradient else None
        _forward(values.data_ptr(), len(values), x.data_ptr(), len(x), value.data_ptr(), _pointer(slope), threads())
        ctx.save_for_backward(x)
        ctx.nodes = len(values)
        ctx.set_materialize_grads(False)
        return value, slope

    @staticmethod
    @once_differentiable
    def backward(ctx, by_value, by_slope):
        (x,) = ctx.saved_tensors
        by_value, by_slope = (None if given is None else given.contiguous() for given in (by_value, by_slope))
        lattice = x.new_zeros((ctx.nodes,) * 3)
        slab, order, start = _scratch(len(x), ctx.nodes + 1)
        _backward(
            x.data_ptr(), len(x), _pointer(by_value), _pointer(by_slope), ctx.nodes, lattice.data_ptr(), slab.data_ptr(), order.data_ptr(),
            start.data_ptr(), threads(),
        )  # fmt: skip
        return lattice, None, None


def pulling(
    values: Tensor, queries: Tensor, targets: Tensor, weights: Tensor, *, smooth: float, surface: float, align: float
) -> Tensor:
    """As the reference's. The gradient is made together with the loss, and is handed on without a copy: backward runs once."""
    values, weights = _lattice(values), checked(weights, "weights", values.shape, torch.float32)
    queries, targets = _points(queries, "queries"), checked(targets, "targets", queries.shape, torch.float32)
    if not len(queries):
        raise InputError("pulling needs one query at least, got none")
    return _Pulling.apply(values, queries, targets, weights, smooth, surface, align)


class _Pulling(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values, queries, targets, weights, smooth, surface, align):
        nodes, count = len(values), len(queries)
        ranges = torch.empty(nodes, nodes, 2, dtype=torch.int32)
        sums = torch.empty(nodes + 3 * -(-count // CHUNK), dtype=torch.float64)
        gradient = back = slab = order = start = None
        if ctx.needs_input_grad[0]:
            gradient, back = torch.empty_like(values), values.new_empty(8 * count)
            slab, order, start = _scratch(2 * count, nodes + 1)
        loss = _pulling(
            values.data_ptr(), weights.data_ptr(), nodes, queries.data_ptr(), targets.data_ptr(), count, smooth, surface, align,
            *map(_pointer, (gradient, back, slab, order, start, ranges, sums)), threads(),
        )  # fmt: skip
        ctx.gradient = gradient
        return values.new_tensor(loss)

    @staticmethod
    @once_differentiable
    def backward(ctx, by_loss):
        if ctx.gradient is None:
            raise RuntimeError("the gradient of pulling was handed out already: call it again for another")
        gradient, ctx.gradient = ctx.gradient, None
        return (gradient if by_loss == 1 else gradient.mul_(by_loss), *[None] * 6)


def spline_gather(lattice: Tensor, u: Tensor, *, gradient: bool = True) -> tuple[Tensor, Tensor | None]:
    """As the reference's, without its derivatives."""
    lattice, u = checked(lattice, "lattice", (None, None, None), torch.float32), _points(u, "u")
    value = lattice.new_empty(len(u))
    slope = lattice.new_empty(len(u), 3) if gradient else None
    _gather(lattice.data_ptr(), *lattice.shape, u.data_ptr(), len(u), value.data_ptr(), _pointer(slope), threads())
    return value, slope


def spline_splat(u: Tensor, amounts: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """As the reference's, without its derivatives."""
    u = _points(u, "u")
    width = () if amounts.ndim == 1 else (3,)
    amounts = checked(amounts, "amounts", (len(u), *width), torch.float32)
    lattice = u.new_zeros(shape)
    if min(shape) > 2:
        slab, order, start = _scratch(len(u), shape[0])
        _splat(
            u.data_ptr(), amounts.data_ptr(), 3 if width else 1, len(u), *shape, lattice.data_ptr(), slab.data_ptr(), order.data_ptr(),
            start.data_ptr(), threads(),
        )  # fmt: skip
    return lattice


def adam_step(parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, *, step: int, rate: float) -> None:
    """As the reference's; all but the gradient must be contiguous."""
    for name, tensor in (("parameter", parameter), ("mean", mean), ("square", square)):
        if not tensor.is_contiguous():
            raise InputError(f"{name} is changed in place and must be contiguous, got strides {tensor.stride()}")
        checked(tensor, name, parameter.shape, torch.float32)
    gradient = checked(gradient, "gradient", parameter.shape, torch.float32)
    arrays = (tensor.data_ptr() for tensor in (parameter, gradient, mean, square))
    _adam(*arrays, parameter.numel(), step, rate, threads())
    torch.autograd.graph.increment_version([parameter, mean, square])  # as torch does when it changes a tensor


def _lattice(values: Tensor) -> Tensor:
    values = checked(values, "values", (None, None, None), torch.float32)
    if len(set(values.shape)) > 1 or len(values) < 2:
        raise InputError(f"values must be (M, M, M) with M >= 2, got {tuple(values.shape)}")
    return values


def _points(x: Tensor, name: str) -> Tensor:
    x = checked(x, name, (None, 3), torch.float32)
    if 2 * len(x) > MOST_POINTS:
        raise InputError(f"at most {MOST_POINTS // 2:,} points go at a time, got {len(x):,}")
    return x


def _scratch(count: int, starts: int) -> tuple[Tensor, Tensor, Tensor]:
    """Room to sort points by slab: (count,) slabs, (count,) order, (starts,)."""
    slab, order = torch.empty(2, count, dtype=torch.int32)
    return slab, order, torch.empty(starts, dtype=torch.int64)


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
