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
from surfrecon.ops import choice, native, nerfacc, reference, tcnn, trial, triton
from surfrecon.ops.trial import Unusable
from surfrecon.run import Run

NO_LIBRARY = (False, "no native library was built at installation")
REASON = native.available()[1]
needs_library = pytest.mark.skipif(not native.available()[0], reason=REASON)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Each test begins without a preference and leaves none."""
    monkeypatch.setattr(choice, "_preference", "auto")
    monkeypatch.setattr(choice, "_given_up", {})
    choice._works.cache_clear()
    yield
    choice._works.cache_clear()


@pytest.fixture
def without_library(monkeypatch):
    monkeypatch.setattr(native, "available", lambda: NO_LIBRARY)


def test_every_op_has_a_backend_and_is_public():
    rows = ops.choices("cpu")
    assert [op for op, _, _ in rows] == [name for name in ops.OPS if callable(getattr(ops, name))]
    assert set(ops.OPS) <= set(ops.__all__) and all(reason for _, _, reason in rows)
    for name in choice.BACKENDS[:-1]:
        backend = choice.MODULES[name]
        assert backend.KERNELS <= set(ops.OPS) and all(hasattr(backend, op) and hasattr(reference, op) for op in backend.KERNELS)


@needs_library
def test_native_is_chosen_for_what_it_has_in_float32_on_the_cpu():
    assert {op for op, backend, reason in ops.choices("cpu") if backend == "native" and REASON in reason} == native.KERNELS
    single, double = torch.zeros(1), torch.zeros(1, dtype=torch.float64)
    assert choice.backend_of("spline_field", single, single) is native
    assert choice.backend_of("spline_field", single, double) is choice.backend_of("SparseRows", single) is reference


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
        with pytest.raises(InputError, match=r"no backend 'fast'.*triton, native, tcnn, nerfacc, reference"):
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


def test_candidates_are_all_there_are_with_the_reason_of_each_that_does_not_fit():
    found = {name: problem for name, problem, what in ops.candidates("cpu") if what}
    assert tuple(found) == ops.BACKENDS and found["reference"] is None
    assert all("not on cpu" in found[name] for name in ("triton", "tcnn", "nerfacc"))
    assert "not on cuda" in dict((name, problem) for name, problem, _ in ops.candidates("cuda"))["native"]


@pytest.mark.parametrize("name", ["triton", "tcnn", "nerfacc"])
def test_backend_that_does_not_fit_is_an_error_that_names_each_candidate_with_its_reason(name, without_library):
    with pytest.raises(InputError, match=rf"{name} can't be used: {name} computes on NVIDIA GPUs, not on cpu") as caught:
        ops.use(name, device="cpu")
    assert "native: no native library" in str(caught.value) and "reference: fits" in str(caught.value)


@pytest.fixture
def a_gpu(monkeypatch):
    """Backends for GPUs say that they compute on this CPU, which stands in for one."""
    for name in ("triton", "tcnn", "nerfacc"):
        monkeypatch.setattr(choice.MODULES[name], "problem", lambda device: None)
    monkeypatch.setattr(native, "KERNELS", frozenset())


def test_order_of_preference_on_a_gpu(a_gpu, monkeypatch):
    x = torch.zeros(3)
    assert {choice.backend_of(op, x) for op in triton.KERNELS} == {triton}
    assert choice.backend_of("hash_sdf", x, x.double()) is choice.backend_of("trilinear", x) is reference
    assert {backend for op, backend, _ in ops.choices("cpu") if op in triton.KERNELS} == {"triton"}
    monkeypatch.setattr(triton, "problem", lambda device: "triton isn't installed")
    choice._works.cache_clear()
    assert choice.backend_of("hash_sdf", x) is tcnn and choice.backend_of("neus_composite", x) is nerfacc
    assert choice.backend_of("adam_step", x) is choice.backend_of("march", x) is reference
    ops.use("tcnn", device="cpu")
    assert choice.backend_of("hash_encode", x) is tcnn
    ops.use("reference", device="cpu")
    assert choice.backend_of("hash_encode", x) is reference


def test_backend_that_fails_at_its_first_use_is_reported_once_and_left(a_gpu, monkeypatch, caplog):
    called = []

    def broken(*arguments, **options):
        called.append("triton")
        raise Unusable("CompilationError: no C compiler")

    def works(*arguments, **options):
        called.append("tcnn")
        return reference.hash_encode(*arguments, **options)

    monkeypatch.setattr(triton, "hash_encode", broken)
    monkeypatch.setattr(tcnn, "hash_encode", works)
    small = ops.HashGrid(levels=2, base=2, finest=3, log2_entries=5)
    table, x = torch.randn(small.entries, 2), torch.rand(5, 3)
    for _ in range(2):
        torch.testing.assert_close(ops.hash_encode(small, table, x)[0], reference.hash_encode(small, table, x)[0])
    assert called == ["triton", "tcnn", "tcnn"]
    assert [record.levelname for record in caplog.records] == ["WARNING"] and "triton isn't used any more: CompilationError" in caplog.text
    assert "no C compiler" in dict((name, problem) for name, problem, _ in ops.candidates("cpu"))["triton"]


@pytest.fixture
def gpu_that_waits(monkeypatch):
    """trial() believes in a GPU; what waits for it is written down."""
    waits = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waits.append("waited"))
    monkeypatch.setattr(trial, "_passed", set())
    return waits


def test_trial_runs_once_and_says_what_failed(gpu_that_waits, monkeypatch):
    def fail(error):
        raise error

    with pytest.raises(Unusable, match=r"^RuntimeError: Failed to find C compiler$"):
        trial.trial("x", lambda: fail(RuntimeError("Failed to find C compiler\nand much more")))
    for error in (InputError("x must be 3 wide"), RuntimeError("CUDA out of memory")):
        with pytest.raises(type(error)):
            trial.trial("x", lambda error=error: fail(error))
    assert not gpu_that_waits
    for _ in range(2):
        trial.trial("x", lambda: gpu_that_waits.append("computed"))
    assert gpu_that_waits == ["computed", "waited"]
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    trial.trial("y", lambda: fail(RuntimeError("waited within a capture")))


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
