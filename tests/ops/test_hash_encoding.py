"""Features on a hash grid: closed forms, a slow loop, derivatives in float64, and every backend against the reference."""

import itertools
import math

import pytest
import torch
from hash_cases import GRIDS, grid, points
from torch import Tensor

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.ops import reference

EACH_GRID = pytest.mark.parametrize("options", GRIDS.values(), ids=GRIDS)
NORMAL = (0.6, -0.5, 0.3)
ENOUGH = 3e-6  # of float32, relative to the largest number: places of order 10 in vertices, sums of tens of numbers


def table_of(on: ops.HashGrid, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(on.entries, on.features, generator=generator, dtype=dtype)


def plane(x: Tensor) -> Tensor:
    return x @ torch.tensor(NORMAL, dtype=x.dtype) + 0.1


def planes(on: ops.HashGrid, dtype: torch.dtype) -> Tensor:
    """The table of a grid of dense levels whose feature f is f + 1 times a linear function of a vertex's place."""
    table = torch.zeros(on.entries, on.features, dtype=dtype)
    for level, (scale, count) in enumerate(zip(on.scales, on.vertices)):
        vertex = torch.cartesian_prod(*[torch.arange(count)] * 3)
        value = plane((2 * vertex.to(dtype) - 1) / scale - 1)
        table[on.rows(level, *vertex.unbind(1))] = value[:, None] * torch.arange(1, on.features + 1, dtype=dtype)
    return table


@pytest.mark.parametrize("features", [1, 2, 4, 8])
def test_linear_function_is_exact_on_dense_levels(features, hash_backend, generator):
    dense = grid(features=features, log2_entries=10)
    x = points(dense, 300, generator).clamp(-1, 0.49).float()  # where no vertex is beyond the last: p < V - 1
    found, slopes = hash_backend.hash_encode(dense, planes(dense, torch.float32), x, gradient=True)
    shares = torch.arange(1.0, features + 1).repeat(3)
    torch.testing.assert_close(found, plane(x)[:, None] * shares, rtol=0, atol=1e-5 * features)
    torch.testing.assert_close(slopes, (shares[:, None] * torch.tensor(NORMAL)).expand(300, -1, -1), rtol=0, atol=1e-4 * features)


def test_smooth_weights_are_flat_at_vertices_and_steepest_between(hash_backend, generator):
    smooth, linear = grid(levels=1, smooth=True), grid(levels=1)
    table = table_of(smooth, generator, torch.float32)
    vertices = torch.cartesian_prod(*[torch.tensor([-0.5, 0.5])] * 3)  # p = 1 and 2
    found, slopes = hash_backend.hash_encode(smooth, table, vertices, gradient=True)
    assert slopes.count_nonzero() == 0
    place = ((vertices + 1) / 2 * smooth.scales[0] + 0.5).long()
    assert torch.equal(found, table[smooth.rows(0, *place.unbind(1))])
    middle = torch.zeros(1, 3)  # p = 1.5
    one, other = (hash_backend.hash_encode(on, table, middle, gradient=True) for on in (smooth, linear))
    torch.testing.assert_close(one[0], other[0])
    torch.testing.assert_close(one[1], 1.5 * other[1])


@EACH_GRID
def test_features_are_those_of_a_slow_loop(options, generator):
    some = grid(**options)
    table, x = table_of(some, generator), points(some, 6, generator)
    found, _ = reference.hash_encode(some, table, x)
    for point, row in zip(x.tolist(), found):
        wanted = []
        for level, (scale, count, size) in enumerate(zip(some.scales, some.vertices, some.sizes)):
            place = [scale * (min(max(axis, -1), 1) + 1) / 2 + 0.5 for axis in point]
            low = [math.floor(axis) for axis in place]
            total = torch.zeros(some.features, dtype=torch.float64)
            for corner in itertools.product((0, 1), repeat=3):
                (i, j, k), weight = (first + far for first, far in zip(low, corner)), 1.0
                for axis, first, far in zip(place, low, corner):
                    t = axis - first
                    t = t * t * (3 - 2 * t) if some.smooth else t
                    weight *= t if far else 1 - t
                hashed = i ^ (j * 2654435761 % 2**32) ^ (k * 805459861 % 2**32)
                entry = (i + j * count + k * count**2 if count**3 <= size else hashed) % size
                total += weight * table[some.offsets[level] + entry]
            wanted.append(total)
        torch.testing.assert_close(row, torch.cat(wanted), rtol=0, atol=1e-13)


@EACH_GRID
@pytest.mark.parametrize("masked", [False, True], ids=["all levels", "mask"])
def test_backend_matches_the_reference(options, masked, hash_backend, generator):
    some = grid(**options)
    table, x = table_of(some, generator), points(some, 700, generator)
    mask = torch.linspace(0, 1, some.levels, dtype=torch.float64) if masked else None
    by = torch.randn(700, some.encoded, generator=generator, dtype=torch.float64)
    by_slopes = torch.randn(700, some.encoded, 3, generator=generator, dtype=torch.float64)
    results = []
    for backend, dtype in ((hash_backend, torch.float32), (reference, torch.float64)):
        inner = table.to(dtype).requires_grad_()
        both = backend.hash_encode(some, inner, x.to(dtype), mask=None if mask is None else mask.to(dtype), gradient=True)
        alone, none = backend.hash_encode(some, inner, x.to(dtype), mask=None if mask is None else mask.to(dtype))
        assert none is None
        (asked,) = torch.autograd.grad(both, inner, (by.to(dtype), by_slopes.to(dtype)), retain_graph=True)
        parts = [torch.autograd.grad(result, inner, share.to(dtype))[0] for result, share in ((alone, by), (both[1], by_slopes))]
        results.append([*both, alone, asked, *parts])
    for found, wanted in zip(*results):
        assert found.dtype == torch.float32
        size = wanted.abs().max().clamp(min=1e-3)
        torch.testing.assert_close(found.double() / size, wanted / size, rtol=0, atol=ENOUGH)


def test_backend_matches_the_reference_on_the_published_grid(hash_backend, generator):
    usual = ops.HashGrid()
    table, x = usual.start(generator) * 1e4, points(usual, 200, generator).float()
    for found, wanted in zip(
        hash_backend.hash_encode(usual, table, x, gradient=True), reference.hash_encode(usual, table.double(), x.double(), gradient=True)
    ):
        size = wanted.abs().max()
        torch.testing.assert_close(found.double() / size, wanted / size, rtol=0, atol=1e-3)  # places up to 2047 are known to 1e-4


@EACH_GRID
def test_reference_passes_gradcheck_in_table_points_and_mask(options, generator):
    some = grid(**options | {"levels": min(2, options.get("levels", 2)), "finest": 4})
    table, x = table_of(some, generator).requires_grad_(), points(some, 5, generator).requires_grad_()
    mask = torch.rand(some.levels, generator=generator, dtype=torch.float64).requires_grad_()
    compute = lambda table, x, mask: reference.hash_encode(some, table, x, mask=mask, gradient=True)
    assert torch.autograd.gradcheck(compute, (table, x, mask), fast_mode=some.features > 2)


@EACH_GRID
def test_derivatives_are_those_of_autograd(options, generator):
    some = grid(**options)
    table, x = table_of(some, generator), points(some, 40, generator).clamp(-0.999, 0.999).requires_grad_()
    features, slopes = reference.hash_encode(some, table, x, gradient=True)
    for column in range(some.encoded):
        (wanted,) = torch.autograd.grad(features[:, column].sum(), x, retain_graph=True)
        torch.testing.assert_close(slopes[:, column], wanted)


def test_mask_takes_levels_away(hash_backend, generator):
    some = grid()
    table, x = table_of(some, generator, torch.float32).requires_grad_(), points(some, 50, generator).float()
    whole = hash_backend.hash_encode(some, table, x, gradient=True)
    found = hash_backend.hash_encode(some, table, x, mask=torch.tensor([1.0, 0.0, 0.5]), gradient=True)
    for masked, full in zip(found, whole):
        assert torch.equal(masked[:, :2], full[:, :2]) and masked[:, 2:4].count_nonzero() == 0
        torch.testing.assert_close(masked[:, 4:], full[:, 4:] / 2)
    (asked,) = torch.autograd.grad(found[0].sum() + found[1].sum(), table)
    assert asked[some.offsets[1] : some.offsets[2]].count_nonzero() == 0 and asked[: some.offsets[1]].count_nonzero() > 0


def test_points_beyond_the_box_take_what_its_border_has(hash_backend, generator):
    some = grid(smooth=True)
    table = table_of(some, generator, torch.float32)
    x = 5 * torch.randn(200, 3, generator=generator)
    x[0, 0] = math.inf
    for found, wanted in zip(
        hash_backend.hash_encode(some, table, x, gradient=True), hash_backend.hash_encode(some, table, x.clamp(-1, 1), gradient=True)
    ):
        assert torch.equal(found, wanted)


def test_derivative_to_a_point_ends_at_the_border(generator):
    some = grid()
    x = torch.tensor([[1.3, 0.2, -1.1]], dtype=torch.float64, requires_grad=True)
    features, slopes = reference.hash_encode(some, table_of(some, generator), x, gradient=True)
    (to_x,) = torch.autograd.grad(features[:, 0].sum(), x)
    assert torch.equal(to_x, slopes[:, 0] * torch.tensor([[0.0, 1.0, 0.0]])) and (slopes[:, 0] != 0).all()


def test_nan_stays_with_its_point(hash_backend, generator):
    some = grid()
    table, x = table_of(some, generator, torch.float32), points(some, 10, generator).float()
    wanted = hash_backend.hash_encode(some, table, x, gradient=True)
    x[3, 1] = torch.nan
    for found, want in zip(hash_backend.hash_encode(some, table, x, gradient=True), wanted):
        assert torch.equal(found[:3], want[:3]) and torch.equal(found[4:], want[4:])
    assert hash_backend.hash_encode(some, table, x)[0][3].isnan().all()


@pytest.mark.parametrize("count", [0, 1])
def test_no_point_and_one_point(count, hash_backend, generator):
    some = grid()
    table = table_of(some, generator, torch.float32).requires_grad_()
    features, slopes = hash_backend.hash_encode(some, table, points(some, count, generator).float(), gradient=True)
    assert features.shape == (count, 6) and slopes.shape == (count, 6, 3)
    (features.sum() + slopes.sum()).backward()
    assert table.grad.count_nonzero() <= count * 3 * 8 * 2


def test_memory_layout_does_not_matter(hash_backend, generator):
    some = grid()
    table, x = table_of(some, generator, torch.float32).T.contiguous().T, points(some, 80, generator).float().T.contiguous().T[::2]
    mask = torch.rand(6, generator=generator)[::2]
    assert not (table.is_contiguous() or x.is_contiguous() or mask.is_contiguous())
    for one, other in zip(
        hash_backend.hash_encode(some, table, x, mask=mask, gradient=True),
        hash_backend.hash_encode(some, table.contiguous(), x.contiguous(), mask=mask.contiguous(), gradient=True),
    ):
        torch.testing.assert_close(one, other)


def test_points_and_masks_that_want_derivatives_are_given_them(generator):
    some = grid()
    table, x = table_of(some, generator, torch.float32), points(some, 20, generator).float().requires_grad_()
    mask = torch.ones(3, requires_grad=True)
    features, _ = ops.hash_encode(some, table, x, mask=mask)
    assert all(asked.count_nonzero() for asked in torch.autograd.grad(features.sum(), (x, mask)))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"x": torch.zeros(3)}, r"x must be \(any, 3\).*got \(3,\)"),
        ({"x": torch.zeros(4, 2)}, r"x must be \(any, 3\).*got \(4, 2\)"),
        ({"x": torch.zeros(4, 3, dtype=torch.long)}, "x must be .*floating dtype, got .*int64"),
        ({"table": torch.zeros(287, 2)}, r"table must be \(288, 2\).*got \(287, 2\)"),
        ({"table": torch.zeros(576)}, r"table must be \(288, 2\).*got \(576,\)"),
        ({"table": torch.zeros(288, 2, dtype=torch.float64)}, "table must be .*float32.*as x is, got .*float64"),
        ({"mask": torch.zeros(2)}, r"mask must be \(3,\).*got \(2,\)"),
        ({"mask": torch.zeros(3, dtype=torch.bool)}, "mask must be .*float32.*got .*bool"),
    ],
)
def test_backend_names_what_it_cannot_take(changed, said, hash_backend):
    given = {"table": torch.zeros(288, 2), "x": torch.zeros(4, 3)} | changed
    with pytest.raises(InputError, match=said):
        hash_backend.hash_encode(grid(), given.pop("table"), given.pop("x"), **given)
