"""The only places where unknowns are improved: conjugate gradients for quadratic energies, Adam for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from surfrecon import ops
from surfrecon.errors import SurfreconError

DIVERGED = 1e3  # times the first step's loss: no fit that goes well comes near it


def conjugate_gradient(
    matrix: Callable[[Tensor], Tensor], right: Tensor, diagonal: Tensor, *, iterations: int, tolerance: float = 1e-3
) -> tuple[Tensor, int]:
    """Solve matrix(x) = right by conjugate gradients, preconditioned by the diagonal, from x = 0.

    Args:
        matrix: symmetric positive (semi-)definite map of (M,) to (M,).
        right: (M,).
        diagonal: (M,) > 0.
        iterations: at most.
        tolerance: on the preconditioned residual, relative to the first one.
    Returns:
        (M,) x, iterations used.
    Source: Shewchuk, "An introduction to the conjugate gradient method without the agonizing pain", 1994, B3.
    """
    x = torch.zeros_like(right)
    residual = right.clone()
    z = residual / diagonal
    direction = z.clone()
    energy = first = residual @ z
    done = 0
    while done < iterations and energy > tolerance**2 * first:
        image = matrix(direction)
        rate = energy / (direction @ image)
        x += rate * direction
        residual -= rate * image
        z = residual / diagonal
        previous, energy = energy, residual @ z
        direction = z + (energy / previous) * direction
        done += 1
    return x, done


def stepwise(rate: float, *, factor: float, every: int) -> Callable[[int], float]:
    """The learning rate of a step: `rate`, times `factor` after each `every` steps."""
    return lambda step: rate * factor ** (step // every)


def adam(
    loss_of_step: Callable[[int], Tensor],
    parameters: Iterable[Tensor],
    *,
    steps: int,
    rate: Callable[[int], float],
    on_step: Callable[[int, float], None] | None = None,
) -> float:
    """Lower a loss, which may change from step to step, by Adam; returns the last step's loss.

    Args:
        loss_of_step: step, from 0, -> (), >= 0.
        parameters: changed in place.
        steps: how many.
        rate: learning rate of each step, in units of the parameters.
        on_step: called after each step with the number of steps done and the step's loss; may raise to stop.
    Raises:
        SurfreconError: the loss isn't finite, or DIVERGED times what it was at the first step.
    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2015.
    """
    moments = [(parameter, torch.zeros_like(parameter), torch.zeros_like(parameter)) for parameter in parameters]
    value, limit = math.nan, math.inf
    with torch.enable_grad():
        for step in range(steps):
            for parameter, _, _ in moments:
                parameter.grad = None
            loss = loss_of_step(step)
            value = float(loss.detach())
            if step == 0 and value > 0:
                limit = DIVERGED * value
            if not value <= limit or value == math.inf:
                where = f"at step {step + 1} of {steps} its loss is {value:.3g}"
                raise SurfreconError(f"the fit has diverged: {where}; a smaller rate than {rate(step):.3g} may help")
            loss.backward()
            with torch.no_grad():
                for parameter, mean, square in moments:
                    if parameter.grad is not None:
                        ops.adam_step(parameter, parameter.grad, mean, square, step=step + 1, rate=rate(step))
            if on_step is not None:
                on_step(step + 1, value)
    return value
