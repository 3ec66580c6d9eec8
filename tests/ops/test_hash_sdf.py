"""The signed distance of a network on a hash grid: closed forms, derivatives in float64, and every backend against the reference."""

import math

import pytest
import torch
from hash_cases import GRIDS, NETWORKS, Case, case, grid, network
from torch import Tensor

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.ops import choice, reference

EACH_NETWORK = pytest.mark.parametrize("options", NETWORKS.values(), ids=NETWORKS)
EACH_GRID = pytest.mark.parametrize("options", GRIDS.values(), ids=GRIDS)
MASKED = pytest.mark.parametrize("mask", [False, True], ids=["all levels", "mask"])
# Of float32, relative to the largest number. Softplus of beta 100 bends within 0.01: the error of its slope is 100 times that of its input.
ENOUGH = 1e-4


def loss(sdf: Tensor, gradient: Tensor | None, features: Tensor) -> Tensor:
    """Bends in all three results, mixes them, and has an eikonal term."""
    total = (sdf**2).sum() + (features.sin() * sdf[:, None]).sum()
    return total if gradient is None else total + ((gradient**2).sum(1) - 1).square().sum() / 10 + (gradient[:, 0] * sdf).sum()


def derivatives(some: Case, backend, of=loss, **options) -> list[Tensor]:
    """Results and the derivatives of a loss of them to all parameters."""
    results = some.sdf(backend, **options)
    asked = torch.autograd.grad(of(*results), some.parameters(), materialize_grads=True)
    return [*(result for result in results if result is not None), *asked]


def assert_same(found: list[Tensor], wanted: list[Tensor]) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape and one.dtype == torch.float32
        if other.numel():
            size = other.abs().max().clamp(min=1e-3)
            torch.testing.assert_close(one.double() / size, other / size, rtol=0, atol=ENOUGH)


@EACH_NETWORK
@MASKED
@pytest.mark.parametrize("gradient", [True, False], ids=["with gradient", "value alone"])
def test_backend_matches_the_reference_for_each_network(options, mask, gradient, hash_backend, generator):
    some = case(network(**options), 300, generator, mask=mask)
    found, wanted = (derivatives(some.to(dtype), backend, gradient=gradient) for backend, dtype in pairs(hash_backend))
    assert_same(found, wanted)


@EACH_GRID
@MASKED
def test_backend_matches_the_reference_for_each_grid(options, mask, hash_backend, generator):
    some = case(network(grid(**options)), 300, generator, mask=mask)
    found, wanted = (derivatives(some.to(dtype), backend) for backend, dtype in pairs(hash_backend))
    assert_same(found, wanted)


@pytest.mark.parametrize("part", [0, 1, 2], ids=["distance", "gradient", "features"])
def test_backend_gives_the_derivatives_of_each_result_alone(part, hash_backend, generator):
    some = case(network(hidden=2), 100, generator)
    one = lambda *results: (results[part] ** 3).sum()
    found, wanted = (derivatives(some.to(dtype), backend, one) for backend, dtype in pairs(hash_backend))
    assert_same(found, wanted)


def pairs(backend):
    return (backend, torch.float32), (reference, torch.float64)


@pytest.mark.parametrize("frozen", [0, 1, 2, 4], ids=["table", "first weights", "last weights", "last bias"])
def test_what_wants_no_derivative_changes_none_of_the_others(frozen, hash_backend, generator):
    some, other = (case(network(), 50, generator).to(torch.float32) for _ in range(2))
    whole = torch.autograd.grad(loss(*some.sdf(hash_backend)), some.parameters())
    some.parameters()[frozen].requires_grad_(False)
    wanted = [tensor for tensor in some.parameters() if tensor.requires_grad]
    rest = torch.autograd.grad(loss(*some.sdf(hash_backend)), wanted)
    for one, other in zip(rest, [each for index, each in enumerate(whole) if index != frozen], strict=True):
        torch.testing.assert_close(one, other)


@EACH_NETWORK
@MASKED
def test_reference_passes_gradcheck_for_each_network(options, mask, generator):
    check(case(network(grid(levels=2, finest=4, log2_entries=5), **options), 4, generator, mask=mask))


@EACH_GRID
def test_reference_passes_gradcheck_for_each_grid(options, generator):
    check(case(network(grid(**options)), 4, generator))


def check(some: Case) -> None:
    """Derivatives of all results, the gradient too, to table, weights, biases and points, along random directions."""
    some = some.to(torch.float64)
    count = len(some.weights)

    def compute(x, table, *rest):
        results = reference.hash_sdf(some.network, table, rest[:count], rest[count:], x, mask=some.mask)
        return results[: 3 if some.network.outputs > 1 else 2]

    # Softplus of beta 100 has third derivatives of order 1e4 along a random direction: a step of 1e-7 keeps their share below 1e-6.
    assert torch.autograd.gradcheck(compute, (some.x.requires_grad_(), *some.parameters()), eps=1e-7, atol=1e-4, rtol=1e-4, fast_mode=True)


