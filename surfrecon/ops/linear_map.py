"""LinearMap: what every backend's matrices answer; the normal equations of a fit stand on them."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class LinearMap(ABC):
    """A linear map A: R^M -> R^N.

    Attributes:
        columns: M.
    """

    columns: int

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """(M,) -> (N,) A x"""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """(N,) -> (M,) A^T y"""

    @abstractmethod
    def squared_columns(self, weights: Tensor) -> Tensor:
        """(N,) -> (M,) diagonal of A^T diag(weights) A"""

    def normal(self, x: Tensor, weights: Tensor) -> Tensor:
        """(M,), (N,) -> (M,) A^T diag(weights) A x"""
        return self.adjoint(weights * self(x))
