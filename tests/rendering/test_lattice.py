"""What rays see of a surface on a lattice, against the sphere's closed forms."""

import math

import pytest
import torch

from surfrecon.ops import neus_composite
from surfrecon.rendering import BAND, Lattice, Rays, points

RADIUS, CELLS = 0.5, 64
INV_S = torch.tensor(60.0)
STEP = float(2 * BAND / (8 * INV_S))


def ball(x: torch.Tensor) -> torch.Tensor:
    return x.norm(dim=1) - RADIUS


@pytest.fixture(scope="module")
def lattice() -> Lattice:
    lattice = Lattice(ball, reach=0.2, cells=CELLS)
    lattice.refresh(ball, INV_S)
    return lattice


def rays_at(distances: list[float]) -> Rays:
    """Along z, past the sphere's middle at these distances."""
    origins = torch.tensor([[distance, 0.0, -3.0] for distance in distances])
    return Rays(origins, torch.tensor([[0.0, 0.0, 1.0]]).expand(len(distances), 3).contiguous())


def taken(lattice: Lattice, distances: list[float]):
    rays = rays_at(distances)
    return rays, lattice.samples(rays, INV_S, step=STEP, most=16, jitter=torch.full((len(distances),), 0.5))


def test_samples_lie_in_the_band_and_not_behind_what_hides_them(lattice):
    rays, samples = taken(lattice, [0.0, 0.2, 0.35])
    assert (ball(points(samples, *rays)).abs() < BAND / (0.8 * INV_S) + 0.02).all()
    assert (samples.t < 3.0).all()  # none on the far side
    assert (samples.counts >= 8).all() and (samples.counts < 30).all()


def test_rays_that_miss_by_more_than_the_band_have_no_samples(lattice):
    assert taken(lattice, [RADIUS + 1.5 * float(BAND / INV_S), 0.9])[1].counts.tolist() == [0, 0]


@pytest.mark.parametrize("beside", [-0.02, -0.005, 0.0, 0.005, 0.02])
def test_opacity_of_rays_that_graze_is_that_of_all_samples(lattice, beside):
    """T = Phi(s f) where the ray comes nearest: sharpness and distance alone decide, or surfaces would swell or shrink."""
    rays, samples = taken(lattice, [RADIUS + beside])
    x = points(samples, *rays)
    found = neus_composite(samples, rays.directions, ball(x), torch.nn.functional.normalize(x, dim=1), torch.zeros_like(x), INV_S)
    wanted = 1 / (1 + math.exp(-float(INV_S) * beside))
    assert float(found.transmittance) == pytest.approx(wanted, abs=0.02)


def test_refresh_follows_a_surface_that_moves(lattice):
    moved = Lattice(ball, reach=0.2, cells=CELLS)
    moved.refresh(lambda x: ball(x) - 0.05, INV_S)
    first = lambda some: float(taken(some, [0.0])[1].t.mean())
    assert first(moved) == pytest.approx(first(lattice) - 0.05, abs=STEP)


def test_steepest_slope_is_that_of_the_field(lattice):
    class Doubled:
        def value_and_gradient(self, x):
            return 2 * ball(x), 2 * torch.nn.functional.normalize(x, dim=1)

    assert lattice.steepest(Doubled()) == pytest.approx(2, rel=1e-4)