def test_reference_passes_gradcheck_number_by_number(generator):
    tiny = grid(levels=2, finest=4, log2_entries=4, smooth=True)
    some = case(network(tiny, activation="silu", outputs=2), 2, generator).to(torch.float64)
    compute = lambda x, table, *rest: loss(*reference.hash_sdf(some.network, table, rest[:2], rest[2:], x))
    assert torch.autograd.gradcheck(compute, (some.x.requires_grad_(), *some.parameters()))


@EACH_NETWORK
def test_gradient_and_its_derivatives_are_those_of_double_backward(options, generator):
    """The explicit row against autograd through the value, derivatives of a loss on the gradient included."""
    some = case(network(grid(smooth=True), **options), 30, generator, mask=True).to(torch.float64)
    some.x = some.x.clamp(-0.999, 0.999).requires_grad_()
    parameters = [some.x, *some.parameters()]
    value, none, features = some.sdf(reference, gradient=False)
    assert none is None
    (twice,) = torch.autograd.grad(value.sum(), some.x, create_graph=True)
    sdf, gradient, same = some.sdf(reference)
    torch.testing.assert_close(gradient, twice)
    assert torch.equal(sdf, value) and torch.equal(same, features)
    wanted = torch.autograd.grad(loss(value, twice, features), parameters, materialize_grads=True)
    for one, other in zip(torch.autograd.grad(loss(sdf, gradient, same), parameters, materialize_grads=True), wanted):
        torch.testing.assert_close(one, other)


def test_layers_are_what_the_layout_says(hash_backend, generator):
    """Two hidden layers with biases, written out: features, then xyz; output 0 minus the radius."""
    some = case(network(hidden=2, activation="relu", radius=0.25), 20, generator).to(torch.float32)
    encoded, _ = reference.hash_encode(some.network.grid, some.table, some.x)
    h = torch.cat([encoded, some.x.clamp(-1, 1)], dim=1)
    for weight, bias in zip(some.weights[:2], some.biases):
        h = (h @ weight.T + bias).clamp(min=0)
    outputs = h @ some.weights[2].T + some.biases[2]
    sdf, _, features = some.sdf(hash_backend)
    torch.testing.assert_close(sdf, outputs[:, 0] - 0.25, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(features, outputs[:, 1:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", ["softplus", "relu", "silu"])
def test_activation_and_its_slope_are_finite_far_from_zero(activation, hash_backend, generator):
    some = case(network(activation=activation), 50, generator).to(torch.float32)
    some.weights[0] = (some.weights[0].detach() * 1e4).requires_grad_()
    found = derivatives(some, hash_backend, lambda sdf, gradient, features: sdf.sum() + gradient.sum())
    assert all(tensor.isfinite().all() for tensor in found)


def test_relu_rises_by_nothing_at_zero(hash_backend):
    some = network(activation="relu", biases=False)
    weights = [torch.zeros(shape) if layer == 0 else torch.ones(shape) for layer, shape in enumerate(some.weight_shapes)]
    sdf, gradient, _ = hash_backend.hash_sdf(some, torch.ones(288, 2), weights, [], torch.zeros(1, 3))
    assert sdf.item() == -some.radius and gradient.count_nonzero() == 0


def test_points_beyond_the_box_take_what_its_border_has(hash_backend, generator):
    some = case(network(), 100, generator).to(torch.float32)
    some.x = 4 * torch.randn(100, 3, generator=generator)
    some.x[0, 0] = -math.inf
    found = some.sdf(hash_backend)
    some.x = some.x.clamp(-1, 1)
    for one, other in zip(found, some.sdf(hash_backend)):
        assert torch.equal(one, other)


def test_nan_stays_with_its_point(hash_backend, generator):
    some = case(network(), 10, generator).to(torch.float32)
    wanted = some.sdf(hash_backend)
    some.x[3, 1] = torch.nan
    for found, want in zip(some.sdf(hash_backend), wanted):
        torch.testing.assert_close(found[:3], want[:3])
        torch.testing.assert_close(found[4:], want[4:])
    assert some.sdf(hash_backend)[0][3].isnan()


@pytest.mark.parametrize("count", [0, 1])
def test_no_point_and_one_point(count, hash_backend, generator):
    some = case(network(), count, generator).to(torch.float32)
    sdf, gradient, features = some.sdf(hash_backend)
    assert sdf.shape == (count,) and gradient.shape == (count, 3) and features.shape == (count, 3)
    asked = torch.autograd.grad(loss(sdf, gradient, features), some.parameters())
    assert all(bool(tensor.count_nonzero()) == bool(count) for tensor in asked)


def test_memory_layout_does_not_matter(hash_backend, generator):
    some = case(network(), 80, generator, mask=True).to(torch.float32)
    wanted = derivatives(some, hash_backend)
    strided = lambda tensor: tensor.detach().repeat_interleave(2, dim=0)[::2].requires_grad_()
    table, *rest = map(strided, some.parameters())
    other = Case(some.network, table, rest[:2], rest[2:], some.x.T.contiguous().T, strided(some.mask).detach())
    assert not any(tensor.is_contiguous() for tensor in (*other.parameters(), other.x, other.mask))
    for one, want in zip(derivatives(other, hash_backend), wanted, strict=True):
        torch.testing.assert_close(one, want)


def test_points_and_masks_that_want_derivatives_are_given_them(generator):
    some = case(network(), 20, generator, mask=True).to(torch.float32)
    some.x.requires_grad_(), some.mask.requires_grad_()
    sdf, gradient, _ = some.sdf(ops)
    for asked in torch.autograd.grad(sdf.sum() + gradient.square().sum(), (some.x, some.mask)):
        assert asked.count_nonzero()


def test_dispatch_follows_the_dtype(generator):
    some = case(network(), 5, generator)
    assert choice.backend_of("hash_sdf", some.table, some.x) is reference
    assert some.sdf(ops)[0].dtype == torch.float64


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda some: setattr(some, "x", torch.zeros(4, 2)), r"x must be \(any, 3\).*got \(4, 2\)"),
        (lambda some: setattr(some, "table", torch.zeros(2, 2)), r"table must be \(288, 2\).*got \(2, 2\)"),
        (lambda some: setattr(some, "mask", torch.zeros(4)), r"mask must be \(3,\).*got \(4,\)"),
        (lambda some: some.weights.pop(), r"there must be 2 weights, got 1; this network has the shapes \(\(16, 9\), \(4, 16\)\)"),
        (lambda some: some.biases.clear(), "there must be 2 biases, got 0"),
        (lambda some: some.weights.__setitem__(0, torch.zeros(16, 6)), r"weights\[0\] must be \(16, 9\).*got \(16, 6\)"),
        (lambda some: some.biases.__setitem__(1, torch.zeros(4, dtype=torch.float64)), r"biases\[1\] must be .*float32.*got .*float64"),
    ],
)
def test_backend_names_what_it_cannot_take(change, said, hash_backend, generator):
    some = case(network(), 4, generator).to(torch.float32)
    change(some)
    with pytest.raises(InputError, match=said):
        some.sdf(hash_backend)


