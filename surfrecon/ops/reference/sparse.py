"""Sparse linear maps whose rows have a fixed number of entries: the normal equations of a fit stand on them."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from surfrecon.errors import InputError


class SparseRows:
    """A linear map R^columns -> R^rows with K entries a row, and its transpose; both stored, for speed.

    Entries that name no column (negative slots) count as zero.
    """

    def __init__(self, slots: Tensor, values: Tensor, columns: int):
        """
        Args:
            slots: (N, K) int64 columns, negative where an entry is void.
            values: (N, K) float.
            columns: M.
        Raises:
            InputError: a slot names a column that isn't there.
        """
        void = slots < 0
        slots, values = slots.masked_fill(void, 0), values.masked_fill(void, 0)
        rows, width = slots.shape
        # 32-bit indices: torch's CPU product is 9 times faster with them than with 64-bit ones.
        start = torch.arange(0, rows * width + 1, width, dtype=torch.int32, device=slots.device)
        flat = slots.reshape(-1).int()
        order = torch.argsort(flat, stable=True)
        counts = torch.bincount(flat, minlength=columns)
        if len(counts) > columns:
            raise InputError(f"slots must be < {columns}, the number of columns, got {len(counts) - 1}")
        back = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()
        row, column, entries = (order // width).int(), flat[order], values.reshape(-1)[order]
        # A row's entries of one column lie side by side here: the first takes their sum, so that squares are those of the matrix.
        again = torch.nonzero((row[1:] == row[:-1]) & (column[1:] == column[:-1]))[:, 0] + 1
        starts = torch.diff(again, prepend=again.new_full((1,), -1)) != 1
        first = (again[starts] - 1)[starts.cumsum(0) - 1]
        entries.index_add_(0, first, entries[again])
        entries[again] = 0
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse")  # torch calls them beta, and speaks of checks that aren't needed here
            self.map = torch.sparse_csr_tensor(start, flat, values.reshape(-1), (rows, columns))
            self.transpose = torch.sparse_csr_tensor(back, row, entries, (columns, rows))
        self.columns = columns

    def __call__(self, x: Tensor) -> Tensor:
        """(M,) -> (N,)"""
        return self.map @ x

    def adjoint(self, y: Tensor) -> Tensor:
        """(N,) -> (M,)"""
        return self.transpose @ y

    def squared_columns(self, weights: Tensor) -> Tensor:
        """(M,) diagonal of A^T diag(weights) A."""
        squares = torch.sparse_csr_tensor(
            self.transpose.crow_indices(), self.transpose.col_indices(), self.transpose.values() ** 2, self.transpose.shape
        )
        return squares @ weights
