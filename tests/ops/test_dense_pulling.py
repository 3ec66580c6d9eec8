"""The objective of GridPull on a dense lattice: the reference against the terms it is made of, the kernel against the reference."""

import pytest
import torch
from torch import Tensor

from surfrecon import ops
from surfrecon.errors import InputError
from surfrecon.ops import reference
from surfrecon.ops.reference.pulling import edge_sums, misalignment, pull, roughness

NODES = 12
ALL = {"smooth": 0.7, "surface": 0.3, "align": 0.05}
NONE = dict.fromkeys(ALL, 0.0)
SHARES = pytest.mark.parametrize(
    "shares",
    [NONE, *[NONE | {name: 1.0} for name in ALL], ALL],
    ids=["pull", *[f"pull and {name}" for name in ALL], "all"],
)
WEIGHTS = ("everywhere", "nowhere", "here and there", "in a corner", "at one node")


def weights_of(kind: str, generator: torch.Generator, nodes: int = NODES) -> Tensor:
    weights = torch.zeros(nodes, nodes, nodes)
    if kind == "everywhere":
        weights += 1 + torch.rand(weights.shape, generator=generator)
    elif kind == "here and there":
        weights[torch.rand(weights.shape, generator=generator) < 0.1] = 3
    elif kind == "in a corner":
        weights[-3:, -2:, -1:] = 2
    elif kind == "at one node":
        weights[4, 0, 7] = 1
    return weights


def case(count: int, generator: torch.Generator, *, weights: str = "here and there", nodes: int = NODES) -> tuple[Tensor, ...]:
    """Values, queries, targets, weights; float32, queries within and beyond the box."""
    queries = 2.2 * torch.rand(count, 3, generator=generator) - 1.1
    targets = queries + 0.1 * torch.randn(count, 3, generator=generator)
    return torch.randn(nodes, nodes, nodes, generator=generator), queries, targets, weights_of(weights, generator, nodes)


def loss_and_gradient(backend, values: Tensor, *rest: Tensor, **shares: float) -> tuple[Tensor, Tensor]:
    values = values.clone().requires_grad_()
    loss = backend.pulling(values, *rest, **shares)
    loss.backward()
    return loss.detach(), values.grad


def double(tensors: tuple[Tensor, ...]) -> list[Tensor]:
    return [tensor.double() for tensor in tensors]


def test_reference_is_the_sum_of_the_published_terms(generator):
    values, q, t, weights = double(case(200, generator))
    value, slope = reference.trilinear(values, torch.cat([q, t]))
    wanted = (
        pull(q, t, value[:200], slope[:200])
        + ALL["smooth"] * roughness(values, edge_sums(weights), int((weights > 0).sum()))
        + ALL["surface"] * value[200:].square().mean()
        + ALL["align"] * misalignment(slope[:200], slope[200:])
    )
    torch.testing.assert_close(reference.pulling(values, q, t, weights, **ALL), wanted)


@SHARES
def test_reference_passes_gradcheck(shares, generator):
    values, *rest = double(case(6, generator, nodes=4))
    assert torch.autograd.gradcheck(lambda v: reference.pulling(v, *rest, **shares), values.requires_grad_())


def test_distance_of_a_plane_has_no_loss_but_its_roughness(native, generator):
    axis = torch.linspace(-1, 1, NODES)
    normal = torch.nn.functional.normalize(torch.tensor([2.0, -1.0, 2.0]), dim=0)
    values = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1) @ normal
    targets = torch.rand(100, 3, generator=generator) - 0.5
    targets -= (targets @ normal)[:, None] * normal
    queries = targets + 0.3 * (torch.rand(100, 1, generator=generator) - 0.5) * normal
    weights = weights_of("everywhere", generator).fill_(1)
    shares = {"surface": 1.0, "align": 1.0}
    assert native.pulling(values, queries, targets, weights, smooth=0.0, **shares) < 1e-5
    # Of each edge, met from both its ends: (n_axis h)^2; there are (M - 1) M^2 of them along each axis.
    rough = 2 * (NODES - 1) / NODES * (2 / (NODES - 1)) ** 2
    assert native.pulling(values, queries, targets, weights, smooth=1.0, **shares) == pytest.approx(rough, rel=1e-3)


@SHARES
@pytest.mark.parametrize("count", [1, 300, 9000])
def test_loss_and_gradient_of_the_kernel_match_the_reference(shares, count, native, generator):
    tensors = case(count, generator)
    loss, gradient = loss_and_gradient(native, *tensors, **shares)
    wanted, slopes = loss_and_gradient(reference, *double(tensors), **shares)
    assert loss == pytest.approx(float(wanted), rel=1e-5)
    torch.testing.assert_close(gradient.double() / slopes.abs().max(), slopes / slopes.abs().max(), rtol=0, atol=2e-5)


