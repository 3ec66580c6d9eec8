"""What an NVIDIA GPU makes of the fused hash-grid SDF: its tests, its kernels, a whole training step as a CUDA graph, a fit.

    benchmarks/gpu.sh              # on a machine with a GPU; prints one table, in less than 8 minutes
    benchmarks/gpu.sh --tune       # also other tiles and register limits for the two fused kernels
    python benchmarks/gpu.py --rehearse    # anywhere: the same, tiny, by plain torch on the CPU; its figures mean nothing

It needs torch, triton and numpy; scipy and pytest add rows. What can't be measured gives a row "pending: reason". Times are medians, on
data that stay on the GPU. Traffic counts what an op must move: eight corners of F floats a level and point for gather and scatter, each
array once else.
"""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from surfrecon import ops

ROOT = Path(__file__).parent.parent
LIMIT = 450.0  # seconds: what hasn't begun by then is left out
TESTS_LIMIT, LAST_LIMIT = 300.0, 465.0  # of the tests alone, and their end
TARGET = 1.0  # milliseconds a step
COPIED = 2**28  # floats, beyond any cache
FLOAT = 4  # bytes
CORNERS = 8
SAMPLE, REHEARSED_SAMPLE = 100_000, 2_000  # points of the scan that is fitted
FIT_LIMIT = 90.0  # seconds, as the method's budget
TILES = [(16, 4, None), (16, 8, None), (16, 8, 128), (16, 8, 96), (32, 8, None), (64, 8, None)]  # points, warps, registers


@dataclass
class Setting:
    """What is measured, and on what.

    Attributes:
        fast: the backend that is measured; its times stand beside the reference's.
        repeats: of each timing.
    """

    device: torch.device
    fast: str
    points: int
    grid: ops.HashGrid
    repeats: int
    started: float = field(default_factory=time.perf_counter)

    def network(self, outputs: int) -> ops.SdfNetwork:
        return ops.SdfNetwork(self.grid, outputs=outputs)

    def late(self) -> bool:
        return time.perf_counter() - self.started > LIMIT


class Table:
    """Rows of (what, size, fast, reference, remark), shown once, at the end."""

    def __init__(self):
        self.rows: list[tuple[str, ...]] = []

    def add(self, what: str, size: str = "", fast: str = "", slow: str = "", remark: str = "") -> None:
        self.rows.append((what, size, fast, slow, remark))
        print(f"... {what}: {fast} {slow} {remark}", file=sys.stderr, flush=True)

    def attempt(self, setting: Setting, what: str, measure: Callable[[], None]) -> None:
        """Measure, or say in a row why not."""
        if setting.late():
            self.add(what, remark=f"pending: not begun after {LIMIT:g} s")
            return
        try:
            measure()
        except Exception as error:  # a row of its own, and the next one
            lines = str(error).strip().splitlines() or ["no reason given"]
            self.add(what, remark=f"pending: {type(error).__name__}: {lines[0][:200]}".replace("|", "/"))

    def text(self, fast: str) -> str:
        head = ("what", "size", f"{fast}, ms", "reference, ms", "remark")
        lines = [head, (":--", ":--", "--:", "--:", ":--"), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def milliseconds(setting: Setting, function: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """The median of some calls; `before` runs ahead of each and isn't counted."""
    for _ in range(3):
        before()
        function()
    times = []
    for _ in range(setting.repeats):
        before()
        if setting.device.type == "cuda":
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            function()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end))
        else:
            start = time.perf_counter()
            function()
            times.append(1e3 * (time.perf_counter() - start))
    return median(times)


