"""One step of Adam in one kernel, see reference/adam.py, which it must equal. Threads: one for four numbers,
which it reads and writes at once where their count is a multiple of 16.

Seven arrays pass through memory once. Step and rate may be numbers or lie in memory, where a CUDA graph finds new ones at each replay.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from surfrecon.errors import InputError
from surfrecon.ops.reference.adam import BETAS, EPSILON
from surfrecon.ops.trial import trial
from surfrecon.ops.triton.here import require

BLOCK, WARPS = 1024, 8
MOST_NUMBERS = 2**31 - BLOCK  # that int32 counts
BETA_1, BETA_2, TINY = tl.constexpr(BETAS[0]), tl.constexpr(BETAS[1]), tl.constexpr(EPSILON)
LOG_1, LOG_2 = tl.constexpr(math.log(BETAS[0])), tl.constexpr(math.log(BETAS[1]))


def adam_step(parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, *, step: int | Tensor, rate: float | Tensor) -> None:
    for name, tensor in (("parameter", parameter), ("gradient", gradient), ("mean", mean), ("square", square)):
        if tensor.shape != parameter.shape or tensor.dtype != torch.float32 or tensor.device != parameter.device:
            want = f"{tuple(parameter.shape)} {torch.float32} on the {parameter.device}"
            raise InputError(f"{name} must be {want}, got {tuple(tensor.shape)} {tensor.dtype} on the {tensor.device}")
        if name != "gradient" and not tensor.is_contiguous():
            raise InputError(f"{name} is changed in place and must be contiguous; make it so before the first step")
    count = parameter.numel()
    if count > MOST_NUMBERS:
        raise InputError(f"a parameter has at most {MOST_NUMBERS:,} numbers here, got {count:,}")
    require(parameter.reshape(-1)[:1], "parameter")
    if not count:
        return
    kept = isinstance(step, Tensor), isinstance(rate, Tensor)
    step, rate = step if kept[0] else float(step), rate if kept[1] else float(rate)
    with torch.cuda.device_of(parameter):
        probe = lambda: _launch(*torch.zeros(4, 1, device=parameter.device).unbind(), step, rate, *kept)
        trial(("adam_step", *kept, parameter.device), probe)
        _launch(parameter.detach(), gradient.detach().contiguous(), mean, square, step, rate, *kept)
    torch.autograd.graph.increment_version([parameter, mean, square])  # as torch does when it changes a tensor


def _launch(parameter, gradient, mean, square, step, rate, step_kept: bool, rate_kept: bool) -> None:
    count = parameter.numel()
    adam[triton.cdiv(count, BLOCK),](
        parameter, gradient, mean, square, step, rate, count, STEP_KEPT=step_kept, RATE_KEPT=rate_kept, BLOCK=BLOCK, num_warps=WARPS
    )


@triton.jit
def lost(log_beta, step):
    """1 - beta^step, to all digits: by its series where that is small."""
    y = log_beta * step
    series = -y * (1.0 + y / 2.0 * (1.0 + y / 3.0 * (1.0 + y / 4.0 * (1.0 + y / 5.0 * (1.0 + y / 6.0)))))
    return tl.where(y > -0.3, series, 1.0 - tl.exp(y))


@triton.jit
def adam(parameter, gradient, mean, square, step, rate, count, STEP_KEPT: tl.constexpr, RATE_KEPT: tl.constexpr, BLOCK: tl.constexpr):
    if STEP_KEPT:
        step = tl.load(step).to(tl.float32)
    if RATE_KEPT:
        rate = tl.load(rate).to(tl.float32)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = place < count
    g = tl.load(gradient + place, mask=there, other=0.0)
    m = tl.load(mean + place, mask=there, other=0.0)
    v = tl.load(square + place, mask=there, other=0.0)
    p = tl.load(parameter + place, mask=there, other=0.0)
    m += (1.0 - BETA_1) * (g - m)
    v = BETA_2 * v + (1.0 - BETA_2) * g * g
    size = tl.sqrt_rn(v) / tl.sqrt(lost(LOG_2, step)) + TINY
    p -= rate / lost(LOG_1, step) * m / size
    tl.store(mean + place, m, mask=there)
    tl.store(square + place, v, mask=there)
    tl.store(parameter + place, p, mask=there)
