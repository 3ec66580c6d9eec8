"""The linear maps of a fit: kernel against reference, and what makes each usable in conjugate gradients. Their meaning: test_losses."""

import pytest
import torch
from sparse_levels import anywhere, doubled, nested, shell

from surfrecon.errors import InputError
from surfrecon.fields.grid import Level, dense_level
from surfrecon.ops import LinearMap, reference

LEVEL = pytest.mark.parametrize("depth", [0, 1, 2], ids=["dense", "with a border", "finest"])
OP = pytest.mark.parametrize("op", ["pull", "laplacian"])
REACH = 0.1


def made(backend, op: str, level: Level, generator: torch.Generator, count: int = 700) -> LinearMap:
    free = level.free_columns()
    if op == "laplacian":
        return backend.laplacian_rows(level, free)
    x = torch.cat([shell(count, generator), anywhere(count, generator)])
    x = x[level.holds(x)].to(level.coefficients.dtype)
    return backend.pull_rows(level, free, x, REACH)


def pair(native, op: str, depth: int, generator: torch.Generator) -> tuple[LinearMap, LinearMap]:
    """The same map by the kernel in float32 and by the reference in float64."""
    level = nested(generator)[depth]
    state = generator.get_state()
    fast = made(native, op, level, generator)
    generator.set_state(state)
    return fast, made(reference, op, doubled(level), generator)


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    """Up to rounding: of places, in cells of up to 64, at 4e-6, and of sums."""
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5 * max(wanted.abs().tolist(), default=0))


@OP
@LEVEL
def test_kernel_matches_the_reference(op, depth, native, generator):
    fast, slow = pair(native, op, depth, generator)
    x = torch.randn(slow.columns, generator=generator)
    wanted = slow(x.double())
    weights = torch.rand(len(wanted), generator=generator)  # another for each row
    assert fast.columns == slow.columns > 0 and len(wanted) > 500
    close(fast(x), wanted)
    close(fast.adjoint(weights), slow.adjoint(weights.double()))
    close(fast.normal(x, weights), slow.normal(x.double(), weights.double()))
    close(fast.squared_columns(weights), slow.squared_columns(weights.double()))


@OP
@LEVEL
def test_adjoint_is_the_transpose_and_the_normal_map_symmetric(op, depth, backend, generator):
    a = made(backend, op, nested(generator)[depth], generator)
    x, z = torch.randn(2, a.columns, generator=generator)
    image = a(x)
    y, weights = torch.rand(2, len(image), generator=generator)
    dot = lambda u, v: float(u.double() @ v.double())
    scale = float(image.norm() * y.norm())
    assert dot(image, y) == pytest.approx(dot(x, a.adjoint(y)), abs=1e-6 * scale)
    there, back = dot(a.normal(x, weights), z), dot(x, a.normal(z, weights))
    assert there == pytest.approx(back, abs=1e-6 * float(a.normal(x, weights).norm() * z.norm()))
    torch.testing.assert_close(a.normal(x, weights), a.adjoint(weights * image), rtol=1e-4, atol=1e-4)


@OP
def test_squared_columns_are_the_diagonal_of_the_normal_map(op, backend, generator):
    level = dense_level(torch.zeros(8, 8, 8))
    a = made(backend, op, level, generator, 100)
    weights = torch.rand(len(a(torch.zeros(a.columns))), generator=generator)
    diagonal = torch.stack([a.normal(unit, weights)[i] for i, unit in enumerate(torch.eye(a.columns))])
    torch.testing.assert_close(a.squared_columns(weights), diagonal, rtol=1e-5, atol=1e-5)


def test_laplacian_of_a_levels_own_coefficients_matches_the_reference(native, generator):
    for level in nested(generator):
        close(native.laplacian(level), reference.laplacian(doubled(level)))


def test_constant_has_no_slope_and_no_laplacian_up_to_the_border_of_the_box(backend, generator):
    level = dense_level(torch.zeros(8, 8, 8))
    pull, laplacian = (made(backend, op, level, generator) for op in ("pull", "laplacian"))
    count = len(pull(torch.ones(8**3))) // 4
    torch.testing.assert_close(pull(torch.ones(8**3))[:count], torch.ones(count))
    assert pull(torch.ones(8**3))[count:].abs().max() < 1e-5 and laplacian(torch.ones(8**3)).abs().max() == 0


def test_no_point_and_one_point(native, generator):
    level = nested(generator)[1]
    free = level.free_columns()
    x = torch.randn(int((free >= 0).sum()), generator=generator)
    points = shell(50, generator)
    points = points[level.holds(points)]
    for count in (0, 1):
        fast, slow = (backend.pull_rows(level, free, points[:count], REACH) for backend in (native, reference))
        y = torch.ones(4 * count)
        close(fast(x), slow(x).double())
        for found, wanted in ((fast.adjoint(y), slow.adjoint(y)), (fast.squared_columns(y), slow.squared_columns(y))):
            torch.testing.assert_close(found, wanted)


def test_a_level_without_unknowns(native, generator):
    level = nested(generator)[1]
    none = torch.full((len(level.coefficients),), -1)
    points = shell(50, generator)
    for a in (native.pull_rows(level, none, points[level.holds(points)], REACH), native.laplacian_rows(level, none)):
        rows = a(torch.empty(0))
        assert a.columns == 0 and rows.abs().sum() == 0 and a.normal(torch.empty(0), rows).shape == (0,)


@OP
def test_memory_layout_does_not_matter(op, native, generator):
    a = made(native, op, nested(generator)[1], generator)
    x = torch.randn(a.columns, 2, generator=generator)
    y = torch.rand(len(a(x[:, 0].contiguous())), 2, generator=generator)
    assert not x[:, 0].is_contiguous()
    assert torch.equal(a.normal(x[:, 0], y[:, 0]), a.normal(x[:, 0].contiguous(), y[:, 0].contiguous()))


@OP
@LEVEL
def test_one_and_two_threads_give_the_same_bytes_again_and_again(op, depth, native, on_threads, generator):
    a = made(native, op, nested(generator)[depth], generator)
    x = torch.randn(a.columns, generator=generator)
    weights = torch.rand(len(a(x)), generator=generator)
    every = lambda: (a(x), a.adjoint(weights), a.normal(x, weights), a.squared_columns(weights))
    first = on_threads(1, every)
    for count in (2, 1, 2):
        assert all(torch.equal(one, other) for one, other in zip(first, on_threads(count, every)))


@OP
def test_other_vectors_are_refused(op, native, generator):
    a = made(native, op, nested(generator)[0], generator)
    rows = len(a(torch.zeros(a.columns)))
    for wrong in (torch.zeros(a.columns + 1), torch.zeros(a.columns, dtype=torch.float64), torch.zeros(1, a.columns)):
        with pytest.raises(InputError, match=r"x must be .* got"):
            a(wrong)
    for wrong in (torch.zeros(rows - 1), torch.zeros(rows, dtype=torch.float64)):
        with pytest.raises(InputError, match=r"rows must be .* got"):
            a.adjoint(wrong)
        with pytest.raises(InputError, match=r"rows must be .* got"):
            a.normal(torch.zeros(a.columns), wrong)


def test_points_that_the_level_does_not_hold_are_refused(native, generator):
    level = nested(generator)[1]
    with pytest.raises(InputError, match="active bricks"):
        native.pull_rows(level, level.free_columns(), torch.full((1, 3), -0.9), REACH)