class Problem:
    """Parameters, moments and points of one training step."""

    def __init__(self, setting: Setting, outputs: int, *, near: bool = False, count: int | None = None):
        generator = torch.Generator().manual_seed(0)
        self.network = setting.network(outputs)
        weights, biases = ops.sphere_start(self.network, generator)
        tensors = [self.network.grid.start(generator), *weights, *biases]
        self.parameters = [tensor.to(setting.device).requires_grad_() for tensor in tensors]
        self.moments = [(torch.zeros_like(tensor), torch.zeros_like(tensor)) for tensor in self.parameters]
        x = 2 * torch.rand(count or setting.points, 3, generator=generator) - 1
        if near:
            x = torch.nn.functional.normalize(x, dim=1) * 0.5 + 0.01 * torch.randn(x.shape, generator=generator)
        self.x = x.to(setting.device)
        self.taken = torch.zeros((), dtype=torch.int64, device=setting.device)
        self.rate = torch.full((), 1e-3, device=setting.device)

    def forward(self, *, gradient: bool = True) -> tuple[Tensor, Tensor | None, Tensor]:
        table, *layers = self.parameters
        count = len(self.network.weight_shapes)
        return ops.hash_sdf(self.network, table, layers[:count], layers[count:], self.x, gradient=gradient)

    def loss(self) -> Tensor:
        sdf, gradient, features = self.forward()
        eikonal = (torch.linalg.vector_norm(gradient, dim=1) - 1).square().mean()
        return sdf.square().mean() + 0.1 * eikonal + 0.01 * features.square().sum() / len(sdf)

    def step(self) -> None:
        asked = torch.autograd.grad(self.loss(), self.parameters, materialize_grads=True)
        self.taken += 1
        with torch.no_grad():
            for parameter, by, moments in zip(self.parameters, asked, self.moments):
                ops.adam_step(parameter, by, *moments, step=self.taken, rate=self.rate)


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """Replays a step as a CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def by_both(setting: Setting, measure: Callable[[], float]) -> tuple[float, float]:
    """Milliseconds by the fast backend and by the reference."""
    times = []
    for backend in (setting.fast, "reference"):
        ops.use(backend, device=str(setting.device))
        times.append(measure())
    ops.use(setting.fast, device=str(setting.device))
    return times[0], times[1]


def share(traffic: float, time_ms: float, copy: float) -> str:
    """Rate, and how near the measured copy that comes."""
    rate = traffic / time_ms / 1e6
    return f"{rate:.0f} GB/s, {100 * rate / copy:.0f} % of the copy"


def copy_rate(setting: Setting, table: Table) -> float:
    """GB/s, counting bytes read and written."""
    count = COPIED if setting.device.type == "cuda" else 2**20
    source = torch.zeros(count, device=setting.device)
    target = torch.empty_like(source)
    taken = milliseconds(setting, lambda: target.copy_(source))
    rate = 2 * FLOAT * count / taken / 1e6
    table.add("copy", f"{FLOAT * count / 2**20:.0f} MiB", f"{taken:.3f}", "", f"{rate:.0f} GB/s, read and written")
    return rate


def first_call(setting: Setting, table: Table) -> None:
    start = time.perf_counter()
    problem = Problem(setting, 16, count=256)
    problem.step()
    if setting.device.type == "cuda":
        torch.cuda.synchronize()
    taken = f"{1e3 * (time.perf_counter() - start):.0f}"
    table.add("first step: compiling", "256 points", taken, "", "from triton's cache if it was run before")


def kernels(setting: Setting, table: Table, copy: float) -> None:
    grid, size = setting.grid, f"{setting.points:,} points"
    corners = setting.points * grid.levels * CORNERS * grid.features
    problem = Problem(setting, 16)
    by = torch.randn(setting.points, grid.encoded, device=setting.device)
    parameter = problem.parameters[0]

    def encode() -> Tensor:
        return ops.hash_encode(grid, parameter, problem.x)[0]

    def timed_backward(result: Callable[[], object], asked: Callable[[object], object]) -> float:
        kept = []
        return milliseconds(setting, lambda: asked(kept.pop()), before=lambda: kept.append(result()))

    def gather() -> None:
        with torch.no_grad():
            fast, slow = by_both(setting, lambda: milliseconds(setting, encode))
        table.add("encoding alone: gather", size, f"{fast:.3f}", f"{slow:.3f}", share(FLOAT * corners, fast, copy))

    def scatter() -> None:
        fast, slow = by_both(setting, lambda: timed_backward(encode, lambda found: torch.autograd.grad(found, parameter, by)))
        zeroing = milliseconds(setting, lambda: torch.zeros_like(parameter))
        rates = f"{share(FLOAT * corners, fast - zeroing, copy)}, {corners / (fast - zeroing) / 1e6:.1f} G additions/s"
        table.add("encoding alone: scatter", size, f"{fast:.3f}", f"{slow:.3f}", f"{rates}; with zeroing the table, {zeroing:.3f} ms")

    def fused(gradient: bool) -> None:
        with torch.no_grad():
            fast, slow = by_both(setting, lambda: milliseconds(setting, lambda: problem.forward(gradient=gradient)))
        name = "fused forward: distance, gradient, 15 features" if gradient else "fused forward: distance, 15 features"
        table.add(name, size, f"{fast:.3f}", f"{slow:.3f}", share(FLOAT * corners, fast, copy))

    def backward() -> None:
        measure = lambda: timed_backward(problem.loss, lambda total: torch.autograd.grad(total, problem.parameters))
        fast, slow = by_both(setting, measure)
        table.add("backward of distance, gradient, features", size, f"{fast:.3f}", f"{slow:.3f}", "with that of the loss and zeroing")

    def adam() -> None:
        gradient = torch.randn_like(parameter)
        mean, square = problem.moments[0]

        def step() -> None:
            with torch.no_grad():
                ops.adam_step(parameter, gradient, mean, square, step=problem.taken + 1, rate=problem.rate)

        fast, slow = by_both(setting, lambda: milliseconds(setting, step))
        table.add("Adam", f"{grid.numbers:,} numbers", f"{fast:.3f}", f"{slow:.3f}", share(7 * FLOAT * grid.numbers, fast, copy))

    for what, measure in (
        ("encoding alone: gather", gather),
        ("encoding alone: scatter", scatter),
        ("fused forward: distance, 15 features", lambda: fused(False)),
        ("fused forward: distance, gradient, 15 features", lambda: fused(True)),
        ("backward of distance, gradient, features", backward),
        ("Adam", adam),
    ):
        table.attempt(setting, what, measure)


def steps(setting: Setting, table: Table) -> None:
    size = f"{setting.points:,} points"

    def eager() -> None:
        fast, slow = by_both(setting, lambda: milliseconds(setting, Problem(setting, 16).step))
        table.add("whole step, launch by launch", size, f"{fast:.3f}", f"{slow:.3f}")

    def graph(outputs: int, near: bool, precision: str, what: str) -> None:
        ops.use(setting.fast, device=str(setting.device), precision=precision)
        try:
            problem = Problem(setting, outputs, near=near)
            taken = milliseconds(setting, captured(problem.step) if setting.device.type == "cuda" else problem.step)
        finally:
            ops.use(setting.fast, device=str(setting.device))
        verdict = f"target {TARGET} ms: {'met' if taken <= TARGET else 'missed'}, {setting.points / taken / 1e3:.0f} M points/s"
        table.add(what, size, f"{taken:.3f}", "", verdict)

    table.attempt(setting, "whole step, launch by launch", eager)
    for outputs, near, precision in ((16, False, "tf32"), (16, True, "tf32"), (1, True, "tf32"), (16, True, "bf16")):
        what = f"whole step as a graph, {precision}, {outputs - 1} features, {'near a sphere' if near else 'points everywhere'}"
        table.attempt(setting, what, lambda given=(outputs, near, precision, what): graph(*given))


def tinycudann(setting: Setting, table: Table) -> None:
    problem = next(problem for name, problem, _ in ops.candidates(str(setting.device)) if name == "tcnn")
    if problem:
        table.add("tinycudann's encoding", remark=f"pending: {problem}")
        return
    made = Problem(setting, 16)
    ops.use("tcnn", device=str(setting.device))
    try:
        with torch.no_grad():
            taken = milliseconds(setting, lambda: ops.hash_encode(setting.grid, made.parameters[0], made.x))
            whole = milliseconds(setting, lambda: made.forward())
        step = milliseconds(setting, made.step)
    finally:
        ops.use(setting.fast, device=str(setting.device))
    remark = f"with layers and gradient {whole:.3f} ms, whole step {step:.3f} ms, launch by launch"
    table.add("tinycudann's encoding, in float32", f"{setting.points:,} points", f"{taken:.3f}", "", remark)


def tune(setting: Setting, table: Table) -> None:
    """Other tiles for the fused kernels, one row each."""
    here, sdf = import_module("surfrecon.ops.triton.here"), import_module("surfrecon.ops.triton.sdf")
    before = here.POINTS, sdf.options, sdf.WARPS

    def measure(points: int, warps: int, registers: int | None, what: str) -> None:
        here.POINTS, sdf.WARPS = points, warps
        sdf.options = lambda network: {"num_warps": warps} | ({"maxnreg": registers} if registers else {})
        problem = Problem(setting, 16, near=True)
        with torch.no_grad():
            forward = milliseconds(setting, problem.forward)
        kept = []
        ask = lambda: torch.autograd.grad(kept.pop(), problem.parameters)
        backward = milliseconds(setting, ask, before=lambda: kept.append(problem.loss()))
        times = f"{forward:.3f} + {backward:.3f}"
        table.add(what, f"{setting.points:,} points", times, "", "forward with gradient + backward, near a sphere")

    try:
        for points, warps, registers in TILES:
            what = f"tile of {points} points, {warps} warps, {registers or 'any'} registers"
            table.attempt(setting, what, lambda given=(points, warps, registers, what): measure(*given))
    finally:
        here.POINTS, sdf.options, sdf.WARPS = before


def fit(setting: Setting, table: Table) -> None:
    """The method hashsdf, its start included: a sphere with bumps, in the unit box."""
    from surfrecon.geometry import PointCloud
    from surfrecon.methods import fitted
    from surfrecon.methods.hashsdf import HashSdf
    from surfrecon.run import Run

    rehearsed = setting.device.type == "cpu"
    count, settings = (REHEARSED_SAMPLE, HashSdf(steps=20, batch=512)) if rehearsed else (SAMPLE, HashSdf())
    generator = torch.Generator().manual_seed(0)
    direction = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator, dtype=torch.float64), dim=1)
    points = direction * (0.6 + 0.05 * torch.sin(9 * direction).prod(1, keepdim=True))
    run = Run(device=str(setting.device), budget=FIT_LIMIT)
    start = time.perf_counter()
    field = fitted(settings, PointCloud(points.numpy()), run)
    taken = time.perf_counter() - start
    with torch.no_grad():
        away = field(points.float().to(setting.device)).abs().mean()
    remark = f"mean |f| on the points {float(away):.1e}, unit frame; training {run.timings['fit']:.1f} s, compiling included"
    table.add("fit by hashsdf", f"{count:,} points", f"{1e3 * taken:.0f}", "", remark)


def tests(setting: Setting, table: Table) -> None:
    """Those marked gpu, in a process of their own."""
    if find_spec("pytest") is None:
        table.add("tests on the GPU", remark="pending: pytest isn't installed")
        return
    files = [str(file) for file in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in file.read_text(encoding="utf-8")]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-x", "-p", "no:cacheprovider", *files]
    start = time.perf_counter()
    limit = min(TESTS_LIMIT, setting.started + LAST_LIMIT - start)
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired as late:
        print(str(late.stdout)[-4000:], file=sys.stderr)
        table.add("tests on the GPU", remark=f"pending: not done after {limit:.0f} s")
        return
    print(done.stdout[-8000:], done.stderr[-2000:], file=sys.stderr)
    counts = re.findall(r"\d+ (?:passed|failed|errors?|skipped)", done.stdout.splitlines()[-1] if done.stdout.strip() else "")
    told = ", ".join(counts) or f"pending: exit code {done.returncode}"
    table.add("tests on the GPU", remark=f"{told}, {time.perf_counter() - start:.0f} s")


def machine(device: torch.device) -> str:
    names = []
    for package in ("torch", "triton", "numpy", "scipy", "tinycudann", "nerfacc"):
        try:
            names.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            names.append(f"no {package}")
    if device.type != "cuda":
        return f"REHEARSAL on the CPU, its figures mean nothing. {', '.join(names)}"
    properties = torch.cuda.get_device_properties(device)
    size = f"{properties.multi_processor_count} multiprocessors, {properties.L2_cache_size / 2**20:.0f} MiB of L2"
    return f"{properties.name}, compute capability {properties.major}.{properties.minor}, {size}, {', '.join(names)}"


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the fused hash-grid SDF on an NVIDIA GPU")
    parser.add_argument("--rehearse", action="store_true", help="tiny, by plain torch on the CPU")
    parser.add_argument("--tune", action="store_true", help="try other tiles for the fused kernels")
    options = parser.parse_args()
    if options.rehearse:
        setting = Setting(torch.device("cpu"), "reference", 512, ops.HashGrid(levels=4, finest=64, log2_entries=10), 3)
    else:
        problem = next(problem for name, problem, _ in ops.candidates("cuda") if name == "triton")
        if problem:
            print(f"benchmarks/gpu.py: {problem}; --rehearse runs anywhere", file=sys.stderr)
            return 2
        setting = Setting(torch.device("cuda"), "triton", 2**18, ops.HashGrid(), 30)
    table, copies = Table(), []
    ops.use(setting.fast, device=str(setting.device))
    table.attempt(setting, "copy", lambda: copies.append(copy_rate(setting, table)))
    copy = copies[0] if copies else float("nan")
    table.attempt(setting, "first step: compiling", lambda: first_call(setting, table))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # of gpu.sh's time limit: what was measured is shown all the same
    try:
        kernels(setting, table, copy)
        steps(setting, table)
        table.attempt(setting, "tinycudann's encoding", lambda: tinycudann(setting, table))
        table.attempt(setting, "fit by hashsdf", lambda: fit(setting, table))
        if options.tune and setting.fast == "triton":
            tune(setting, table)
        if not options.rehearse:
            table.attempt(setting, "tests on the GPU", lambda: tests(setting, table))
    finally:
        problem = next(problem for name, problem, _ in ops.candidates(str(setting.device)) if name == setting.fast)
        if problem:
            table.add("ATTENTION", remark=f"{setting.fast} was left, times are another backend's: {problem}".replace("|", "/"))
        print(f"\n{machine(setting.device)}\n\n{table.text(setting.fast)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
