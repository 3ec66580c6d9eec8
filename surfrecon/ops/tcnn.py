"""hash_encode and hash_sdf by tinycudann's grid encoding, for who has it: the layout of a table is its layout of parameters.

It is imported at the first call: without a GPU its import raises. It has no kernel for the derivatives of all features, so hash_encode is
its own only where these aren't asked for. The gradient of hash_sdf is one row of derivatives, which our layers compute, sent back through
the encoding by autograd with create_graph: the one place where we do that. tinycudann has a kernel for what this asks of the backward,
which is derivatives of its encoding's derivatives with respect to the row and the table; nothing goes twice through the layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from importlib import import_module

import torch
from torch import Tensor
from torch.func import functional_call

from surfrecon.ops import gpu_package, reference
from surfrecon.ops.hash_grid import HashGrid, SdfNetwork
from surfrecon.ops.reference.hash_sdf import perceptron
from surfrecon.ops.trial import Unusable, trial

KERNELS = frozenset({"hash_encode", "hash_sdf"})
KEPT_GRIDS = 16


@cache
def problem(device: torch.device) -> str | None:
    """Why it can't compute on a device, None if it can."""
    return gpu_package.problem("tcnn", "tinycudann", device)


def hash_encode(
    grid: HashGrid, table: Tensor, x: Tensor, *, mask: Tensor | None = None, gradient: bool = False
) -> tuple[Tensor, Tensor | None]:
    """As the reference's, which computes where derivatives are asked for."""
    grid.check(table, x, mask)
    if gradient or not len(x):
        return reference.hash_encode(grid, table, x, mask=mask, gradient=gradient)
    return _features(grid, table, _unit(x), mask), None


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
    """As the reference's; gradient: table, weights and biases, first order."""
    network.check(table, weights, biases, x, mask)
    if not len(x):
        return reference.hash_sdf(network, table, weights, biases, x, mask=mask, gradient=gradient)
    training, xyz = torch.is_grad_enabled(), x.detach().clamp(-1, 1)
    with torch.set_grad_enabled(training or gradient):
        u = _unit(x).requires_grad_(gradient)
        encoded = _features(network.grid, table, u, mask)
        inputs = torch.cat([encoded, xyz], dim=1) if network.xyz else encoded
        outputs, row = perceptron(network.activation, weights, biases, inputs, gradient=gradient)
        slope = None
        if row is not None:
            (slope,) = torch.autograd.grad(encoded, u, row[:, : network.grid.encoded], create_graph=training)
            slope = slope / 2  # u is half of x
            if network.xyz:
                slope = slope + row[:, network.grid.encoded :]
    results = outputs[:, 0] - network.radius, slope, outputs[:, 1:]
    return results if training else tuple(None if part is None else part.detach() for part in results)


def _unit(x: Tensor) -> Tensor:
    return (x.detach().clamp(-1, 1) + 1) / 2


def _features(grid: HashGrid, table: Tensor, u: Tensor, mask: Tensor | None) -> Tensor:
    """(N, L F), from places in [0, 1]."""
    trial(("tcnn", grid, u.device), lambda: _encoded(grid, table.detach(), u[:1].detach()))
    found = _encoded(grid, table, u)
    return found if mask is None else found * mask.repeat_interleave(grid.features)


def _encoded(grid: HashGrid, table: Tensor, u: Tensor) -> Tensor:
    return functional_call(_encoding(grid, u.device), {"params": table.reshape(-1)}, (u,))


@lru_cache(KEPT_GRIDS)
def _encoding(grid: HashGrid, device: torch.device) -> torch.nn.Module:
    config = {
        "otype": "HashGrid",
        "n_levels": grid.levels,
        "n_features_per_level": grid.features,
        "log2_hashmap_size": grid.log2_entries,
        "base_resolution": grid.base,
        "per_level_scale": grid.growth,
        "interpolation": "Smoothstep" if grid.smooth else "Linear",
    }
    with torch.cuda.device(device if device.type == "cuda" else -1):
        encoding = import_module("tinycudann").Encoding(3, config, dtype=torch.float32)
    if encoding.params.numel() != grid.numbers:  # it computes scales in float32: a level may be one vertex wider
        raise Unusable(f"its table for {grid} has {encoding.params.numel():,} numbers, ours {grid.numbers:,}")
    encoding.params.data = encoding.params.data.new_empty(0)  # every call brings its own
    return encoding
