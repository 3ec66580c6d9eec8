"""What every implicit surface of ours answers: value, gradient and colour at points of the unit frame."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Field(nn.Module, ABC):
    """A scalar function on the box [-1, 1]^3, negative inside, zero on the surface.

    Attributes:
        lipschitz: a bound of |gradient| near the surface where values are distances; None where they are not (occupancy).
        resolution: cells along the unit box that show its finest detail; None where it has no such scale.
    """

    lipschitz: float | None = None
    resolution: int | None = None

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """(N, 3) points, unit frame -> (N,) values."""

    @abstractmethod
    def value_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3) points, unit frame -> (N,) values, (N, 3) gradients, in one analytic pass."""

    def color(self, x: Tensor, n: Tensor) -> Tensor | None:
        """(N, 3) points and unit normals -> (N, 3) linear RGB, or None where the field knows no colour."""
        return None