@pytest.mark.parametrize("nodes", [2, 3, NODES])
@pytest.mark.parametrize("kind", ["everywhere", "nowhere", "here and there"])
def test_roughness_matches_on_any_lattice(kind, nodes, native, generator):
    tensors = case(5, generator, weights=kind, nodes=nodes)
    loss, gradient = loss_and_gradient(native, *tensors, **ALL)
    wanted, slopes = loss_and_gradient(reference, *double(tensors), **ALL)
    assert loss == pytest.approx(float(wanted), rel=1e-5)
    torch.testing.assert_close(gradient.double() / slopes.abs().max(), slopes / slopes.abs().max(), rtol=0, atol=2e-5)


@pytest.mark.parametrize("kind", WEIGHTS)
def test_nodes_that_nothing_reaches_have_no_gradient(kind, native, generator):
    values, q, t, weights = case(1, generator, weights=kind)
    _, gradient = loss_and_gradient(native, values, q, t, weights, smooth=1.0, surface=0.0, align=0.0)
    _, wanted = loss_and_gradient(reference, *double((values, q, t, weights)), smooth=1.0, surface=0.0, align=0.0)
    assert torch.equal(gradient != 0, wanted != 0)
    torch.testing.assert_close(gradient.double(), wanted, rtol=1e-4, atol=1e-5)


def test_gradient_is_finite_where_the_field_is_flat_or_perfect(native):
    zeros, weights = torch.zeros(4, 4, 4), torch.ones(4, 4, 4)
    q = torch.tensor([[0.0, 0, 0], [0.5, 0, 0]])
    for targets in (q, q + 0.1):
        loss, gradient = loss_and_gradient(native, zeros, q, targets, weights, **ALL)
        assert torch.isfinite(loss) and torch.isfinite(gradient).all()


def test_gradient_scales_with_what_is_asked_and_is_given_once(native, generator):
    values, *rest = case(50, generator)
    wanted = loss_and_gradient(native, values, *rest, **ALL)[1]
    values.requires_grad_()
    loss = native.pulling(values, *rest, **ALL)
    (half,) = torch.autograd.grad(0.5 * loss, values, retain_graph=True)
    assert torch.equal(half, 0.5 * wanted)
    with pytest.raises(RuntimeError, match="handed out already"):
        torch.autograd.grad(loss, values)


def test_loss_without_gradient_is_the_same(native, generator):
    values, *rest = case(50, generator)
    loss = native.pulling(values, *rest, **ALL)
    assert not loss.requires_grad and torch.equal(loss, loss_and_gradient(native, values, *rest, **ALL)[0])
    with torch.no_grad():
        assert torch.equal(native.pulling(values.requires_grad_(), *rest, **ALL), loss)


def test_number_of_threads_changes_no_byte(native, generator, on_threads):
    tensors = case(20_000, generator, nodes=20)
    one = on_threads(1, lambda: loss_and_gradient(native, *tensors, **ALL))
    for count in (2, 3, 30):
        many = on_threads(count, lambda: loss_and_gradient(native, *tensors, **ALL))
        assert torch.equal(one[0], many[0]) and torch.equal(one[1], many[1])


def test_memory_layout_does_not_matter(native, generator):
    values, q, t, weights = case(50, generator)
    scattered = values.transpose(0, 2), q.T.contiguous().T, t.T.contiguous().T, weights.transpose(0, 1)
    assert not any(tensor.is_contiguous() for tensor in scattered)
    found, wanted = (loss_and_gradient(native, *tensors, **ALL) for tensors in (scattered, [x.contiguous() for x in scattered]))
    assert all(torch.equal(one, other) for one, other in zip(found, wanted))


@pytest.mark.parametrize(
    ("place", "changed", "said"),
    [
        (0, torch.zeros(3, 3, 4), "values must be"),
        (1, torch.zeros(5, 2), r"queries must be \(any, 3\)"),
        (2, torch.zeros(4, 3), r"targets must be \(5, 3\).*got \(4, 3\)"),
        (2, torch.zeros(5, 3, dtype=torch.float64), "targets must be .*float32.*got.*float64"),
        (3, torch.zeros(3, 3, 3), rf"weights must be \({NODES}, {NODES}, {NODES}\).*got \(3, 3, 3\)"),
    ],
)
def test_kernel_names_what_it_cannot_take(place, changed, said, native, generator):
    tensors = list(case(5, generator))
    tensors[place] = changed
    with pytest.raises(InputError, match=said):
        native.pulling(*tensors, **ALL)


def test_no_queries_are_an_error(native, generator):
    values, _, _, weights = case(5, generator)
    with pytest.raises(InputError, match="one query at least, got none"):
        native.pulling(values, torch.zeros(0, 3), torch.zeros(0, 3), weights, **ALL)


def test_double_precision_is_computed_by_the_reference(generator):
    tensors = double(case(20, generator))
    assert torch.equal(ops.pulling(*tensors, **ALL), reference.pulling(*tensors, **ALL))
