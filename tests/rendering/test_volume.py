"""What rays see over a background, and spherical harmonics: orthonormal, and those of scipy."""

import math

import numpy as np
import pytest
import scipy.special
import torch
from torch.nn.functional import normalize

from surfrecon.errors import InputError
from surfrecon.ops import Samples
from surfrecon.rendering import over, points, render, spherical_harmonics


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def wall(inv_s: float, dtype: torch.dtype = torch.float32) -> list:
    """Arguments of render for two rays along z: one meets a red wall at 0.5, one has no samples."""
    t = ((torch.arange(100) + 0.5) / 100).to(dtype)
    direction = torch.tensor([[0, 0, 1.0]], dtype=dtype)
    samples = Samples(t, torch.full_like(t, 0.01), torch.tensor([0, 100, 100]))
    red = torch.tensor([0.8, 0.1, 0.0], dtype=dtype).expand(100, 3)
    return [samples, direction.expand(2, 3), 0.5 - t, -direction.expand(100, 3), red, torch.tensor(inv_s, dtype=dtype)]


def test_opaque_wall_hides_the_background_and_an_empty_ray_shows_it():
    blue = torch.tensor([0.0, 0.0, 1.0])
    found = render(*wall(2000.0), background=blue)
    torch.testing.assert_close(found.color, torch.tensor([[0.8, 0.1, 0.0], [0, 0, 1]]), rtol=0, atol=1e-4)
    assert float(found.depth[0]) == pytest.approx(0.5, abs=0.005) and found.depth[1].isnan()
    torch.testing.assert_close(found.opacity, torch.tensor([1.0, 0.0]), rtol=0, atol=1e-6)
    torch.testing.assert_close(found.normal, torch.tensor([[0, 0, -1.0], [0, 0, 0]]), rtol=0, atol=1e-4)
    assert len(found.weights) == 100 and torch.equal(found.transmittance, 1 - found.opacity)


def test_each_ray_may_have_its_own_background_and_none_is_black():
    behind = torch.tensor([[0.0, 1, 0], [0.3, 0.2, 0.1]])
    black, mixed = render(*wall(5.0)), render(*wall(5.0), background=behind)
    torch.testing.assert_close(mixed.color - black.color, (1 - black.opacity)[:, None] * behind)
    assert 0.1 < float(black.opacity[0]) < 0.95


def test_depth_is_the_mean_place_of_what_is_seen():
    found = render(*wall(20.0))
    weights = found.weights.double()
    assert float(found.depth[0]) == pytest.approx(float((weights * (torch.arange(100) + 0.5) / 100).sum() / weights.sum()), abs=1e-6)


def test_everything_seen_passes_gradcheck(generator):
    samples = Samples(*(torch.rand(2, 5, generator=generator, dtype=torch.float64) / 5).unbind(), torch.tensor([0, 3, 5]))
    random = lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64).requires_grad_()
    inputs = [random(2, 3), random(5), random(5, 3), random(5, 3), torch.tensor(3.0, dtype=torch.float64, requires_grad=True), random(3)]
    gradcheck = lambda *given: tuple(render(samples, *given[:5], background=given[5], anneal=0.4))
    assert torch.autograd.gradcheck(gradcheck, inputs)


def test_gradients_are_finite_on_rays_that_see_nothing():
    arguments = wall(20.0)
    arguments[2] = (arguments[2] + 100).requires_grad_()
    found = render(*arguments, background=torch.ones(3))
    assert found.depth.isnan().all()
    (owed,) = torch.autograd.grad(found.color.sum() + found.opacity.sum() + found.depth.nan_to_num().sum(), arguments[2])
    assert torch.isfinite(owed).all()


def test_points_are_on_their_rays():
    samples = Samples(torch.tensor([1.0, 2, 3]), torch.ones(3), torch.tensor([0, 1, 1, 3]))
    o, d = torch.tensor([[0.0, 0, 0], [5, 5, 5], [0, 1, 0]]), torch.eye(3)
    assert points(samples, o, d).tolist() == [[1, 0, 0], [0, 1, 2], [0, 1, 3]]


def test_background_of_another_shape_is_an_error():
    with pytest.raises(InputError, match=r"background must be \(3,\) or \(2, 3\), got \(3, 3\)"):
        over(torch.zeros(2, 3), torch.zeros(2), torch.zeros(3, 3))


def sphere_points(rows: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Directions and weights that integrate polynomials of degree 2 rows - 1 over the sphere exactly."""
    z, weight = map(torch.from_numpy, np.polynomial.legendre.leggauss(rows))
    angle = torch.arange(2 * rows, dtype=torch.float64) * (math.pi / rows)
    across = (1 - z**2).sqrt()[:, None]
    d = torch.stack([across * angle.cos(), across * angle.sin(), z[:, None].expand(-1, 2 * rows)], dim=-1)
    return d.view(-1, 3), (weight[:, None] * (math.pi / rows)).expand(-1, 2 * rows).reshape(-1)


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
def test_harmonics_are_orthonormal(bands):
    d, weight = sphere_points()
    values = spherical_harmonics(d, bands)
    torch.testing.assert_close(values.T @ (weight[:, None] * values), torch.eye(bands**2, dtype=torch.float64), rtol=0, atol=1e-13)


def test_harmonics_are_those_of_scipy(generator):
    d = normalize(torch.randn(50, 3, generator=generator, dtype=torch.float64), dim=1)
    values, (x, y, z) = spherical_harmonics(d, 5), d.numpy().T
    for degree in range(5):
        for m in range(-degree, degree + 1):
            there = scipy.special.sph_harm_y(degree, abs(m), np.arccos(z), np.arctan2(y, x))
            part = there.real if m >= 0 else there.imag
            wanted = part * (math.sqrt(2) * (-1) ** m if m else 1)  # scipy's sign alternates with m
            np.testing.assert_allclose(values[:, degree * (degree + 1) + m].numpy(), wanted, atol=1e-13)


def test_harmonics_of_first_degrees_are_the_known_polynomials(generator):
    d = normalize(torch.randn(20, 3, generator=generator), dim=1)
    x, y, z = d.unbind(1)
    values = spherical_harmonics(d)
    assert values.shape == (20, 16) and values.dtype == torch.float32
    known = [0.28209479 + 0 * x, 0.48860251 * y, 0.48860251 * z, 0.48860251 * x, 1.0925484 * x * y, 1.0925484 * y * z]
    torch.testing.assert_close(values[:, :6], torch.stack(known, dim=1), rtol=0, atol=1e-6)
    torch.testing.assert_close(values[:, 6], 0.31539157 * (3 * z**2 - 1), rtol=0, atol=1e-6)


def test_harmonics_pass_gradcheck_and_take_no_directions(generator):
    d = torch.randn(3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(spherical_harmonics, d)
    assert spherical_harmonics(torch.zeros(0, 3), 3).shape == (0, 9)


def test_harmonics_name_what_they_cannot_take():
    for wrong in (0, 6):
        with pytest.raises(InputError, match=f"bands must be from 1 to 5, got {wrong}"):
            spherical_harmonics(torch.zeros(1, 3), wrong)
    with pytest.raises(InputError, match=r"directions must be \(any, 3\)"):
        spherical_harmonics(torch.zeros(1, 2))
