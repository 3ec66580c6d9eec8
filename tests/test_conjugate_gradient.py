"""Conjugate gradients against numpy's solve and theory."""


import numpy as np
import pytest
import torch
from torch import Tensor

from surfrecon.optimize import conjugate_gradient

N = 24
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}  # of solutions, relative; condition 100


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def matrix(generator: torch.Generator, eigenvalues: Tensor) -> Tensor:
    """Symmetric, with given eigenvalues."""
    q = torch.linalg.qr(torch.randn(len(eigenvalues), len(eigenvalues), generator=generator, dtype=torch.float64))[0]
    return q @ torch.diag(eigenvalues) @ q.T


def spread(size: int = N) -> Tensor:
    return torch.logspace(0, 2, size, dtype=torch.float64)


def solve(a: Tensor, b: Tensor, **options) -> tuple[Tensor, int]:
    return conjugate_gradient(lambda x: a @ x, b, options.pop("diagonal", a.diagonal()), **options)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_solution_is_that_of_numpy(dtype, generator):
    a, b = matrix(generator, spread()), torch.randn(N, generator=generator, dtype=torch.float64)
    x, _ = solve(a.to(dtype), b.to(dtype), iterations=3 * N, tolerance=1e-12)
    wanted = np.linalg.solve(a.numpy(), b.numpy())
    assert x.dtype == dtype
    assert np.linalg.norm(x.double().numpy() - wanted) < TOLERANCE[dtype] * np.linalg.norm(wanted)


@pytest.mark.parametrize("size", [1, 2, 5, 12])
def test_n_unknowns_take_n_steps(size, generator):
    a, b = matrix(generator, spread(size)), torch.randn(size, generator=generator, dtype=torch.float64)
    x, steps = solve(a, b, iterations=100, tolerance=1e-8)
    assert steps <= size
    torch.testing.assert_close(a @ x, b, rtol=0, atol=1e-6)


def test_as_many_steps_as_different_eigenvalues(generator):
    a = matrix(generator, torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64).repeat(8))
    b = torch.randn(N, generator=generator, dtype=torch.float64)
    x, steps = solve(a, b, diagonal=torch.ones_like(b), iterations=100, tolerance=1e-10)
    assert steps == 3
    torch.testing.assert_close(a @ x, b)


def test_diagonal_systems_take_one_step_however_badly_scaled(generator):
    scales = torch.logspace(-6, 6, N, dtype=torch.float64)
    b = torch.randn(N, generator=generator, dtype=torch.float64)
    x, steps = solve(torch.diag(scales), b, iterations=100)
    assert steps == 1
    torch.testing.assert_close(x, b / scales)


def test_steps_do_not_depend_on_the_units_of_the_unknowns(generator):
    a, b = matrix(generator, spread()), torch.randn(N, generator=generator, dtype=torch.float64)
    units = 10 ** (4 * torch.rand(N, generator=generator, dtype=torch.float64) - 2)
    x, steps = solve(a, b, iterations=100)
    scaled, again = solve(units[:, None] * a * units, units * b, iterations=100)
    assert steps == again
    torch.testing.assert_close(units * scaled, x, rtol=1e-4, atol=1e-6)  # rounding, over some twenty steps


def test_error_in_the_energy_norm_falls_at_every_step(generator):
    a, b = matrix(generator, spread()), torch.randn(N, generator=generator, dtype=torch.float64)
    exact = torch.linalg.solve(a, b)
    errors = [exact - solve(a, b, iterations=n, tolerance=0)[0] for n in range(N)]
    energy = torch.stack([error @ a @ error for error in errors])
    assert (energy.diff() < 0).all() and energy[0] == pytest.approx(float(exact @ b))


@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-6])
def test_it_stops_at_the_first_step_within_tolerance(tolerance, generator):
    a, b = matrix(generator, spread()), torch.randn(N, generator=generator, dtype=torch.float64)
    size = lambda r: float(r @ (r / a.diagonal())) ** 0.5
    left = lambda steps: size(b - a @ solve(a, b, iterations=steps, tolerance=0)[0])
    x, steps = solve(a, b, iterations=100, tolerance=tolerance)
    assert size(b - a @ x) <= tolerance * size(b) * (1 + 1e-6) and left(steps - 1) > tolerance * size(b)


def test_zero_right_side_gives_zero_in_no_step(generator):
    x, steps = solve(matrix(generator, spread()), torch.zeros(N, dtype=torch.float64), iterations=100)
    assert steps == 0 and not x.any()


def test_no_unknowns_and_no_iterations_give_zeros(generator):
    x, steps = conjugate_gradient(lambda x: x, torch.zeros(0), torch.zeros(0), iterations=5)
    assert x.shape == (0,) and steps == 0
    x, steps = solve(matrix(generator, spread()), torch.ones(N, dtype=torch.float64), iterations=0)
    assert steps == 0 and not x.any()


def test_semidefinite_system_is_solved_within_its_range(generator):
    unit = torch.eye(N, dtype=torch.float64)
    ring = 2 * unit - unit.roll(1, 0) - unit.roll(-1, 0)
    b = torch.randn(N, generator=generator, dtype=torch.float64)
    b -= b.mean()  # constants are the null space
    x, steps = solve(ring, b, iterations=100, tolerance=1e-9)
    assert steps <= N
    torch.testing.assert_close(ring @ x, b, rtol=0, atol=1e-8)
    assert abs(float(x.mean())) < 1e-8


def test_right_side_and_diagonal_stay_as_they_are(generator):
    a, b = matrix(generator, spread()), torch.randn(N, generator=generator, dtype=torch.float64)
    right, diagonal = b.clone(), a.diagonal().clone()
    solve(a, right, diagonal=diagonal, iterations=10)
    assert torch.equal(right, b) and torch.equal(diagonal, a.diagonal())
