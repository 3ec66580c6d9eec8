"""Samples of rays in occupied cells: a slow loop over places, closed forms, and the kernel against the reference, to the byte."""

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.ops import Samples, Surface, box_interval, reference

MOST = 10_000


def lattice(cells: int, share: float, generator: torch.Generator) -> Tensor:
    return torch.rand(cells, cells, cells, generator=generator) < share


def rays(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Origins within and beyond the box, directions, jitter; some directions have zeros, some rays miss the box."""
    random = lambda *shape: torch.rand(*shape, generator=generator)
    origins, directions = 3 * random(count, 3) - 1.5, 2 * random(count, 3) - 1
    directions[::5, 0] = 0
    directions[::7, 2] = 0
    return origins, normalize(directions, dim=1), random(count)


def slow(occupied: Tensor, o: list[float], d: list[float], h: float, jitter: float, most: int) -> list[float]:
    """Middles of a ray's samples: every place in turn."""
    near, far = 0.0, math.inf
    for axis in range(3):
        if d[axis] == 0:
            near, far = (near, far) if -1 <= o[axis] <= 1 else (math.inf, -math.inf)
            continue
        low, high = sorted(((-1 - o[axis]) / d[axis], (1 - o[axis]) / d[axis]))
        near, far = max(near, low), min(far, high)
    cells, found = len(occupied), []
    for k in itertools.count():
        t = near + (k + jitter + 0.5) * h
        if not t < far or len(found) == most:
            return found
        cell = [min(max(math.floor((o[axis] + t * d[axis] + 1) * cells / 2), 0), cells - 1) for axis in range(3)]
        if occupied[tuple(cell)]:
            found.append(t)


def assert_same(one: Samples, other: Samples) -> None:
    for name in ("t", "lengths", "offsets"):
        assert torch.equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("most", [MOST, 20])
@pytest.mark.parametrize(("cells", "share"), [(1, 1.0), (2, 0.5), (7, 0.3), (20, 0.05), (20, 0.001)])
def test_samples_are_those_of_a_slow_loop(cells, share, most, backend, generator):
    occupied, (o, d, jitter) = lattice(cells, share, generator), rays(60, generator)
    step = torch.linspace(0.01, 0.05, 60)
    found = backend.march(occupied, o, d, step=step, jitter=jitter, most=most)
    wanted = [slow(occupied, *map(Tensor.tolist, each), most) for each in zip(o, d, step, jitter)]
    assert found.offsets.tolist() == [0, *itertools.accumulate(map(len, wanted))]
    assert torch.equal(found.t, torch.tensor([t for ray in wanted for t in ray]))
    assert torch.equal(found.lengths, step.repeat_interleave(found.counts))


@pytest.mark.parametrize("most", [MOST, 64])
@pytest.mark.parametrize(("cells", "share"), [(64, 0.02), (64, 0.0005), (37, 0.4), (8, 0.0), (128, 0.00001)])
def test_kernel_has_the_bytes_of_the_reference(cells, share, most, kernels, generator):
    occupied, (o, d, jitter) = lattice(cells, share, generator), rays(1000, generator)
    found, wanted = (of.march(occupied, o, d, step=0.007, jitter=jitter, most=most) for of in (kernels, reference))
    assert_same(found, wanted)


def test_kernel_has_the_bytes_of_the_reference_on_borders_of_cells(kernels):
    """Rays in the planes between cells, along their edges, and nearly so: where a cell ends is settled by rounding."""
    generator = torch.Generator().manual_seed(1)
    occupied = lattice(16, 0.3, generator)
    o = torch.randint(-10, 11, (3000, 3), generator=generator) / 8.0
    d = torch.randint(-2, 3, (3000, 3), generator=generator).float()
    d[(d == 0).all(1)] = 1
    tiny = torch.tensor([0.0, 1e-9, -1e-9, 1e-17, -1e-17, 1e-30])
    d = normalize(d, dim=1) + tiny[torch.randint(0, 6, (3000, 3), generator=generator)]
    jitter = torch.randint(0, 2, (3000,), generator=generator) / 2.0
    for step in (1 / 64, 0.01):
        found, wanted = (of.march(occupied, o, d, step=step, jitter=jitter, most=MOST) for of in (kernels, reference))
        assert_same(found, wanted)


def test_full_lattice_is_sampled_from_side_to_side(backend, generator):
    d = normalize(torch.randn(200, 3, generator=generator), dim=1)
    o = -4 * d
    jitter = torch.rand(200, generator=generator)
    found = backend.march(torch.ones(4, 4, 4, dtype=torch.bool), o, d, step=0.01, jitter=jitter, most=MOST)
    through = 2 / d.abs().amax(1)  # of rays through the centre
    assert ((found.counts * 0.01 + 0.01 * jitter - through).abs() <= 0.00501).all()
    x = o.repeat_interleave(found.counts, 0) + found.t[:, None] * d.repeat_interleave(found.counts, 0)
    assert x.abs().max() <= 1 + 1e-6
    torch.testing.assert_close(found.t.diff()[found.ray_of().diff() == 0], torch.full((len(found) - 200,), 0.01), rtol=0, atol=1e-6)
    torch.testing.assert_close(found.starts[found.offsets[:-1]], 4 - through / 2 + 0.01 * jitter, rtol=0, atol=1e-5)


def test_jitter_moves_all_samples_of_a_ray_by_its_part_of_a_step(backend):
    o, d = torch.tensor([[-2.0, 0, 0]]).expand(3, 3), torch.tensor([[1.0, 0, 0]]).expand(3, 3)
    found = backend.march(torch.ones(2, 2, 2, dtype=torch.bool), o, d, step=0.5, jitter=torch.tensor([0.0, 0.25, 0.5]), most=MOST)
    assert found.counts.tolist() == [4, 4, 3]  # the last middle is on the border, which is beyond the box
    assert found.t.tolist() == [1.25, 1.75, 2.25, 2.75, 1.375, 1.875, 2.375, 2.875, 1.5, 2.0, 2.5]


def test_rays_that_miss_the_box_or_are_not_finite_have_no_samples(backend):
    o = torch.tensor([[-2.0, 1.5, 0], [2, 0, 0], [0, 0, 0], [torch.nan, 0, 0], [0, torch.inf, 0], [0, 0, 0], [1.1, 0, 0], [-2, 0, 0]])
    d = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 0, 0], [1, 0, 0], [0, -1, 0], [torch.nan, 0, 1], [0, 0, 1], [1, 0, 0]])
    found = backend.march(torch.ones(4, 4, 4, dtype=torch.bool), o, d, step=0.25, jitter=torch.zeros(8), most=MOST)
    assert found.counts.tolist() == [0] * 7 + [8]


