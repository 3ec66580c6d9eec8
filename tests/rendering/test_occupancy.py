"""Where rays are sampled: on spheres, planes and shells whose crossings are known."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.rendering import Occupancy, points, render

RADIUS = 0.6
SHARP = torch.tensor(2000.0)


def sphere(x: Tensor) -> Tensor:
    return x.norm(dim=1) - RADIUS


def rays(count: int, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """From outside the box into it, some past the sphere."""
    o = 2.5 * normalize(torch.randn(count, 3, generator=generator, dtype=dtype), dim=1)
    aims = 0.9 * (2 * torch.rand(count, 3, generator=generator, dtype=dtype) - 1)
    return o, normalize(aims - o, dim=1)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


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
