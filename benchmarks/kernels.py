"""What the compiled kernels gain: each beside its reference in plain torch, on the same data in the same run, on all threads.

    python benchmarks/kernels.py

The traffic of a kernel is what it must read and write at least, each array once; its share is of this machine's memory bandwidth, measured
here by a triad (a = b + s c).

A step on a hash grid is forward, gradient and backward of |f| + 0.1 (|grad f| - 1)^2, without the optimiser. Its parts, each measured apart
on one thread of a Zen 4 with other work beside, 65,536 points, x86-64-v4, in ms of processor time: reading the table 16, adding to it 14,
the network 8 forward and 18 backward (18 of these 26 are its products at the processor's peak, 58 GMAC/s), moving slopes and what backward
keeps 9, the loss 2.
What paid, one thread: all points of a level before the next level; bringing a level's 4 MB into the cache in order before points read it
(reading the table 23 ms, then 15); what is computed on a level together, its zeros right before the rest (adding to it 33, then 15);
compiling without Python's -fwrapv (a step 91, then 73); using large arrays again (6 ms for 50 MB), and large pages under them; lanes of
points and blocks of sums in registers; sums over points kept by lane until the end, for 96 points (outer products by AVX-512 12.4 ms with
48 points, 5.5 with each row loaded once and 96); work on rows of a product while they are in the nearest cache (backward 19.2, then
17.9); powers in the activation that stay above 2^-100 (denormal numbers: 19 to 7.5 ns for 8).
What did not: gather instructions; asking for entries ahead, or for the next level while one is read; corners in the order of memory;
stores past the caches; passes of half as many points (forward and backward 68 ms, then 81); backward from the last tile on; points in
Morton order (2 ms of 25 saved, sorting takes more); large pages under the table (the same). A table in half precision is out: derivatives
are exact to 1e-6 here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from results import record, table
from torch import Tensor

from surfrecon import ops
from surfrecon.fields.grid import dense_level, refined
from surfrecon.ops import Level

COARSE, FINE = 16, 512  # cells of the levels that the sparse cases are built of
POINTS = 50_000
REACH = 0.004  # unit frame
NODES = 128  # of the dense lattice of GridPull as published, along each axis
BAND = 0.22  # around the surface, unit frame: where that has weights
SIDE = 192  # of the dense lattice that orientation works on
BATCH = 2**16  # points on a hash grid
RAYS, CELLS, STEPS = 4096, 128, 1024  # of a batch of rays, of their lattice along each axis, and along the box's diagonal
TRIAD = 2**25  # floats in each of its arrays: beyond any cache
ENOUGH = 1.0  # seconds of repetitions
FLOAT = 4  # bytes


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        size: for the reader.
        traffic: bytes that must be read and written at least.
        prepare: called once a backend; returns what is timed.
        beside: the same for the reference, where it is another way to compute the same.
    """

    name: str
    size: str
    traffic: float
    prepare: Callable[[], Callable[[], object]]
    beside: Callable[[], Callable[[], object]] | None = None


def seconds(function: Callable[[], object]) -> float:
    """The best of some repetitions, after one that isn't counted."""
    function()
    best, spent = float("inf"), 0.0
    while spent < ENOUGH:
        start = time.perf_counter()
        function()
        last = time.perf_counter() - start
        best, spent = min(best, last), spent + last
    return best


def bandwidth() -> float:
    """Bytes per second of a triad in torch."""
    a, b, c = torch.zeros(3, TRIAD).unbind()
    return 3 * FLOAT * TRIAD / seconds(lambda: torch.add(b, c, alpha=0.5, out=a))


def on_ellipsoid(count: int, generator: torch.Generator) -> Tensor:
    x = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=1)
    return x * torch.tensor([0.8, 0.25, 0.4])


def sparse_level(points: Tensor, generator: torch.Generator) -> Level:
    """A level of FINE cells around the points, as a fit of them makes it."""
    level = dense_level(torch.randn((COARSE,) * 3, generator=generator))
    while level.resolution < FINE:
        near = [points, *(points + (4 * torch.rand(points.shape, generator=generator) - 2) * level.step for _ in range(6))]
        level = refined(level, torch.cat(near))
    return level


