"""Adam against torch's and closed forms, the loop against what goes wrong; conjugate gradients have their own file."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from surfrecon.errors import InputError, ResourceError, SurfreconError
from surfrecon.optimize import (
    MOST_DIVIDED,
    RECOVERIES,
    SLOWER,
    STRIDE,
    Adam,
    constant,
    cosine,
    exponential,
    stepwise,
    train,
    warmed,
)
from surfrecon.run import Run, Stop

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}  # of parameters after many steps


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


# learning rates ------------------------------------------------------------------------------------------------------------------------


def test_constant_rate_stays():
    assert {constant(0.5)(step) for step in (0, 1, 10**6)} == {0.5}


def test_stepwise_rate_falls_after_each_period():
    rate = stepwise(2.0, factor=0.5, every=3)
    assert [rate(step) for step in range(7)] == [2, 2, 2, 1, 1, 1, 0.5]


def test_exponential_rate_falls_by_one_factor_from_first_to_last_and_stays_there():
    rate = exponential(8.0, last=0.5, steps=5)
    assert [rate(step) for step in range(7)] == pytest.approx([8, 4, 2, 1, 0.5, 0.5, 0.5])


def test_cosine_rate_goes_half_a_period_from_first_to_last_and_stays_there():
    rate = cosine(3.0, last=1.0, steps=5)
    assert [rate(step) for step in range(6)] == pytest.approx([3, 2 + 0.5**0.5, 2, 2 - 0.5**0.5, 1, 1])


def test_warm_up_grows_evenly_into_the_schedule_it_is_put_before():
    rate = warmed(stepwise(4.0, factor=0.5, every=4), steps=4)
    assert [rate(step) for step in range(6)] == [1, 2, 3, 4, 2, 2]


def test_schedule_of_a_single_step_starts_at_its_first_rate():
    assert exponential(2.0, last=1.0, steps=1)(0) == cosine(2.0, last=1.0, steps=1)(0) == 2


# Adam ----------------------------------------------------------------------------------------------------------------------------------


def adam(loss_of_step, *parameters: Tensor, rate=constant(0.1), **options) -> float:  # noqa: B008
    named = {f"x{i}": parameter for i, parameter in enumerate(parameters)}
    return train(Adam(lambda step, divisor: loss_of_step(step), named, rate=rate), **{"run": Run(), **options})


def test_adam_finds_the_minimum_of_a_quadratic_and_tells_every_step():
    x = torch.tensor([3.0, -2.0], dtype=torch.float64, requires_grad=True)
    goal = torch.tensor([1.0, 5.0], dtype=torch.float64)
    told = []
    with torch.no_grad():  # as a caller may be
        last = adam(
            lambda step: (x - goal).square().sum(),
            x,
            steps=600,
            rate=stepwise(0.3, factor=0.3, every=100),
            on_step=lambda done, loss: told.append((done, loss)),
        )
    torch.testing.assert_close(x.detach(), goal, rtol=0, atol=1e-3)
    assert [done for done, _ in told] == list(range(1, 601))
    assert told[0][1] == pytest.approx(53) and told[-1][1] == last < 1e-5


def test_adams_first_step_has_the_length_of_the_rate():
    x = torch.tensor([3.0, -2.0], requires_grad=True)
    adam(lambda step: x.square().sum(), x, steps=1, rate=constant(0.25))
    torch.testing.assert_close(x.detach(), torch.tensor([2.75, -1.75]))


def test_factors_give_a_parameter_its_own_rate():
    x, y = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    descent = Adam(lambda step, divisor: (x + y).sum(), {"x": x, "y": y}, rate=constant(0.25), factors={"y": 0.5})
    train(descent, steps=1, run=Run())
    torch.testing.assert_close(torch.stack([x.detach(), y.detach()]), torch.tensor([[0.75, 0.75], [0.875, 0.875]]))
    with pytest.raises(ValueError, match=r"must be of parameters \(x, y\), got x, y, z"):
        Adam(descent.loss_of, {"x": x, "y": y}, rate=constant(0.25), factors={"z": 0.5})


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_adam_takes_the_steps_of_torchs(dtype, generator):
    first, goal = (torch.randn(300, generator=generator, dtype=dtype) for _ in range(2))
    rate = stepwise(0.1, factor=0.3, every=10)
    loss_of = lambda x: lambda step: (x - goal).abs().pow(1.5).sum() + step
    x, other = first.clone().requires_grad_(), first.clone().requires_grad_()
    adam(loss_of(x), x, steps=25, rate=rate)
    optimizer = torch.optim.Adam([other])
    for step in range(25):
        optimizer.param_groups[0]["lr"] = rate(step)
        optimizer.zero_grad()
        loss_of(other)(step).backward()
        optimizer.step()
    torch.testing.assert_close(x, other, rtol=0, atol=0.1 * TOLERANCE[dtype])


def test_adam_leaves_alone_what_the_loss_does_not_ask_about():
    x, other = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    other.grad = torch.ones(3)  # of what the caller did before
    adam(lambda step: x.square().sum(), x, other, steps=3)
    assert torch.equal(other.detach(), torch.ones(3)) and (x < 0.9).all()


def test_no_steps_change_nothing():
    x = torch.ones(2, requires_grad=True)
    assert math.isnan(adam(lambda step: x.square().sum(), x, steps=0)) and torch.equal(x.detach(), torch.ones(2))


@pytest.mark.parametrize("look", [1, 7])
def test_looks_at_the_loss_are_as_rare_as_asked_and_change_no_step(look):
    told, ends = [], []
    for every in (1, look):
        x = torch.tensor([3.0, -2.0], requires_grad=True)
        adam(lambda step: x.square().sum(), x, steps=50, look=every, on_step=lambda done, _: told.append(done))  # noqa: B023
        ends.append(x.detach())
    assert told[50:] == [*range(look, 51, look), *([50] if 50 % look else [])]
    assert torch.equal(*ends)


# divergence ----------------------------------------------------------------------------------------------------------------------------


class Bad:
    """A quadratic whose loss is bad at some steps."""

    def __init__(self, *steps: int, value: float = math.nan):
        self.x, self.steps, self.value, self.run = torch.full((1,), 5.0, requires_grad=True), steps, value, Run()
        self.seen: list[tuple[int, float]] = []

    def loss_of(self, step: int) -> Tensor:
        self.seen.append((step, float(self.x.detach())))
        loss = self.x.square().sum()
        return loss * self.value if step in self.steps else loss

    def train(self, **options) -> float:
        return adam(self.loss_of, self.x, **{"run": self.run, **options})


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e9], ids=str)
def test_a_loss_that_runs_away_is_skipped_and_the_last_good_state_comes_back_at_a_lower_rate(value):
    fit = Bad(30, value=value)
    assert fit.train(steps=60) < 25
    at = dict(fit.seen)
    assert [step for step, _ in fit.seen] == list(range(60))
    assert at[31] == at[STRIDE]  # step 30 is passed over, what was after 20 steps is back
    assert at[32] - at[31] == pytest.approx(SLOWER * (at[STRIDE + 1] - at[STRIDE]), rel=0.01)
    (warning,) = fit.run.warnings
    assert warning.startswith("the fit ran away: at step 31 of 60 its loss is") and warning.endswith("at 0.5 times the rate")
    assert fit.run.facts["recoveries"] == 1


def test_moments_and_their_count_come_back_too():
    fit, plain = Bad(30), Bad()
    fit.train(steps=60, rate=lambda step: 0.1 if step < 30 else 0.1 / SLOWER)
    plain.train(steps=49)
    assert torch.equal(fit.x, plain.x)  # 20 steps, 11 that are undone or skipped, 29 more


def test_unknowns_that_are_not_finite_are_noticed_though_the_loss_is():
    x, y = torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    run = Run()
    adam(lambda step: x.square().sum() + (y.sqrt().nan_to_num().sum() if step == 3 else 0), x, y, steps=30, run=run)
    assert x.isfinite().all() and torch.equal(y.detach(), torch.zeros(1)) and run.facts["recoveries"] == 1


def test_it_recovers_so_many_times_and_then_says_where_it_failed():
    fit = Bad(*range(1, 1 + RECOVERIES))
    fit.train(steps=30)
    assert fit.run.facts["recoveries"] == RECOVERIES and abs(fit.x) < 5
    fit = Bad(*range(25, 100))
    with pytest.raises(SurfreconError, match="has diverged: at step 29 of 99 its loss is nan, after 3 recoveries at ever") as caught:
        fit.train(steps=99)
    assert caught.value.exit_code == 1 and len(fit.run.warnings) == RECOVERIES


def test_a_bad_last_step_ends_with_the_last_good_state_and_its_loss():
    fit, plain = Bad(59), Bad()
    assert fit.train(steps=60) == pytest.approx(dict(fit.seen)[58] ** 2)
    plain.train(steps=40)
    assert torch.equal(fit.x, plain.x)


def test_a_stop_just_as_the_unknowns_break_down_ends_with_the_last_good_state():
    x, y, run = torch.ones(1, requires_grad=True), torch.zeros(1, requires_grad=True), Run()

    def stop(done: int, loss: float) -> None:
        if done == 31:
            raise Stop

    adam(lambda step: x.square().sum() + (y.sqrt().sum() if step == 30 else 0), x, y, steps=60, run=run, on_step=stop)
    assert run.stopped and torch.equal(y.detach(), torch.zeros(1)) and x.isfinite().all()


def test_a_loss_that_was_zero_or_grew_little_is_no_divergence():
    x = torch.ones(1, requires_grad=True)
    run = Run()
    adam(lambda step: 0 * x.sum() + step, x, steps=5, run=run)
    assert not run.warnings


# memory --------------------------------------------------------------------------------------------------------------------------------

SHORT = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
    MemoryError(),
]


def greedy(x: Tensor, most: int, error: Exception, batches: list[int]):
    """A loss on batches of 1024, more than `most` of which are too much from the fifth step on."""

    def loss_of(step: int, divisor: int) -> Tensor:
        batch = 1024 // divisor
        batches.append(batch)
        if step >= 4 and batch > most:
            raise error
        return x.expand(batch).square().mean()

    return loss_of


@pytest.mark.parametrize("error", SHORT, ids=lambda error: type(error).__name__)
def test_where_memory_runs_out_batches_are_halved_until_they_fit_and_the_user_is_told_once(error):
    x, batches, run = torch.full((1,), 5.0, requires_grad=True), [], Run()
    assert train(Adam(greedy(x, 300, error, batches), {"x": x}, rate=constant(0.1)), steps=40, run=run) < 25
    assert batches == [1024] * 5 + [512] + [256] * 36
    assert run.warnings == ["memory ran out: the fit goes on with smaller batches"] and run.facts["batch_divisor"] == 4


def test_batches_are_halved_down_to_a_floor_below_which_memory_has_run_out():
    x, batches = torch.ones(1, requires_grad=True), []
    with pytest.raises(ResourceError, match=f"out of memory, even with batches divided by {MOST_DIVIDED}") as caught:
        train(Adam(greedy(x, 1, SHORT[0], batches), {"x": x}, rate=constant(0.1)), steps=9, run=Run())
    assert caught.value.exit_code == 3 and batches[-1] == 1024 // MOST_DIVIDED


def test_other_errors_of_a_loss_pass():
    x = torch.ones(1, requires_grad=True)

    def broken(step):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        adam(broken, x, steps=3)


# interruption and resumption -----------------------------------------------------------------------------------------------------------


class Noisy:
    """A fit that draws its batches: 64 unknowns, some of which are pulled to their goals at each step."""

    def __init__(self, folder: Path | None = None, *, resume: bool = False):
        self.x = torch.zeros(64, requires_grad=True)
        self.generator = torch.Generator().manual_seed(3)
        self.run = Run(folder=folder, resume=resume, fingerprint="this")
        self.stop_at: tuple[int, type[BaseException]] | None = None
        self.done: list[int] = []

    def loss_of(self, step: int, divisor: int) -> Tensor:
        index = torch.randint(64, (32 // divisor,), generator=self.generator)
        return (self.x[index] - index / 64).square().sum()

    def tell(self, done: int, loss: float) -> None:
        self.done.append(done)
        if self.stop_at and done == self.stop_at[0]:
            raise self.stop_at[1]

    def train(self, steps: int = 130) -> Tensor:
        descent = Adam(self.loss_of, {"x": self.x}, rate=warmed(cosine(0.05, last=0.005, steps=steps), 10))
        train(descent, steps=steps, run=self.run, generator=self.generator, on_step=self.tell)
        return self.x.detach()


@pytest.mark.parametrize("error", [KeyboardInterrupt, Stop])
def test_an_interrupted_fit_leaves_its_last_good_state_and_the_resumed_one_takes_the_same_steps(error, tmp_path):
    whole = Noisy().train()
    fit = Noisy(tmp_path)
    fit.stop_at = (75, error)
    if error is Stop:
        fit.train()
    else:
        with pytest.raises(KeyboardInterrupt):
            fit.train()
    assert fit.run.stopped == (error is Stop)
    again = Noisy(tmp_path, resume=True)
    assert torch.equal(again.train(), whole)
    assert again.done == list(range(61, 131)) and again.run.facts["resumed_at"] == 60


def test_a_stop_ends_the_fit_with_the_best_so_far_and_says_so():
    fit, short = Noisy(), Noisy()
    fit.stop_at = (75, Stop)
    x = fit.train()
    assert fit.run.stopped and fit.run.warnings == ["interrupted: the result is the best so far"]
    short.stop_at = (75, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        short.train()
    assert torch.equal(x, short.x)


def test_a_stop_before_anything_is_worth_keeping_passes_on(tmp_path):
    fit = Noisy(tmp_path)
    fit.stop_at = (STRIDE - 1, Stop)
    with pytest.raises(Stop):
        fit.train()
    assert not fit.run.stopped and list(tmp_path.iterdir()) == []


def test_a_fit_that_was_interrupted_many_times_is_the_same(tmp_path):
    whole = Noisy().train()
    for stop in (25, 26, 50, 121):
        fit = Noisy(tmp_path, resume=stop > 25)
        fit.stop_at = (stop, Stop)
        fit.train()
    assert torch.equal(Noisy(tmp_path, resume=True).train(), whole)


def test_a_recovered_fit_resumes_to_the_same_end(tmp_path):
    fits = []
    for folder, stop in ((None, None), (tmp_path, (75, Stop)), (tmp_path, None)):
        fit = Noisy(folder, resume=bool(fits) and stop is None)
        fit.stop_at = stop
        right = fit.loss_of
        fit.loss_of = lambda step, divisor, right=right: right(step, divisor) * (math.nan if step in (45, 90) else 1)
        fit.train()
        fits.append(fit)
    whole, _, again = fits
    assert whole.run.facts["recoveries"] == again.run.facts["recoveries"] == 2 and torch.equal(whole.x, again.x)


def test_a_finished_fit_resumes_to_itself_without_a_step(tmp_path, monkeypatch):
    monkeypatch.setattr("surfrecon.checkpoints.INTERVAL", 0.0)
    whole = Noisy(tmp_path).train()
    again = Noisy(tmp_path, resume=True)
    assert torch.equal(again.train(), whole) and again.done == []


def test_running_out_of_memory_leaves_a_checkpoint_too(tmp_path):
    fit = Noisy(tmp_path)
    right = fit.loss_of

    def short(step, divisor):
        if step >= 50:
            raise MemoryError
        return right(step, divisor)

    fit.loss_of = short
    with pytest.raises(ResourceError):
        fit.train()
    again = Noisy(tmp_path, resume=True)
    again.train()
    assert again.run.facts["resumed_at"] == 40


def test_a_checkpoint_of_other_unknowns_is_refused_in_a_sentence(tmp_path):
    fit = Noisy(tmp_path)
    fit.stop_at = (30, Stop)
    fit.train()
    y = torch.zeros(5, requires_grad=True)
    resuming = Run(folder=tmp_path, resume=True, fingerprint="this")
    with pytest.raises(InputError, match=r"doesn't fit this fit, which needs x of shape \(5,\); repeat") as caught:
        train(Adam(lambda step, divisor: y.sum(), {"x": y}, rate=constant(0.1)), steps=3, run=resuming)
    assert caught.value.exit_code == 2 and torch.equal(y.detach(), torch.zeros(5))


def test_manifest_says_how_far_the_fit_was(tmp_path):
    fit = Noisy(tmp_path)
    fit.stop_at = (75, Stop)
    fit.train()
    manifest = json.loads((tmp_path / "checkpoints" / "1.json").read_text())
    assert manifest["facts"]["step"] == 60 and manifest["facts"]["loss"] < manifest["facts"]["first"]