def by_differences(some: Case, step: float) -> tuple[Tensor, Tensor, Tensor]:
    return ops.hash_sdf_by_differences(some.network, some.table, some.weights, some.biases, some.x, step=step, mask=some.mask)


def test_differences_converge_to_the_gradient_in_second_order(generator):
    some = case(network(grid(smooth=True), activation="silu"), 200, generator).to(torch.float64)
    some.x *= 0.8  # away from the border, where differences are to one side
    sdf, wanted, features = some.sdf(reference)
    errors = []
    for step in (1e-2, 1e-3):
        value, gradient, same = by_differences(some, step)
        torch.testing.assert_close(value, sdf)
        torch.testing.assert_close(same, features)
        errors.append((gradient - wanted).detach().abs().median().item())
    assert errors[0] < 0.05 and errors[0] / errors[1] == pytest.approx(100, rel=0.1)


def test_differences_of_a_linear_function_are_exact_up_to_the_border(generator):
    flat = network(grid(levels=1), activation="relu", biases=False, outputs=1)
    first, last = torch.zeros(flat.weight_shapes[0], dtype=torch.float64), torch.zeros(1, 16, dtype=torch.float64)
    first[:2, -3:] = torch.tensor([[0.3, -0.6, 0.2], [-0.3, 0.6, -0.2]])
    last[0, :2] = torch.tensor([1.0, -1.0])  # max(0, a) - max(0, -a) = a
    x = 1.2 * (2 * torch.rand(100, 3, generator=generator, dtype=torch.float64) - 1)
    table = torch.zeros(flat.grid.entries, 2, dtype=torch.float64)
    _, gradient, _ = ops.hash_sdf_by_differences(flat, table, [first, last], [], x, step=0.2)
    torch.testing.assert_close(gradient, first[:1, -3:].expand(100, 3))


def test_differences_give_derivatives_and_take_no_point(generator):
    some = case(network(), 10, generator).to(torch.float64)
    asked = torch.autograd.grad(loss(*by_differences(some, 0.1)), some.parameters())
    assert all(tensor.count_nonzero() for tensor in asked)
    some.x = some.x[:0]
    assert [tuple(result.shape) for result in by_differences(some, 0.1)] == [(0,), (0, 3), (0, 3)]


@pytest.mark.parametrize("step", [0.0, -0.1, math.nan])
def test_differences_need_a_step(step, generator):
    with pytest.raises(InputError, match="step must be > 0"):
        by_differences(case(network(), 1, generator), step)
