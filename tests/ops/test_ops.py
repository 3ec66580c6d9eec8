"""The table of ops and backends."""

import pytest

from surfrecon import ops
from surfrecon.errors import InputError


def test_every_op_has_a_backend_and_is_public():
    rows = ops.choices()
    assert [op for op, _, _ in rows] == [name for name in ops.OPS if callable(getattr(ops, name))]
    assert set(ops.OPS) <= set(ops.__all__)
    assert {backend for _, backend, _ in rows} == {"reference"} and all(reason for _, _, reason in rows)
    assert ops.choices(backend="reference") == rows


def test_unknown_backend_is_an_error_that_names_those_there_are():
    with pytest.raises(InputError, match=r"no backend 'fast'.*reference"):
        ops.choices(backend="fast")
