"""One step of Adam on one parameter, in place."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BETAS = (0.9, 0.999)  # of the means of gradients and of their squares, as its authors have them
EPSILON = 1e-8  # keeps the quotient finite


def adam_step(parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, *, step: int | Tensor, rate: float | Tensor) -> None:
    """Move a parameter by Adam: m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, p <- p - rate m' / (sqrt(v') + epsilon).

    m' = m / (1 - b1^step) and v' = v / (1 - b2^step) undo the bias of a start from zero.

    Args:
        parameter, gradient: of one shape; the gradient stays as it is.
        mean, square: m and v, zero at the start.
        step: from 1; it and the rate may be () tensors on the parameter's device, which a CUDA graph reads anew at each replay.
        rate: in units of the parameter.
    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.
    """
    mean.lerp_(gradient, 1 - BETAS[0])
    square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
    size = square.sqrt().div_(_lost(BETAS[1], step) ** 0.5).add_(EPSILON)
    parameter.sub_(torch.div(mean, size, out=size).mul_(rate / _lost(BETAS[0], step)))


def _lost(beta: float, step: int | Tensor) -> float | Tensor:
    """1 - beta^step."""
    return -torch.expm1(math.log(beta) * step) if isinstance(step, Tensor) else 1 - beta**step
