"""hash_sdf by two kernels, see sdf_kernels.py; or, where a network is too wide for them, hash_encode's kernels and torch's products."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
import triton
from torch import Tensor
from torch.autograd.function import once_differentiable

from surfrecon.ops.hash_grid import SdfNetwork
from surfrecon.ops.reference.hash_sdf import composed
from surfrecon.ops.trial import trial
from surfrecon.ops.triton import encoding, sdf_kernels
from surfrecon.ops.triton.cells import lanes, levels_on
from surfrecon.ops.triton.here import WARPS, points, precision, require

log = logging.getLogger("surfrecon")

MOST_UNITS = 192  # in all hidden layers: more need more registers or shared memory than there are
# Small networks need 127 to 143 registers a thread in backward, depending on the compiler; with 128 two programs share a processor, at the
# cost of 24 bytes of memory a thread at most.
SMALL = {"units": 64, "columns": 32}
SHARED_REGISTERS = 128
COPIES = 64  # of the derivatives of weights: programs add to them in turn, so that few meet
NARROWEST_PRODUCT = 16  # columns, on tensor cores

_said: set[SdfNetwork] = set()


def hash_sdf(
    network: SdfNetwork,
    table: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    x: Tensor,
    *,
    mask: Tensor | None,
    gradient: bool,
) -> tuple[Tensor, Tensor | None, Tensor]:
    network.check(table, weights, biases, x, mask)
    require(x, "x")
    x, mask = x.detach().contiguous(), None if mask is None else mask.detach().contiguous()
    if network.hidden * network.width > MOST_UNITS:
        return _unfused(network, table, weights, biases, x, mask, gradient)
    parameters = [table.contiguous(), *weights, *biases]
    with torch.cuda.device_of(x):
        if len(x):
            what = ("hash_sdf", network, gradient, mask is None, precision(), x.device)
            trial(what, lambda: _try(network, precision(), gradient, x[:1], mask, parameters))
        return _Sdf.apply(network, precision(), gradient, x, mask, *parameters)


def _try(network: SdfNetwork, precision: str, gradient: bool, x: Tensor, mask: Tensor | None, parameters: Sequence[Tensor]) -> None:
    with torch.enable_grad():
        leaves = [parameter.detach().requires_grad_() for parameter in parameters]
        results = [part for part in _Sdf.apply(network, precision, gradient, x, mask, *leaves) if part is not None]
        torch.autograd.grad(results, leaves, [torch.ones_like(part) for part in results])


def _unfused(
    network: SdfNetwork, table: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], x: Tensor, mask: Tensor | None, gradient: bool
) -> tuple[Tensor, Tensor | None, Tensor]:
    """By autograd through three parts; all of them are linear in the encoding or written out, so that one backward does."""
    if network not in _said:
        _said.add(network)
        size = f"{network.hidden} hidden layers of {network.width}"
        log.info("a network of %s is too wide for one kernel: its grid by triton, its layers by torch, several times slower", size)
    return composed(network, weights, biases, x, *encoding.hash_encode(network.grid, table, x, mask=mask, gradient=gradient))


def options(network: SdfNetwork) -> dict[str, int]:
    """What the compiler is told for backward."""
    small = network.hidden * network.width <= SMALL["units"] and lanes(network.grid) * network.grid.features <= SMALL["columns"]
    return {"num_warps": WARPS} | ({"maxnreg": SHARED_REGISTERS} if small else {})


def tiles(network: SdfNetwork, precision: str) -> dict[str, object]:
    """What a kernel knows of a network when it is compiled."""
    return encoding.tiles(network.grid) | {
        "WIDTH": network.width,
        "HIDDEN": network.hidden,
        "OUTPUTS": network.outputs,
        "PADDED": max(NARROWEST_PRODUCT, triton.next_power_of_2(network.outputs)),
        "ACTIVATION": network.activation,
        "BIASES": int(network.biases),
        "XYZ": int(network.xyz),
        "PRECISION": precision,
    }


class _Sdf(torch.autograd.Function):
    @staticmethod
    def forward(ctx, network, precision, gradient, x, mask, table, *layers):
        flat = torch.cat([layer.reshape(-1) for layer in layers])
        sdf, features = x.new_empty(len(x)), x.new_empty(len(x), network.outputs - 1)
        slope = x.new_empty(len(x), 3) if gradient else None
        if len(x):
            sdf_kernels.forward[triton.cdiv(len(x), points()),](
                x, table, *levels_on(network.grid, x.device), mask, flat, sdf, slope, features, len(x), float(network.radius),
                **tiles(network, precision), num_warps=WARPS,
            )  # fmt: skip
        ctx.save_for_backward(x, mask, table, flat)
        ctx.network, ctx.precision, ctx.shapes = network, precision, [layer.shape for layer in layers]
        ctx.set_materialize_grads(False)
        return sdf, slope, features

    @staticmethod
    @once_differentiable
    def backward(ctx, by_sdf, by_slope, by_features):
        x, mask, table, flat = ctx.saved_tensors
        wanted = ctx.needs_input_grad[5:]
        if ctx.network.outputs == 1:
            by_features = None
        asked = [None if given is None else given.contiguous() for given in (by_sdf, by_slope, by_features)]
        programs = triton.cdiv(len(x), points())
        to_table = torch.zeros_like(table) if wanted[0] else None
        to_flat = x.new_zeros(min(COPIES, max(1, programs)), len(flat)) if any(wanted[1:]) else None
        if programs and any(given is not None for given in asked):
            with torch.cuda.device_of(x):
                sdf_kernels.backward[programs,](
                    x, table, *levels_on(ctx.network.grid, x.device), mask, flat, *asked, to_table, to_flat, len(x), COPIES,
                    **tiles(ctx.network, ctx.precision), **options(ctx.network),
                )  # fmt: skip
        to_layers = [None] * len(ctx.shapes)
        if to_flat is not None:
            sizes = [shape.numel() for shape in ctx.shapes]
            parts = to_flat.sum(0).split(sizes)
            to_layers = [part.view(shape) if want else None for part, shape, want in zip(parts, ctx.shapes, wanted[1:])]
        return *[None] * 5, to_table, *to_layers