def test_ray_that_begins_in_the_box_is_sampled_from_there(backend):
    o, d = torch.tensor([[0.5, 0, 0], [0.5, 1, 0]]), torch.tensor([[-1.0, 0, 0], [1, 0, 0]])
    found = backend.march(torch.ones(4, 4, 4, dtype=torch.bool), o, d, step=0.125, jitter=torch.zeros(2), most=MOST)
    assert found.counts.tolist() == [12, 4] and found.starts[0] == 0 and found.ends[11] == 1.5 and found.starts[12] == 0


def test_no_rays_and_an_empty_lattice(backend):
    empty, full = torch.zeros(9, 9, 9, dtype=torch.bool), torch.ones(9, 9, 9, dtype=torch.bool)
    for occupied, count in ((full, 0), (empty, 0), (empty, 5)):
        o = torch.zeros(count, 3)
        found = backend.march(occupied, o, o + 1, step=0.1, jitter=torch.zeros(count), most=MOST)
        assert len(found) == 0 and found.offsets.tolist() == [0] * (count + 1)


def test_double_precision_has_the_same_samples(generator):
    occupied, (o, d, jitter) = lattice(20, 0.2, generator), rays(300, generator)
    single = ops.march(occupied, o, d, step=0.015625, jitter=jitter, most=MOST)
    double = ops.march(occupied, o.double(), d.double(), step=0.015625, jitter=jitter.double(), most=MOST)
    assert double.t.dtype == torch.float64 and torch.equal(double.offsets, single.offsets) and torch.equal(double.t.float(), single.t)


def test_reference_does_not_depend_on_how_many_rays_it_looks_at_together(generator, monkeypatch):
    occupied, (o, d, jitter) = lattice(20, 0.2, generator), rays(300, generator)
    march = lambda: reference.march(occupied, o, d, step=0.01, jitter=jitter, most=MOST)
    wanted = march()
    monkeypatch.setattr("surfrecon.ops.reference.marching.AT_ONCE", 1000)
    assert_same(march(), wanted)


def test_number_of_threads_changes_no_byte(native, generator, on_threads):
    occupied, (o, d, jitter) = lattice(50, 0.02, generator), rays(700, generator)
    march = lambda: native.march(occupied, o, d, step=0.01, jitter=jitter, most=MOST)
    for count in (2, 3, 30):
        assert_same(on_threads(1, march), on_threads(count, march))


def test_memory_layout_does_not_matter(kernels, generator):
    occupied, (o, d, jitter) = lattice(20, 0.2, generator), rays(100, generator)
    wanted = kernels.march(occupied.transpose(0, 2).contiguous(), o, d, step=0.01, jitter=jitter, most=MOST)
    scattered = occupied.transpose(0, 2), o.T.contiguous().T, d.T.contiguous().T
    assert not any(tensor.is_contiguous() for tensor in scattered)
    for of in (kernels, reference):
        assert_same(of.march(*scattered, step=torch.full((200,), 0.01)[::2], jitter=jitter, most=MOST), wanted)


