"""Where rays are sampled: on spheres, planes and shells whose crossings are known."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.rendering import Crossings, Occupancy, band, first_crossings, points, render

RADIUS = 0.6
SHARP = torch.tensor(2000.0)


def sphere(x: Tensor) -> Tensor:
    return x.norm(dim=1) - RADIUS


def rays(count: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """From outside the box into it, some past the sphere."""
    o = 2.5 * normalize(torch.randn(count, 3, generator=generator, dtype=dtype), dim=1)
    aims = 0.9 * (2 * torch.rand(count, 3, generator=generator, dtype=dtype) - 1)
    return o, normalize(aims - o, dim=1)


def distances_to_sphere(o: Tensor, d: Tensor) -> Tensor:
    """NaN where rays miss it."""
    along = -(o * d).sum(1)
    return along - (along**2 - o.square().sum(1) + RADIUS**2).sqrt()


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("slope", [1.0, 1.5, 4.0])
def test_crossings_of_a_sphere_are_those_of_geometry(slope, generator):
    o, d = rays(400, generator)
    found, wanted = first_crossings(sphere, o, d, step=0.01, slope=slope), distances_to_sphere(o, d)
    grazing = (o + (-(o * d).sum(1))[:, None] * d).norm(dim=1) > RADIUS - 1e-3
    assert torch.equal(found.hit[~grazing], torch.ones(int((~grazing).sum()), dtype=torch.bool))
    assert not (found.hit & wanted.isnan()).any() and 50 < int(found.hit.sum()) < 390
    assert (found.t - wanted)[found.hit & ~grazing].abs().max() < 1e-5


def test_ray_that_misses_is_given_where_it_comes_nearest(generator):
    o, d = rays(400, generator)
    found = first_crossings(sphere, o, d, step=0.01, slope=1.0)
    missed = ~found.hit & ~found.t.isnan()
    near, far = ops.box_interval(o, d)
    nearest = torch.minimum(torch.maximum(-(o * d).sum(1), near), far)
    seen, least = (sphere(o + t[:, None] * d)[missed] for t in (found.t, nearest))
    assert missed.any() and (seen - least >= -1e-12).all()
    assert ((found.t - nearest)[missed].abs() < 1.5 * seen + 0.01).all()  # steps are as long as the distance is
    misses_box = ~(far > near)
    assert torch.equal(found.t.isnan(), misses_box)


def test_first_of_several_walls_is_found_whatever_the_scale_of_the_field(generator):
    shell = lambda x: 0.3 * ((x.norm(dim=1) - RADIUS).abs() - 0.05)  # a shell, its value less than a distance
    o, d = rays(300, generator)
    found = first_crossings(shell, o, d, step=0.01)
    aimed = (o + (-(o * d).sum(1))[:, None] * d).norm(dim=1) < RADIUS
    along = -(o * d).sum(1)
    wanted = along - (along**2 - 2.5**2 + (RADIUS + 0.05) ** 2).sqrt()
    assert found.hit[aimed].all() and (found.t - wanted)[aimed].abs().max() < 1e-4


def test_ray_that_begins_inside_hits_where_it_begins():
    o, d = torch.tensor([[0.1, 0, 0], [0, 0, 3]]), torch.tensor([[0, 1.0, 0], [0, 0, -1]])
    found = first_crossings(sphere, o, d, step=0.01)
    assert found.hit.all() and found.t[0] == 0 and float(found.t[1]) == pytest.approx(3 - RADIUS, abs=1e-4)
    filled = first_crossings(lambda x: -torch.ones(len(x)), o, d, step=0.01)
    assert filled.hit.all() and filled.t.tolist() == [0, 2]


def test_crossings_of_no_rays_of_empty_fields_and_of_nan():
    none = first_crossings(sphere, torch.zeros(0, 3), torch.zeros(0, 3), step=0.1)
    assert none.t.shape == none.hit.shape == (0,)
    o, d = torch.tensor([[0.0, 0, 3]]), torch.tensor([[0.0, 0, -1]])
    empty = first_crossings(lambda x: torch.ones(len(x)), o, d, step=0.1)
    broken = first_crossings(lambda x: torch.full((len(x),), torch.nan), o, d, step=0.1)
    assert not empty.hit and float(empty.t) == 2 and not broken.hit


def test_crossings_ask_for_few_places(generator):
    asked = []
    o, d = rays(1000, generator)
    first_crossings(lambda x: asked.append(len(x)) or sphere(x), o, d, step=0.01, slope=1.0)
    assert sum(asked) < 25 * 1000


@pytest.mark.parametrize("wrong", [{"step": 0.0}, {"step": 0.1, "slope": -1.0}])
def test_step_and_slope_must_be_positive(wrong):
    with pytest.raises(InputError, match=r"step .* and slope must be > 0"):
        first_crossings(sphere, torch.zeros(1, 3), torch.ones(1, 3), **wrong)


def test_band_cuts_its_width_into_intervals_around_the_crossing(generator):
    crossings = Crossings(torch.tensor([1.5, torch.nan, 2.0]), torch.tensor([True, False, False]))
    even = band(crossings, width=0.4, count=4)
    assert even.offsets.tolist() == [0, 4, 4, 8]
    torch.testing.assert_close(even.t, torch.tensor([1.35, 1.45, 1.55, 1.65, 1.85, 1.95, 2.05, 2.15]))
    torch.testing.assert_close(even.lengths, torch.full((8,), 0.1))
    moved = band(crossings, width=torch.tensor([0.4, 1.0, 0.8]), count=4, jitter=torch.rand(3, 5, generator=generator))
    starts, ends = moved.starts.view(2, 4), moved.ends.view(2, 4)
    torch.testing.assert_close(starts[:, 1:], ends[:, :-1])
    regular = torch.tensor([[1.3], [1.6]]) + torch.tensor([[0.1], [0.2]]) * torch.arange(5)
    off = torch.cat([starts, ends[:, -1:]], dim=1) - regular
    assert (off.abs() <= torch.tensor([[0.05], [0.1]]) + 1e-6).all() and off.abs().max() > 0.05 and (moved.lengths >= 0).all()


def test_band_in_front_of_a_ray_is_empty():
    found = band(Crossings(torch.tensor([0.1]), torch.tensor([True])), width=0.8, count=4)
    assert found.starts.min() >= 0 and found.lengths.tolist()[0] == 0
    torch.testing.assert_close(found.ends[-1], torch.tensor(0.5))


def test_eight_samples_in_a_band_see_the_sphere(generator):
    o, d = (tensor.float() for tensor in rays(300, generator))
    crossings = first_crossings(sphere, o, d, step=0.01)
    samples = band(crossings, width=0.1, count=8, jitter=torch.rand(300, 9, generator=generator))
    x = points(samples, o, d)
    normals = normalize(x, dim=1)
    found = render(samples, d, sphere(x), normals, (normals + 1) / 2, torch.tensor(400.0))
    steep = crossings.hit & ((o + crossings.t[:, None] * d) * d).sum(1).lt(-0.3 * RADIUS)
    assert steep.sum() > 100 and (found.opacity[steep] > 0.95).all()
    assert (found.depth[steep] - distances_to_sphere(o, d)[steep]).abs().max() < 0.1 / 8


def test_occupied_cells_hold_the_surface_and_little_else(generator):
    occupancy = Occupancy(32)
    assert occupancy.occupied.all()
    occupancy.update(sphere, SHARP)
    on = RADIUS * normalize(torch.randn(20_000, 3, generator=generator), dim=1)
    cells = ((on + 1) * 16).long()
    assert occupancy.occupied[cells[:, 0], cells[:, 1], cells[:, 2]].all()
    for _ in range(200):  # what is empty is forgotten
        occupancy.update(sphere, SHARP)
    assert occupancy.occupied[cells[:, 0], cells[:, 1], cells[:, 2]].all()
    centers = occupancy.centers(torch.arange(32**3))
    occupied = occupancy.occupied.view(-1)
    assert sphere(centers)[occupied].abs().max() < 1.5 * occupancy.diagonal and float(occupied.float().mean()) < 0.25


def test_marching_what_is_occupied_sees_what_marching_everything_sees(generator):
    occupancy = Occupancy(32, decay=0.0)
    occupancy.update(sphere, SHARP)
    o, d = (tensor.float() for tensor in rays(200, generator))
    seen = []
    for occupied in (occupancy.occupied, torch.ones(32, 32, 32, dtype=torch.bool)):
        samples = ops.march(occupied, o, d, step=0.005, jitter=torch.full((200,), 0.3), most=1000)
        x = points(samples, o, d)
        normals = normalize(x, dim=1)
        seen.append((len(samples), render(samples, d, sphere(x), normals, normals, SHARP)))
    (few, one), (many, other) = seen
    assert few < 0.4 * many
    torch.testing.assert_close(one.color, other.color, rtol=0, atol=1e-3)
    torch.testing.assert_close(one.opacity, other.opacity, rtol=0, atol=1e-3)


def test_part_of_the_cells_at_a_time_comes_to_the_same(generator):
    whole, part = Occupancy(16, decay=0.5), Occupancy(16, decay=0.5)
    for _ in range(40):
        whole.update(sphere, SHARP)
        part.update(sphere, SHARP, share=0.5, generator=generator)
    torch.testing.assert_close(part.weights, whole.weights, rtol=0, atol=0.01)
    before = part.weights
    part.update(sphere, SHARP, share=0.0, generator=generator)
    assert torch.equal(part.weights, before)


def test_surface_that_moves_is_followed():
    occupancy = Occupancy(16)
    occupancy.update(sphere, SHARP)
    for _ in range(150):
        occupancy.update(lambda x: sphere(x) + 0.3, SHARP)
    centers = occupancy.centers(torch.arange(16**3))[occupancy.occupied.view(-1)]
    assert (centers.norm(dim=1) - 0.3).abs().max() < 1.5 * occupancy.diagonal


def test_soft_or_empty_fields_leave_everything_occupied():
    for values, inv_s in ((sphere, torch.tensor(1.0)), (lambda x: torch.full((len(x),), 5.0), torch.tensor(1e4))):
        occupancy = Occupancy(8, decay=0.0)
        occupancy.update(values, inv_s)
        assert occupancy.occupied.all()


def test_occupancy_goes_on_from_its_state():
    one, other = Occupancy(8), Occupancy(8)
    one.update(sphere, SHARP)
    other.restore(one.weights.clone())
    assert torch.equal(one.occupied, other.occupied) and one.cells == 8 and one.diagonal == pytest.approx(3**0.5 / 4)


def test_occupancy_names_what_it_cannot_do():
    for wrong in ({"cells": 0}, {"cells": 4, "decay": 1.5}):
        with pytest.raises(InputError, match="cells >= 1 along a side and a decay from 0 to 1"):
            Occupancy(**wrong)
    for wrong in ({"share": 0.5}, {"share": 1.5}):
        with pytest.raises(InputError, match="share must be from 0 to 1"):
            Occupancy(4).update(sphere, SHARP, **wrong)


def test_band_names_what_it_cannot_take():
    crossings = Crossings(torch.ones(3), torch.ones(3, dtype=torch.bool))
    with pytest.raises(InputError, match="count must be >= 1 sample a ray, got 0"):
        band(crossings, width=1.0, count=0)
    with pytest.raises(InputError, match=r"jitter must be \(3, 5\)"):
        band(crossings, width=1.0, count=4, jitter=torch.zeros(3, 4))
    with pytest.raises(InputError, match=r"width must be a number or \(3,\)"):
        band(crossings, width=torch.ones(2), count=4)
