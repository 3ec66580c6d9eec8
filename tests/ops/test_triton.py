"""Triton's kernels without a GPU: the contract's tests in Triton's interpreter, and every kernel compiled for GPUs that aren't here.

That tells about arithmetic, registers and shared memory; races and speed are for test_triton_gpu.py.
"""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.ops import triton as backend

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(find_spec("triton") is None, reason="triton isn't installed: pip install triton (Linux)")
# Tests that must pass, by file.
FEWEST = {"test_hash_encoding.py": 35, "test_hash_sdf.py": 60, "test_marching.py": 40, "interpreted_triton.py": 50}
ENOUGH_TIME = 600  # seconds; up to 60 on two quiet cores

USUAL = ops.HashGrid()
PUBLISHED = ops.HashGrid(levels=14)
NETWORKS = {
    "one distance": ops.SdfNetwork(USUAL),
    "distance and features": ops.SdfNetwork(USUAL, outputs=16),
    "neus2": ops.SdfNetwork(PUBLISHED, outputs=16, activation="relu", biases=False),
}
SPILLED = 32  # bytes a thread: sdf.py says why some are allowed


@pytest.mark.parametrize("file", FEWEST)
def test_contract_holds_in_the_interpreter(file):
    """In a process of its own: kernels are made for the interpreter when they are imported."""
    command = [sys.executable, "-m", "pytest", str(HERE / file), "-k", "triton", "-p", "no:cacheprovider", "-W", "ignore"]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=ENOUGH_TIME, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= FEWEST[file]


def test_choosing_and_asking_doesnt_import_triton():
    code = "import sys; from surfrecon import ops; ops.choices('cpu'); ops.candidates('cuda'); print('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout.strip() == "False"


def test_tensors_on_the_cpu_are_refused():
    small = ops.HashGrid(levels=2, log2_entries=6, base=2, finest=3)
    with pytest.raises(InputError, match=r"x must be float32 on a cuda device, got .* on the cpu"):
        backend.hash_encode(small, torch.zeros(small.entries, 2), torch.zeros(3, 3))
    with pytest.raises(InputError, match="parameter must be float32 on a cuda device"):
        backend.adam_step(*torch.zeros(4, 5).unbind(), step=1, rate=0.1)
    with pytest.raises(InputError, match="origins must be float32 on a cuda device"):
        x = torch.zeros(2, 3)
        backend.march(torch.ones(4, 4, 4, dtype=torch.bool), x, x + 1, step=0.1, jitter=x[:, 0], most=9)


def test_unknown_precision_is_an_error_that_names_those_there_are():
    with pytest.raises(InputError, match="no precision 'half'; choose among tf32, bf16, ieee"):
        ops.use(precision="half")
    assert backend.precision() == "tf32"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """compiled(kernel, types, constants, arch, options): what compiling it ahead of time tells, see compile_ahead.py."""
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # as triton 3.9 has it anyway; it warns where this isn't set
    before = os.environ.get("TRITON_CACHE_DIR")
    os.environ["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    import compile_ahead

    yield compile_ahead.compiled
    os.environ.pop("TRITON_CACHE_DIR") if before is None else os.environ.update(TRITON_CACHE_DIR=before)


# Every pair of a network, an architecture and a precision that differ in code; the rest would only take time.
SHIPPED = [
    ("one distance", "tf32", 90),
    ("distance and features", "tf32", 80),
    ("distance and features", "tf32", 90),
    ("distance and features", "bf16", 80),
    ("distance and features", "bf16", 90),
    ("neus2", "tf32", 80),
    ("neus2", "tf32", 90),
    ("neus2", "bf16", 90),
]


@pytest.mark.parametrize(("name", "precision", "arch"), SHIPPED, ids=lambda value: str(value))
def test_fused_kernels_compile_without_spilling(name, precision, arch, compiled):
    from surfrecon.ops.triton import here, sdf, sdf_kernels

    network = NETWORKS[name]
    constants = sdf.tiles(network, precision) | {"mask": None} | ({"by_features": None} if network.outputs == 1 else {})
    forward = compiled(sdf_kernels.forward, constants, arch, {"num_warps": here.WARPS})
    assert forward.stack == 0 and forward.registers <= 128, forward
    backward = compiled(sdf_kernels.backward, constants, arch, sdf.options(network))
    assert backward.stack <= SPILLED and backward.registers <= sdf.SHARED_REGISTERS, backward
    assert max(forward.shared, backward.shared) <= 48 * 1024
    assert backward.spelt("global.gpu.relaxed.add.v2.f32" if arch == 90 else "global.gpu.relaxed.add.f32")  # an entry's features at once


@pytest.mark.parametrize("arch", [80, 90])
def test_encoding_and_adam_compile_without_spilling(arch, compiled):
    from surfrecon.ops.triton import adam, encoding, here

    tiles = encoding.tiles(USUAL) | {"mask": None}
    for kernel in (encoding.forward, encoding.backward):
        assert compiled(kernel, tiles, arch, {"num_warps": here.WARPS}).stack == 0
    for kept in (False, True):
        constants = {"STEP_KEPT": kept, "RATE_KEPT": kept, "BLOCK": adam.BLOCK}
        types = {"step": "*i64", "rate": "*fp32"} if kept else {"step": "fp32", "rate": "fp32"}
        found = compiled(adam.adam, constants, arch, {"num_warps": adam.WARPS}, types, ("count",))
        assert found.stack == 0 and found.spelt("ld.global.v4.b32")


@pytest.mark.parametrize("arch", [80, 90])
def test_compositing_compiles_without_spilling(arch, compiled):
    from surfrecon.ops.triton import compositing

    constants, types = {"BLOCK": compositing.BLOCK}, {"offsets": "*i64", "anneal": "fp32"}
    for kernel in (compositing.forward, compositing.backward):
        found = compiled(kernel, constants, arch, {"num_warps": compositing.WARPS}, types)
        assert found.stack == 0 and found.registers <= 128, found
    nothing = dict.fromkeys(("to_weights", "to_depth", "to_normal"))
    assert compiled(compositing.backward, constants | nothing, arch, {"num_warps": compositing.WARPS}, types).stack == 0


@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("surface", [True, False], ids=["a surface", "all samples"])
def test_marching_compiles_without_spilling_and_rounds_each_operation(surface, arch, compiled):
    from surfrecon.ops.triton import marching

    numbers = dict.fromkeys(("cells", "most", "nodes"), "i32") | dict.fromkeys(("inv_s", "band", "dark"), "fp32")
    types = numbers | {"occupied": "*u8", "counts": "*i64", "offsets": "*i64"}
    constants = marching.tile() | ({} if surface else {"values": None})
    for left_out in (("counts",), ("offsets", "t", "lengths")):
        found = compiled(marching.along, constants | dict.fromkeys(left_out), arch, marching.OPTIONS, types)
        assert found.stack == 0 and found.registers <= 128 and found.shared == 0, found
        assert found.spelt("div.rn.f64") and not found.spelt("fma.rn.f64")


def test_networks_too_wide_for_one_kernel_are_told_apart():
    from surfrecon.ops.triton import sdf

    widths = {(width, hidden): width * hidden <= sdf.MOST_UNITS for width in (16, 32, 64, 128) for hidden in (1, 2, 3)}
    assert [shape for shape, fused in widths.items() if not fused] == [(128, 2), (128, 3)]
