"""The compiled library: found, checked, loaded late, and without side effects on the process."""

import ast
import shutil
import subprocess
import sys

import pytest

from surfrecon.errors import InputError
from surfrecon.ops.native import loader

needs_library = pytest.mark.skipif(not loader.available()[0], reason=loader.available()[1])


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A folder without libraries, looked at anew."""
    caches = (loader.variants, loader._best, loader._open)
    monkeypatch.setattr(loader, "FOLDER", tmp_path)
    for cached in caches:
        cached.cache_clear()
    yield tmp_path
    for cached in caches:
        cached.cache_clear()


def printed(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_absent_library_is_said_to_be_absent_with_what_to_do(empty):
    assert loader.available() == (False, f"no native library was built at installation; {loader.BUILD_AGAIN}")
    with pytest.raises(InputError, match="no native library"):
        loader.function("surfrecon_interface", [])()


def test_broken_library_is_not_used(empty):
    (empty / "libsurfrecon-baseline.so").write_bytes(b"not a library")
    found, reason = loader.available()
    assert not found and "doesn't load" in reason


@needs_library
def test_library_of_another_interface_is_not_used(empty, monkeypatch):
    for file in loader.Path(loader.__file__).parent.glob("libsurfrecon-*"):
        shutil.copy(file, empty)
    monkeypatch.setattr(loader, "INTERFACE", loader.INTERFACE + 1)
    found, reason = loader.available()
    assert not found and f"interface {loader.INTERFACE - 1}, wanted {loader.INTERFACE}" in reason


@needs_library
def test_variant_that_is_not_here_is_refused():
    with pytest.raises(InputError, match=r"'fastest'.*baseline"), loader.using("fastest"):
        pass


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_nothing_is_loaded_before_the_first_call_and_openmp_is_torchs():
    maps = "import torch, surfrecon.ops, surfrecon.fields; print([line.split()[-1] for line in open('/proc/self/maps') if {} in line])"
    assert "libsurfrecon" not in printed(maps.format("'libsurfrecon'"))
    if loader.available()[0]:
        after = maps.replace("print", "surfrecon.ops.choices('cpu'); print").format("'omp' in line and '.so'")
        assert len(set(ast.literal_eval(printed(after)))) == 1


@needs_library
def test_loading_leaves_small_numbers_alone():
    load = "import torch, numpy as np; from surfrecon.ops import native; native.available(); "
    code = load + "print(float(np.float32(1e-30) * np.float32(1e-9)))"
    assert float(printed(code)) == pytest.approx(1e-39, rel=1e-3)  # flushed to zero after libraries linked with -ffast-math
