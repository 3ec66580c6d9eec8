"""The table of ops and backends, and that backends agree on a whole fit."""

import logging

import numpy as np
import pytest
import torch

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.extract import marching_cubes
from surfrecon.geometry import PointCloud
from surfrecon.methods.gridpull import GridPull
from surfrecon.metrics import compare
from surfrecon.ops import choice, native, reference
from surfrecon.run import Run

NO_LIBRARY = (False, "no native library was built at installation")
REASON = native.available()[1]
needs_library = pytest.mark.skipif(not native.available()[0], reason=REASON)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Each test begins without a preference and leaves none."""
    monkeypatch.setattr(choice, "_preference", "auto")
    choice._native_loads.cache_clear()
    yield
    choice._native_loads.cache_clear()


@pytest.fixture
def without_library(monkeypatch):
    monkeypatch.setattr(native, "available", lambda: NO_LIBRARY)


def test_every_op_has_a_backend_and_is_public():
    rows = ops.choices("cpu")
    assert [op for op, _, _ in rows] == [name for name in ops.OPS if callable(getattr(ops, name))]
    assert set(ops.OPS) <= set(ops.__all__) and all(reason for _, _, reason in rows)
    assert native.KERNELS <= set(ops.OPS) and all(hasattr(native, op) and hasattr(reference, op) for op in native.KERNELS)


@needs_library
def test_native_is_chosen_for_what_it_has_in_float32_on_the_cpu():
    assert {op for op, backend, reason in ops.choices("cpu") if backend == "native" and REASON in reason} == native.KERNELS
    single, double = torch.zeros(1), torch.zeros(1, dtype=torch.float64)
    assert choice.backend_of("spline_field", single, single) is native
    assert choice.backend_of("spline_field", single, double) is choice.backend_of("SparseRows", single) is reference
    assert {backend for _, backend, _ in ops.choices("cuda")} == {"reference"}


@needs_library
def test_use_decides_what_computes(monkeypatch):
    called = []
    for backend, name in ((native, "native"), (reference, "reference")):
        compute = backend.laplacian
        monkeypatch.setattr(backend, "laplacian", lambda level, compute=compute, name=name: called.append(name) or compute(level))
    level = ops.Level(4, torch.zeros(1, 1, 1, dtype=torch.long), 1, torch.zeros(64))
    for preference in ("auto", "reference", "native"):
        ops.use(preference, device="cpu")
        ops.laplacian(level)
        assert ops.choices("cpu") == ops.choices("cpu", preference)
    assert called == ["native", "reference", "native"]


def test_reference_can_be_asked_for():
    rows = ops.choices(backend="reference")
    assert {backend for _, backend, _ in rows} == {"reference"} and len(rows) == len(ops.OPS)


def test_unknown_backend_is_an_error_that_names_those_there_are():
    for ask in (lambda: ops.choices(backend="fast"), lambda: ops.use("fast")):
        with pytest.raises(InputError, match=r"no backend 'fast'.*native, reference"):
            ask()


def test_native_asked_for_where_it_is_not_is_an_error_with_the_reason(without_library):
    with pytest.raises(InputError, match="no native library was built"):
        ops.use("native", device="cpu")
    with pytest.raises(InputError, match="not on cuda"):
        ops.use("native", device="cuda")
    assert choice._preference == "auto"


def test_without_a_library_everything_works_and_one_line_says_so(without_library, caplog):
    rows = ops.choices("cpu")
    assert {backend for _, backend, _ in rows} == {"reference"}
    assert all(NO_LIBRARY[1] in reason for op, _, reason in rows if op in native.KERNELS)
    with caplog.at_level(logging.INFO, logger="surfrecon"):
        for _ in range(2):
            assert choice.backend_of("spline_field", torch.zeros(1)) is reference
    assert [record.levelname for record in caplog.records] == ["WARNING"] and NO_LIBRARY[1] in caplog.text


@needs_library
def test_fits_by_both_backends_are_the_same_surface():
    generator = np.random.default_rng(0)
    normals = generator.normal(size=(1500, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    radius = 0.6 + 0.1 * np.sin(3 * normals[:, :1]) * np.cos(4 * normals[:, 1:2])
    scan = PointCloud(radius * normals)
    meshes = []
    for backend in ("native", "reference"):
        ops.use(backend, device="cpu")
        field = GridPull().fit(scan, Run(device="cpu"))
        meshes.append(marching_cubes(field, resolution=field.resolution, run=Run(device="cpu")))
    result = compare(*meshes, samples=20_000)
    assert result.hausdorff < 0.02 * scan.spacing() and result.distance < 0.002 * scan.spacing()
