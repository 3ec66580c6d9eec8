"""A signed distance function on a hash grid, see hash_sdf.cpp."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from surfrecon.ops.hash_grid import ACTIVATIONS, SdfNetwork
from surfrecon.ops.native.hash_encoding import LAYOUT, TILE, layout, pointer, tiles
from surfrecon.ops.native.loader import COUNT, FLOATS, REAL, SIZE, checked, function, threads
from surfrecon.ops.native.memory import empty

MOST_RUNS, MOST_ROWS = 64, 131  # as in hash_sdf.cpp
ARRAYS, SPARE = 5, 2  # of a network's scratch, as in perceptron.h
MOST_LANES = 16  # of any variant


class _Network(ctypes.Structure):
    _fields_ = [(name, COUNT) for name in ("inputs", "width", "hidden", "outputs", "activation", "biases")]


_forward = function(
    "hash_sdf_forward",
    [LAYOUT, LAYOUT, REAL, FLOATS, FLOATS, FLOATS, FLOATS, SIZE, FLOATS, FLOATS, FLOATS, FLOATS, COUNT, FLOATS, COUNT],
)
_backward = function(
    "hash_sdf_backward",
    [
        LAYOUT, LAYOUT, FLOATS, FLOATS, FLOATS, COUNT, SIZE, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, COUNT,
    ],
)  # fmt: skip


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
    """As the reference's; gradient: table, weights and biases, first order.

    Raises:
        InputError: a shape is not the layout's, or dtype or device is not float32 on the CPU.
    """
    network.check(table, weights, biases, x, mask)
    x, mask = checked(x, "x", (None, 3), torch.float32), None if mask is None else mask.contiguous()
    pairs = zip(weights, biases) if network.biases else zip(weights)
    parameters = torch.cat([tensor.flatten() for pair in pairs for tensor in pair])
    keep = torch.is_grad_enabled() and (table.requires_grad or parameters.requires_grad)
    return _HashSdf.apply(network, table.contiguous(), parameters, x, mask, gradient, keep)


class _HashSdf(torch.autograd.Function):
    @staticmethod
    def forward(ctx, network, table, parameters, x, mask, gradient, keep):
        grid, count = network.grid, len(x)
        sdf, features = x.new_empty(count), x.new_empty(count, network.outputs - 1)
        slope = x.new_empty(count, 3) if gradient else None
        blocks = tiles(grid, count, passes=not keep, rows=6 if gradient else 2)
        scratch = _scratch(network, len(parameters))
        _forward(
            layout(grid), _layout(network), network.radius, table.data_ptr(), pointer(mask), parameters.data_ptr(), x.data_ptr(), count,
            sdf.data_ptr(), pointer(slope), features.data_ptr(), blocks.data_ptr(), keep, scratch.data_ptr(), threads(),
        )  # fmt: skip
        if keep:
            ctx.save_for_backward(parameters, mask, blocks)
        ctx.network, ctx.points, ctx.sloped = network, count, gradient
        ctx.set_materialize_grads(False)
        return sdf, slope, features

    @staticmethod
    @once_differentiable
    def backward(ctx, *given):
        parameters, mask, blocks = ctx.saved_tensors
        network, grid = ctx.network, ctx.network.grid
        given = [None if each is None else each.contiguous() for each in given]
        owed_table = empty(grid.entries, grid.features) if ctx.needs_input_grad[1] else None
        owed = torch.empty_like(parameters) if ctx.needs_input_grad[2] else None
        sums = torch.zeros(MOST_RUNS, len(parameters))
        scratch = _scratch(network, len(parameters))
        _backward(
            layout(grid), _layout(network), pointer(mask), parameters.data_ptr(), blocks.data_ptr(), ctx.sloped, ctx.points,
            *map(pointer, (*given, owed_table, owed, sums, scratch)), threads(),
        )  # fmt: skip
        return None, owed_table, owed, None, None, None, None


@cache
def _structure(network: SdfNetwork) -> _Network:
    activation = ACTIVATIONS.index(network.activation)
    return _Network(network.inputs, network.width, network.hidden, network.outputs, activation, network.biases)


def _layout(network: SdfNetwork) -> int:
    return ctypes.addressof(_structure(network))


def _scratch(network: SdfNetwork, parameters: int) -> Tensor:
    """Each thread's own."""
    rows = (network.hidden * ARRAYS + SPARE) * network.width + 4 * MOST_ROWS
    return torch.empty(threads(), rows * TILE + parameters * MOST_LANES)
