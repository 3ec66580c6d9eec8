"""neus_composite by nerfacc's sums along rays, for who has it: opacities are ours, by torch, derivatives come by autograd through both.

It is imported at the first call, and then compiles its kernels by the CUDA toolkit (minutes, once on a machine). Optical depths are summed,
as in the reference: nerfacc's products of 1 - opacity have wrong derivatives where an interval lets nothing through. There is no
march: nerfacc's traversal of a grid adds up steps in float32, of one length for all rays, and so meets other places than ours.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module

import torch
from torch import Tensor

from surfrecon.ops import gpu_package, reference
from surfrecon.ops.reference.compositing import optical_depth
from surfrecon.ops.samples import Composite, Samples, check_composite
from surfrecon.ops.trial import trial

KERNELS = frozenset({"neus_composite"})


@cache
def problem(device: torch.device) -> str | None:
    """Why it can't compute on a device, None if it can."""
    return gpu_package.problem("nerfacc", "nerfacc", device)


def neus_composite(
    samples: Samples, directions: Tensor, sdf: Tensor, gradient: Tensor, color: Tensor, inv_s: Tensor, *, anneal: float = 1.0
) -> Composite:
    """As the reference's; gradient: directions, sdf, gradient, color and inv_s, first order. Offsets are not looked at by the CPU."""
    check_composite(samples, directions, sdf, gradient, color, inv_s, anneal)
    if not len(samples):
        return reference.neus_composite(samples, directions, sdf, gradient, color, inv_s, anneal=anneal)
    trial(("nerfacc", samples.t.device), lambda: _try(samples.t.device))
    return _composite(samples, directions, sdf, gradient, color, inv_s, anneal)


def _composite(
    samples: Samples, directions: Tensor, sdf: Tensor, gradient: Tensor, color: Tensor, inv_s: Tensor, anneal: float
) -> Composite:
    nerfacc, ray, count = import_module("nerfacc"), samples.ray_of(), samples.rays
    tau = optical_depth(sdf, (gradient * directions[ray]).sum(1), samples.lengths, inv_s, anneal)
    chunks = torch.stack([samples.offsets[:-1], samples.counts], dim=1)
    weights = torch.exp(-nerfacc.exclusive_sum(tau, chunks)) * -torch.expm1(-tau)
    gather = lambda each, values=None: nerfacc.accumulate_along_rays(each, values, ray, count)
    depth, deep = gather(weights, samples.t[:, None]), gather(tau)
    return Composite(weights, gather(weights, color), depth[:, 0], gather(weights, gradient), torch.exp(-deep[:, 0]))


def _try(device: torch.device) -> None:
    """What nerfacc prints as it compiles goes to stderr: stdout is for a command's result."""
    one, row = torch.ones(1, device=device), torch.ones(1, 3, device=device)
    with torch.enable_grad(), redirect_stdout(sys.stderr):
        inputs = [tensor.clone().requires_grad_() for tensor in (row, one, row, row, one[0])]
        results = _composite(Samples(one, one, torch.arange(2, device=device)), *inputs, 1.0)
        torch.autograd.backward(results, [torch.ones_like(part) for part in results])
