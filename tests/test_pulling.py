"""The terms of GridPull as published, against closed forms, and the loop that lowers them."""

import math

import pytest
import torch

from surfrecon.errors import SurfreconError
from surfrecon.losses import edge_sums, misalignment, pull, roughness, roughness_weights
from surfrecon.optimize import adam, stepwise


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def on_sphere(count: int) -> torch.Tensor:
    return torch.nn.functional.normalize(random(count, 3), dim=1)


def test_pull_vanishes_for_the_true_distance_whatever_the_gradients_length():
    target = on_sphere(50)
    distance = 0.3 * random(50, seed=1).clamp(-2, 2)
    queries = (1 + distance[:, None]) * target
    assert pull(queries, target, distance, 7 * target) == pytest.approx(0, abs=1e-12)


def test_pull_weighs_a_miss_by_the_exponential_of_the_distance():
    target = on_sphere(50)
    queries = 1.5 * target
    zero = torch.zeros(50, dtype=torch.float64)
    assert pull(queries, target, zero, target) == pytest.approx(0.5 * math.exp(0.5))
    assert pull(queries, target, zero - 0.5, target) == pytest.approx(1.0 * math.exp(0.5))  # the wrong sign leads away


def test_pull_and_misalignment_pass_gradcheck():
    queries, targets, values, gradients = random(5, 3), random(5, 3, seed=1), random(5, seed=2), random(5, 3, seed=3)
    assert torch.autograd.gradcheck(lambda v, g: pull(queries, targets, v, g), (values.requires_grad_(), gradients.requires_grad_()))
    assert torch.autograd.gradcheck(misalignment, (gradients, random(5, 3, seed=4).requires_grad_()))


def test_pull_has_a_finite_gradient_where_the_field_is_flat_or_perfect():
    values, gradients = torch.zeros(2, requires_grad=True), torch.zeros(2, 3, requires_grad=True)
    pull(torch.tensor([[0.0, 0, 0], [1, 0, 0]]), torch.zeros(2, 3), values, gradients).backward()
    assert torch.isfinite(values.grad).all() and torch.isfinite(gradients.grad).all()


def test_misalignment_is_one_minus_the_cosine():
    axis = torch.eye(3)
    assert misalignment(3 * axis, axis) == pytest.approx(0)
    assert misalignment(axis, -axis) == pytest.approx(2)
    assert misalignment(axis, axis.roll(1, 0)) == pytest.approx(1)


def test_roughness_equals_its_sum_over_nodes_and_neighbours():
    nodes, reach = 5, 2
    occupied = torch.zeros(nodes, nodes, nodes, dtype=torch.bool)
    occupied[0, 1, 2] = occupied[1, 0, 0] = True
    where = torch.nonzero(occupied)
    values = random(nodes, nodes, nodes)
    expected, visited = 0.0, 0
    for node in torch.cartesian_prod(*[torch.arange(nodes)] * 3):
        offsets = (where - node).abs()
        if offsets.max(1).values.min() > reach:
            continue
        weight = offsets.sum(1).min() + 1
        visited += 1
        for step in torch.cat([torch.eye(3, dtype=torch.long), -torch.eye(3, dtype=torch.long)]):
            neighbour = node + step
            if (neighbour >= 0).all() and (neighbour < nodes).all():
                expected += weight * (values[tuple(node)] - values[tuple(neighbour)]) ** 2
    weights = roughness_weights(occupied, reach)
    assert 0 < visited == int((weights > 0).sum()) < nodes**3
    assert roughness(values, edge_sums(weights), visited) == pytest.approx(float(expected / visited))


def test_stepwise_rate_falls_after_each_period():
    rate = stepwise(2.0, factor=0.5, every=3)
    assert [rate(step) for step in range(7)] == [2, 2, 2, 1, 1, 1, 0.5]


def test_adam_finds_the_minimum_of_a_quadratic_and_tells_every_step():
    x = torch.tensor([3.0, -2.0], dtype=torch.float64, requires_grad=True)
    goal = torch.tensor([1.0, 5.0], dtype=torch.float64)
    told = []
    with torch.no_grad():  # as a caller may be
        last = adam(
            lambda step: (x - goal).square().sum(),
            [x],
            steps=600,
            rate=stepwise(0.3, factor=0.3, every=100),
            on_step=lambda done, loss: told.append((done, loss)),
        )
    torch.testing.assert_close(x.detach(), goal, rtol=0, atol=1e-3)
    assert [done for done, _ in told] == list(range(1, 601))
    assert told[0][1] == pytest.approx(53) and told[-1][1] == last < 1e-5


def test_adams_first_step_has_the_length_of_the_rate():
    x = torch.tensor([3.0, -2.0], requires_grad=True)
    adam(lambda step: x.square().sum(), [x], steps=1, rate=lambda step: 0.25)
    torch.testing.assert_close(x.detach(), torch.tensor([2.75, -1.75]))


@pytest.mark.parametrize(("later", "said"), [(math.nan, "nan"), (math.inf, "inf"), (1e9, "1e\\+09")])
def test_a_loss_that_runs_away_stops_the_fit_with_step_and_value(later, said):
    x = torch.ones(1, requires_grad=True)
    with pytest.raises(SurfreconError, match=f"diverged: at step 3 of 9 its loss is {said}; a smaller rate than 0.1"):
        adam(lambda step: later + 0 * x.sum() if step == 2 else x.square().sum(), [x], steps=9, rate=lambda step: 0.1)


def test_on_step_may_stop_the_fit():
    x = torch.ones(1, requires_grad=True)

    def stop(done, loss):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adam(lambda step: x.square().sum(), [x], steps=9, rate=lambda step: 0.1, on_step=stop)
    torch.testing.assert_close(x.detach(), torch.tensor([0.8]), rtol=0, atol=1e-3)