def test_moving_rays_have_samples_that_do_not_move(backend, generator):
    occupied, (o, d, jitter) = lattice(5, 0.5, generator), rays(20, generator)
    found = backend.march(occupied, o.requires_grad_(), d.requires_grad_(), step=0.1, jitter=jitter, most=MOST)
    assert not found.t.requires_grad


def ball(nodes: int, inv_s: float, *, dark: float = 0.01) -> Surface:
    """Of radius 1/2, in whose band the density falls to 5 %."""
    axis = torch.linspace(-1, 1, nodes)
    values = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).norm(dim=0) - 0.5
    return Surface(values, inv_s, 5 / inv_s, dark)


def test_rays_see_the_band_of_a_surface_up_to_where_nothing_gets_through(backend):
    surface = ball(65, 60.0)
    o, d = torch.tensor([[-2.0, 0, 0], [-2, 0.45, 0], [-2, 0.55, 0], [-2, 0.6, 0]]), torch.tensor([[1.0, 0, 0]]).expand(4, 3)
    found = backend.march(torch.ones(8, 8, 8, dtype=torch.bool), o, d, step=0.01, jitter=torch.zeros(4), most=MOST, surface=surface)
    straight, grazing, beside, beyond = found.t.split(found.counts.tolist())
    assert straight.min() == pytest.approx(1.5 - 5 / 60, abs=0.011) and straight.max() < 1.6  # no far wall, nor the near one's inside
    assert len(grazing) > 2 * len(straight)
    assert len(beside) and (beside.mean() - 2).abs() < 0.01 and not len(beyond)
    x = o.repeat_interleave(found.counts, 0) + found.t[:, None] * d.repeat_interleave(found.counts, 0)
    assert ((x.norm(dim=1) - 0.5).abs() < 5 / 60 + 0.001).all()


@pytest.mark.parametrize("inv_s", [20.0, 400.0])
def test_kernel_sees_what_the_reference_sees_of_a_surface(inv_s, kernels, generator):
    occupied, (o, d, jitter) = lattice(16, 0.7, generator), rays(3000, generator)
    look = lambda of: of.march(occupied, o, d, step=0.004, jitter=jitter, most=300, surface=ball(65, inv_s))
    found, wanted = (set(zip(item.ray_of().tolist(), item.t.tolist())) for item in (look(kernels), look(reference)))
    assert len(found) > 2000 and len(found ^ wanted) < 2e-3 * len(wanted)  # float32 sums decide on the edge of being seen


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"occupied": torch.ones(4, 4, 3, dtype=torch.bool)}, r"occupied must be \(M, M, M\) bool"),
        ({"occupied": torch.ones(4, 4, 4)}, "occupied must be .* bool.*got .*float32"),
        ({"origins": torch.zeros(5, 2)}, "origins must be"),
        ({"directions": torch.zeros(4, 3)}, r"directions must be \(5, 3\).*got \(4, 3\)"),
        ({"directions": torch.zeros(5, 3).double()}, "directions must be .*float32.*got.*float64"),
        ({"jitter": torch.zeros(5, 1)}, r"jitter must be \(5,\)"),
        ({"step": torch.ones(4)}, r"step must be \(5,\).*got \(4,\)"),
        ({"step": 0.0}, "step must be > 0"),
        ({"step": torch.nan}, "step must be > 0"),
        ({"most": 0}, "most must be >= 1 sample a ray, got 0"),
        ({"surface": Surface(torch.zeros(4, 4, 3), 1.0, 1.0, 0.0)}, r"values of a surface must be \(N, N, N\).*got \(4, 4, 3\)"),
        ({"surface": Surface(torch.zeros(4, 4, 4).double(), 1.0, 1.0, 0.0)}, "values of a surface must be .*float32.*got.*float64"),
        ({"surface": Surface(torch.zeros(4, 4, 4), 0.0, 1.0, 0.0)}, "a surface needs inv_s > 0"),
    ],
)
def test_what_cannot_be_taken_is_named(changed, said, backend):
    o = torch.zeros(5, 3)
    usual = {
        "occupied": torch.ones(4, 4, 4, dtype=torch.bool),
        "origins": o,
        "directions": o + 1,
        "step": 0.1,
        "jitter": o[:, 0],
        "most": 9,
    }
    with pytest.raises(InputError, match=said):
        backend.march(**(usual | changed))


def test_box_interval_of_rays_that_graze_and_start_on_its_sides(dtype):
    o = torch.tensor([[-2.0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=dtype)
    d = torch.tensor([[1.0, 0, 0], [1, 0, 0], [-1, 0, 0], [0.6, 0.8, 0]], dtype=dtype)
    near, far = box_interval(o, d)
    assert near.tolist() == [1, 0, 0, 0] and near.dtype == dtype
    torch.testing.assert_close(far, torch.tensor([3, 0, 2, 1.25], dtype=dtype))
