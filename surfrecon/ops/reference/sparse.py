"""Sparse linear maps whose rows have a fixed number of entries."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from surfrecon.errors import InputError
from surfrecon.ops.linear_map import LinearMap


class SparseRows(LinearMap):
    """A linear map R^columns -> R^rows with K entries a row, and its transpose; both stored, for speed.

    Entries that name no column (negative slots) count as zero.
    """

    def __init__(self, slots: Tensor, values: Tensor, columns: int, *, transpose: tuple[Tensor, Tensor] | None = None):
        """
        Args:
            slots: (N, K) integer columns, negative where an entry is void.
            values: (N, K) float.
            columns: M.
            transpose: the same for the transposed map, (M, L) rows and values, where they are known: it saves sorting all entries, and
                memory. No row may name a column twice then.
        Raises:
            InputError: a slot names a column that isn't there.
        """
        self.columns = columns
        self.map = _compressed(slots, values, columns)
        if transpose is not None:
            self.transpose = _compressed(*transpose, len(slots))
            return
        flat, values = self.map.col_indices(), self.map.values()
        order = torch.argsort(flat, stable=True)
        counts = torch.bincount(flat, minlength=columns)
        back = torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()
        row, column, entries = (order // slots.shape[1]).int(), flat[order], values[order]
        # A row's entries of one column lie side by side here: the first takes their sum, so that squares are those of the matrix.
        again = torch.nonzero((row[1:] == row[:-1]) & (column[1:] == column[:-1]))[:, 0] + 1
        starts = torch.diff(again, prepend=again.new_full((1,), -1)) != 1
        first = (again[starts] - 1)[starts.cumsum(0) - 1]
        entries.index_add_(0, first, entries[again])
        entries[again] = 0
        self.transpose = _matrix(back, row, entries, (columns, len(slots)))

    def __call__(self, x: Tensor) -> Tensor:
        return self.map @ x

    def adjoint(self, y: Tensor) -> Tensor:
        return self.transpose @ y

    def squared_columns(self, weights: Tensor) -> Tensor:
        back = self.transpose
        squares = _matrix(back.crow_indices(), back.col_indices(), back.values() ** 2, tuple(back.shape))
        return squares @ weights


def _compressed(slots: Tensor, values: Tensor, columns: int) -> Tensor:
    """(N, columns) matrix of N rows of K entries; void ones become zeros in column 0."""
    rows, width = slots.shape
    void = slots < 0
    # 32-bit indices: torch's CPU product is 9 times faster with them than with 64-bit ones.
    flat = slots.int().masked_fill(void, 0).reshape(-1)
    if len(flat) and int(flat.max()) >= columns:
        raise InputError(f"slots must be < {columns}, the number of columns, got {int(flat.max())}")
    start = torch.arange(0, rows * width + 1, width, dtype=torch.int32, device=slots.device)
    return _matrix(start, flat, values.masked_fill(void, 0).reshape(-1), (rows, columns))


def _matrix(start: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse")  # torch calls them beta, and speaks of checks that aren't needed here
        return torch.sparse_csr_tensor(start, columns, values, shape)