def spline_cases(generator: torch.Generator) -> list[Case]:
    points = on_ellipsoid(POINTS, generator)
    level = sparse_level(points, generator)
    free = level.free_columns()
    nodes, unknowns, stored = level.active * ops.BRICK_NODES, int((free >= 0).sum()), len(level.coefficients)
    x = torch.randn(unknowns, generator=generator)
    of_points, of_nodes = torch.rand(4 * POINTS, generator=generator), torch.rand(nodes, generator=generator)
    cells = torch.cartesian_prod(*[torch.arange(4.0)] * 3) * (level.step / 2)
    lattice = (points[: POINTS // 8, None] + cells).reshape(-1, 3)  # bricks of a lattice twice as fine, as extraction asks for them
    touched = len(torch.unique(level.stencil_slots((level.lattice(points) + 0.5).floor().long())))

    def pull() -> Callable[[], object]:
        term = ops.pull_rows(level, free, points, REACH)
        return lambda: term.normal(x, of_points)

    def bending() -> Callable[[], object]:
        term = ops.laplacian_rows(level, free)
        return lambda: term.normal(x, of_nodes)

    evaluated = f"{POINTS:,} points on {FINE}^3"
    return [
        Case(
            "spline: value and gradient",
            evaluated,
            7 * FLOAT * POINTS + FLOAT * touched,
            lambda: lambda: ops.spline_field([level], points),
        ),
        Case(
            "spline: values in extraction's order",
            f"{len(lattice):,} points on {FINE}^3",
            4 * FLOAT * len(lattice) + FLOAT * touched,
            lambda: lambda: ops.spline_field([level], lattice, gradient=False),
        ),
        Case(
            "plane pull: A^T W A x",
            f"{POINTS:,} points, {unknowns:,} unknowns",
            2 * FLOAT * unknowns + (8 * FLOAT) * POINTS,
            pull,
        ),
        Case(
            "bending: A^T W A x",
            f"{nodes:,} rows, {unknowns:,} unknowns",
            2 * FLOAT * unknowns + FLOAT * nodes,
            bending,
        ),
        Case("plane pull: set up", evaluated, 0, lambda: lambda: ops.pull_rows(level, free, points, REACH)),
        Case("bending: set up", f"{stored:,} coefficients", 0, lambda: lambda: ops.laplacian_rows(level, free)),
    ]


def dense_cases(generator: torch.Generator) -> list[Case]:
    targets = on_ellipsoid(POINTS, generator)
    targets = targets[((targets + 1) * ((NODES - 1) / 2)).long().mul(torch.tensor([NODES**2, NODES, 1])).sum(1).argsort()]
    queries = targets + 0.0005 * torch.randn(POINTS, 3, generator=generator)
    axis = torch.linspace(-1, 1, NODES)
    distance = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).norm(dim=-1) - 0.5
    weights = 5.0 * (distance.abs() < BAND)
    values, nodes = distance.requires_grad_(), NODES**3
    shares = {"smooth": 1.0, "surface": 1.0, "align": 0.005}
    u = (queries[torch.randperm(POINTS, generator=generator)] + 1) * (SIDE / 2)
    shape = (SIDE,) * 3
    vectors, lattice = torch.randn(POINTS, 3, generator=generator), torch.randn(shape, generator=generator)
    everywhere = torch.randn(nodes, generator=generator)

    def interpolation() -> object:
        return torch.autograd.grad(ops.trilinear(values, queries), values, (vectors[:, 0], vectors))

    def objective() -> object:
        return torch.autograd.grad(ops.pulling(values, queries, targets, weights, **shares), values)

    def adam(gradient: Tensor) -> Callable[[], object]:
        parameter, mean, square = torch.zeros(3, nodes).unbind()
        return lambda: ops.adam_step(parameter, gradient, mean, square, step=5, rate=1e-3)

    points, grid, fft = f"{POINTS:,} points on {NODES}^3", f"{NODES}^3", f"{POINTS:,} points on {SIDE}^3"
    near = everywhere * (weights.view(-1) > 0)
    return [
        Case("trilinear: with its backward", points, FLOAT * (14 * POINTS + nodes), lambda: interpolation),
        Case("pulling with its backward", points, FLOAT * (12 * POINTS + 3 * nodes), lambda: objective),
        Case("Adam", grid, 7 * FLOAT * nodes, lambda: adam(everywhere)),
        Case(f"Adam, {float((near != 0).float().mean()):.0%} of it reached", grid, 0, lambda: adam(near)),
        Case("dense spline: splat of vectors", fft, FLOAT * (6 * POINTS + SIDE**3), lambda: lambda: ops.spline_splat(u, vectors, shape)),
        Case("dense spline: value and gradient", fft, 0, lambda: lambda: ops.spline_gather(lattice, u)),
    ]


def hash_cases(generator: torch.Generator) -> list[Case]:
    network = ops.SdfNetwork(ops.HashGrid())
    grid = network.grid
    table = 1e3 * grid.start(generator)
    weights = [torch.randn(shape, generator=generator) / shape[1] ** 0.5 for shape in network.weight_shapes]
    biases = [torch.randn(shape, generator=generator) / 10 for shape in network.bias_shapes]
    x = 2 * torch.rand(BATCH, 3, generator=generator) - 1
    parameters = [tensor.requires_grad_() for tensor in (table, *weights, *biases)]

    def forward(gradient: bool) -> object:
        with torch.no_grad():
            return ops.hash_sdf(network, table, weights, biases, x, gradient=gradient)

    def encoding() -> object:
        with torch.no_grad():
            return ops.hash_encode(grid, table, x)

    def step(sdf: Tensor, gradient: Tensor) -> object:
        loss = sdf.abs().mean() + 0.1 * (gradient.norm(dim=1) - 1).square().mean()
        return torch.autograd.grad(loss, parameters)

    def by_one_backward() -> object:
        return step(*ops.hash_sdf(network, table, weights, biases, x)[:2])

    def by_double_backward() -> object:
        moving = x.clone().requires_grad_()
        sdf, _, _ = ops.hash_sdf(network, table, weights, biases, moving, gradient=False)
        return step(sdf, torch.autograd.grad(sdf.sum(), moving, create_graph=True)[0])

    def adam() -> Callable[[], object]:
        gradient, (parameter, mean, square) = torch.randn(grid.numbers, generator=generator), torch.zeros(3, grid.numbers).unbind()
        return lambda: ops.adam_step(parameter, gradient, mean, square, step=5, rate=1e-3)

    points = f"{BATCH:,} points, 16 levels of 2^19"
    return [
        Case("hash grid: features", points, 0, lambda: encoding),
        Case("hash SDF: value", points, 0, lambda: lambda: forward(False)),
        Case("hash SDF: value and gradient", points, 0, lambda: lambda: forward(True)),
        Case("hash SDF: step", points, 0, lambda: by_one_backward),
        Case("hash SDF: step, beside double backward", points, 0, lambda: by_one_backward, lambda: by_double_backward),
        Case("Adam, hash table", f"{grid.numbers:,}", 7 * FLOAT * grid.numbers, adam),
    ]


def ray_cases(generator: torch.Generator) -> list[Case]:
    """Rays from a sphere around the ellipsoid to points in and around it."""
    o = 2 * torch.nn.functional.normalize(torch.randn(RAYS, 3, generator=generator), dim=1)
    directions = torch.nn.functional.normalize(1.2 * on_ellipsoid(RAYS, generator) - o, dim=1)
    scale = torch.tensor([0.8, 0.25, 0.4])
    axis = (torch.arange(CELLS) + 0.5) * (2 / CELLS) - 1
    nodes = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    occupied = ((nodes / scale).norm(dim=-1) - 1).abs() < 0.15
    march = {"step": 2 * 3**0.5 / STEPS, "jitter": torch.rand(RAYS, generator=generator), "most": STEPS}
    samples = ops.march(occupied, o, directions, **march)
    x = o[samples.ray_of()] + samples.t[:, None] * directions[samples.ray_of()]
    sdf, gradient = ((x / scale).norm(dim=1) - 1) * 0.4, torch.nn.functional.normalize(x / scale**2, dim=1)
    inputs = [tensor.requires_grad_() for tensor in (sdf, gradient, torch.rand(x.shape, generator=generator), torch.tensor(200.0))]
    owed = torch.randn(RAYS, 3, generator=generator), torch.randn(RAYS, generator=generator)

    def composite() -> object:
        found = ops.neus_composite(samples, directions, *inputs)
        return torch.autograd.grad((found.color, found.transmittance), inputs, owed)

    size, count = f"{RAYS:,} rays, {len(samples):,} samples", len(samples)
    return [
        Case("compositing with its backward", size, FLOAT * (2 * 9 + 2 + 7 + 4) * count, lambda: composite),
        Case("marching", f"{size}, {CELLS}^3 cells", 0, lambda: lambda: ops.march(occupied, o, directions, **march)),
    ]


def row(case: Case, triad: float) -> list[str]:
    """Reference, native, speed-up, and how near the machine's bandwidth that comes."""
    times = []
    for backend, prepare in (("reference", case.beside or case.prepare), ("native", case.prepare)):
        ops.use(backend, device="cpu")
        times.append(seconds(prepare()))
    slow, fast = times
    rate = case.traffic / fast
    moved = [f"{rate / 1e9:.1f}", f"{100 * rate / triad:.0f} %"] if case.traffic else ["", ""]
    return [case.name, case.size, f"{1e3 * slow:.2f}", f"{1e3 * fast:.2f}", f"{slow / fast:.1f}", *moved]


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    triad = bandwidth()
    rows = []
    for case in spline_cases(generator) + dense_cases(generator) + hash_cases(generator) + ray_cases(generator):
        rows.append(row(case, triad))
        print("  ".join(rows[-1]), flush=True)
    head = ["kernel", "size", "reference, ms", "native, ms", "times as fast", "GB/s", "of the triad"]
    variant = next(reason for _, backend, reason in ops.choices("cpu", "native") if backend == "native").partition(";")[0]
    text = f"{variant}, {torch.get_num_threads()} threads; the triad moves {triad / 1e9:.1f} GB/s.\n\n" + table(head, rows)
    print(text)
    record("Kernels", text)


if __name__ == "__main__":
    main()
