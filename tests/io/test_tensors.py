"""Arrays in safetensors files: the library reads what is written, and writing takes no second copy of it."""

import tracemalloc

import numpy as np
import pytest
import safetensors.numpy

from surfrecon.errors import InputError
from surfrecon.io.tensors import KINDS, mapped_arrays, serialized, write_arrays


def arrays() -> dict[str, np.ndarray]:
    base = np.arange(24.0).reshape(4, 6)
    every = {name: np.array([0, 1, 1]).astype(kind) for name, kind in KINDS.items()}
    return every | {"view": base[:, ::2].T, "scalar": np.array(7), "empty": np.zeros((0, 3)), "big-endian": np.arange(3, dtype=">f4")}


def test_the_library_reads_what_is_written_and_so_do_we(tmp_path):
    write_arrays(tmp_path / "a.safetensors", arrays(), {"note": "text"})
    mapped, notes = mapped_arrays(tmp_path / "a.safetensors")
    read = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    assert notes == {"note": "text"} and read.keys() == mapped.keys() == arrays().keys()
    for name, array in arrays().items():
        for found in (read[name], mapped[name]):
            assert found.dtype == array.dtype.newbyteorder("<") and np.array_equal(found, array), name


def test_we_read_what_the_library_writes(tmp_path):
    own = {name: np.ascontiguousarray(array, array.dtype.newbyteorder("<")) for name, array in arrays().items()}
    safetensors.numpy.save_file(own, tmp_path / "a.safetensors")
    mapped, notes = mapped_arrays(tmp_path / "a.safetensors")
    assert notes == {} and mapped.keys() == own.keys() and all(np.array_equal(mapped[name], own[name]) for name in own)


def test_arrays_are_written_without_a_copy(tmp_path):
    large = {"x": np.zeros(4_000_000, np.float32), "y": np.zeros((1000, 1000))}
    tracemalloc.start()
    write_arrays(tmp_path / "a.safetensors", large)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("kept", [0, 7, 40, -1])
def test_a_file_cut_short_is_refused(kept, tmp_path):
    data = b"".join(serialized({"x": np.arange(100.0)}))
    (tmp_path / "a.safetensors").write_bytes(data[:kept])
    with pytest.raises(InputError, match="is no safetensors file that can be read"):
        mapped_arrays(tmp_path / "a.safetensors")
