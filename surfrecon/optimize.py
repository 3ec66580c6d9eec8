"""The only places where unknowns are improved: conjugate gradients for quadratic energies, Adam for the rest."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


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
