"""SparseRows against the dense matrix that its slots and values spell out."""

import numpy as np
import pytest
import torch

from surfrecon import ops
from surfrecon.errors import InputError


def case(rows: int, width: int, columns: int, dtype: torch.dtype, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Slots with voids (a quarter) and repeats, values that are NaN where void."""
    slots = torch.randint(0, columns, (rows, width), generator=generator)
    values = torch.rand(rows, width, generator=generator, dtype=dtype) / width
    void = torch.rand(rows, width, generator=generator) < 0.25
    return slots.masked_fill(void, -1), values.masked_fill(void, torch.nan)


def dense(slots: torch.Tensor, values: torch.Tensor, columns: int) -> np.ndarray:
    matrix = np.zeros((len(slots), columns))
    for n, row in enumerate(slots):
        for k, column in enumerate(row):
            if column >= 0:
                matrix[n, column] += float(values[n, k])
    return matrix


@pytest.mark.parametrize(("rows", "width", "columns"), [(30, 27, 12), (12, 3, 40), (1, 1, 1), (1, 27, 5), (5, 1, 1)])
def test_map_adjoint_and_diagonal_match_the_dense_matrix(rows, width, columns, dtype, close, generator):
    slots, values = case(rows, width, columns, dtype, generator)
    sparse, matrix = ops.SparseRows(slots, values, columns), dense(slots, values, columns)
    x, y, w = (torch.rand(n, generator=generator, dtype=dtype) for n in (columns, rows, rows))
    close(sparse(x), matrix @ x.double().numpy())
    close(sparse.adjoint(y), matrix.T @ y.double().numpy())
    close(sparse.squared_columns(w), np.diag(matrix.T @ np.diag(w.double().numpy()) @ matrix))
    assert sparse.columns == columns


def test_entries_of_one_row_and_column_are_squared_as_their_sum(dtype, close):
    slots, values = torch.tensor([[0, -1, 0, 1], [1, 1, 0, 1]]), torch.tensor([[1, 9, 2, 3], [4, 0, 5, 6]], dtype=dtype)
    close(ops.SparseRows(slots, values, 2).squared_columns(torch.tensor([1, 0.5], dtype=dtype)), [9 + 25 / 2, 9 + 100 / 2])


def test_adjoint_is_the_transpose(generator):
    slots, values = case(50, 27, 20, torch.float64, generator)
    sparse = ops.SparseRows(slots, values, 20)
    x, y = (torch.randn(n, generator=generator, dtype=torch.float64) for n in (20, 50))
    assert float(sparse(x) @ y) == pytest.approx(float(x @ sparse.adjoint(y)), rel=1e-12)


def test_no_rows_map_to_nothing_and_back_to_zeros(dtype, close):
    sparse = ops.SparseRows(torch.zeros(0, 27, dtype=torch.long), torch.zeros(0, 27, dtype=dtype), 4)
    close(sparse(torch.ones(4, dtype=dtype)), np.zeros(0))
    close(sparse.adjoint(torch.zeros(0, dtype=dtype)), np.zeros(4))
    close(sparse.squared_columns(torch.zeros(0, dtype=dtype)), np.zeros(4))


def test_rows_that_are_all_void_map_to_zero(dtype, close):
    sparse = ops.SparseRows(torch.full((2, 3), -1), torch.full((2, 3), torch.nan, dtype=dtype), 4)
    close(sparse(torch.ones(4, dtype=dtype)), np.zeros(2))
    close(sparse.adjoint(torch.ones(2, dtype=dtype)), np.zeros(4))


def test_memory_layout_does_not_matter_and_inputs_stay_as_they_are(dtype, generator):
    slots, values = case(20, 6, 9, dtype, generator)
    kept = slots.clone(), values.clone()
    x, y = torch.randn(18, generator=generator, dtype=dtype)[::2], torch.randn(40, generator=generator, dtype=dtype)[::2]
    one = ops.SparseRows(slots, values, 9)
    other = ops.SparseRows(slots.T.contiguous().T, values.T.contiguous().T, 9)
    assert torch.equal(one(x), other(x.contiguous())) and torch.equal(one.adjoint(y), other.adjoint(y.contiguous()))
    assert torch.equal(slots, kept[0]) and torch.equal(values.nan_to_num(), kept[1].nan_to_num())


@pytest.mark.parametrize(("slot", "columns"), [(4, 4), (99, 4), (0, 0)])
def test_slot_without_a_column_is_an_error(slot, columns):
    with pytest.raises(InputError, match=rf"slots must be < {columns}, the number of columns, got {slot}"):
        ops.SparseRows(torch.tensor([[0, slot]]), torch.ones(1, 2), columns)


def test_vectors_of_wrong_shape_or_dtype_are_an_error(generator):
    sparse = ops.SparseRows(*case(5, 3, 4, torch.float32, generator), 4)
    for call in (sparse, sparse.adjoint, sparse.squared_columns):
        with pytest.raises(RuntimeError):
            call(torch.ones(6))
    with pytest.raises(RuntimeError):
        sparse(torch.ones(4, dtype=torch.float64))
