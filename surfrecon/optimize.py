"""The only places where unknowns are improved: conjugate gradients for quadratic energies, Adam in a guarded loop for the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

import torch
from torch import Tensor

from surfrecon import ops
from surfrecon.checkpoints import Checkpoints, restore
from surfrecon.errors import ResourceError, SurfreconError, is_out_of_memory
from surfrecon.run import Run

DIVERGED = 1e3  # times the first loss: no fit that goes well comes near it
RECOVERIES, SLOWER = 3, 0.5  # from divergence, at most; factor of the learning rate after each
MOST_DIVIDED = 64  # times smaller than asked for may batches become where memory is short
STRIDE = 20  # steps from one good state to the next: a copy of the unknowns then costs about a hundredth of the time

Schedule = Callable[[int], float]


def conjugate_gradient(
    matrix: Callable[[Tensor], Tensor], right: Tensor, diagonal: Tensor, *, iterations: int, tolerance: float = 1e-3
) -> tuple[Tensor, int]:
    """Solve matrix(x) = right by conjugate gradients, preconditioned by the diagonal, from x = 0.

    Args:
        matrix: symmetric positive (semi-)definite map of (M,) to (M,).
        right: (M,).
        diagonal: (M,) > 0.
        iterations: at most.
        tolerance: on the preconditioned residual, relative to the first one.
    Returns:
        (M,) x, iterations used.
    Source: Shewchuk, "An introduction to the conjugate gradient method without the agonizing pain", 1994, B3.
    """
    x = torch.zeros_like(right)
    residual = right.clone()
    z = residual / diagonal
    direction = z.clone()
    energy = first = residual @ z
    done = 0
    while done < iterations and energy > tolerance**2 * first:
        image = matrix(direction)
        rate = energy / (direction @ image)
        x += rate * direction
        residual -= rate * image
        z = residual / diagonal
        previous, energy = energy, residual @ z
        direction = z + (energy / previous) * direction
        done += 1
    return x, done


# The learning rate as a function of the step, from 0, in units of the parameters ----------------------------------------------------------


def constant(rate: float) -> Schedule:
    """One rate throughout."""
    return lambda step: rate


def stepwise(rate: float, *, factor: float, every: int) -> Schedule:
    """`rate`, times `factor` after each `every` steps."""
    return lambda step: rate * factor ** (step // every)


def exponential(rate: float, *, last: float, steps: int) -> Schedule:
    """From `rate` at the first step to `last` at the last of `steps`, by one factor a step."""
    return lambda step: rate * (last / rate) ** _share(step, steps)


def cosine(rate: float, *, last: float, steps: int) -> Schedule:
    """From `rate` at the first step to `last` at the last of `steps`, along half a period of the cosine: level at both ends."""
    return lambda step: last + (rate - last) * (1 + math.cos(math.pi * _share(step, steps))) / 2


def warmed(schedule: Schedule, steps: int) -> Schedule:
    """Another schedule, over its first `steps` times a factor that grows evenly to 1."""
    return lambda step: schedule(step) * min(1.0, (step + 1) / steps)


def _share(step: int, steps: int) -> float:
    """0 at the first step, 1 at the last and beyond."""
    return min(1.0, step / max(1, steps - 1))


class Descent(Protocol):
    """Something that goes downhill one step at a time.

    Attributes:
        tensors: by name, all that a step changes, in place: parameters, moments, counts.
    """

    tensors: Mapping[str, Tensor]

    def advance(self, step: int, *, divisor: int, slowness: float) -> Tensor:
        """Take a step and return the loss before it, ().

        Args:
            step: from 0.
            divisor: by which batches are divided, for want of memory.
            slowness: factor of the learning rate, <= 1.
        """


class Adam:
    """A Descent by Adam on named parameters.

    Args:
        loss_of: step, from 0, and divisor of the batch (1, 2, 4 ...) -> (), >= 0; it may change from step to step.
        parameters: changed in place.
        rate: learning rate of each step, in units of the parameters.
        factors: of the rate, for parameters that shall have another one.
    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2015.
    """

    def __init__(
        self,
        loss_of: Callable[[int, int], Tensor],
        parameters: Mapping[str, Tensor],
        *,
        rate: Schedule,
        factors: Mapping[str, float] | None = None,
    ):
        self.loss_of, self.rate, self.parameters = loss_of, rate, dict(parameters)
        self.factors = dict.fromkeys(self.parameters, 1.0) | dict(factors or {})
        if len(self.factors) > len(self.parameters):
            raise ValueError(f"factors must be of parameters ({', '.join(self.parameters)}), got {', '.join(self.factors)}")
        self.means, self.squares = ({name: torch.zeros_like(p.detach()) for name, p in self.parameters.items()} for _ in range(2))
        self.taken = torch.zeros((), dtype=torch.int64)  # steps: less than the loop's where some were undone
        moments = {f"{name}.mean": mean for name, mean in self.means.items()} | {f"{name}.square": s for name, s in self.squares.items()}
        self.tensors = self.parameters | moments | {"adam.taken": self.taken}

    def advance(self, step: int, *, divisor: int, slowness: float) -> Tensor:
        for parameter in self.parameters.values():
            parameter.grad = None
        with torch.enable_grad():  # whatever the caller has set
            loss = self.loss_of(step, divisor)
            loss.backward()
        self.taken += 1
        taken, rate = int(self.taken), slowness * self.rate(step)
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                if parameter.grad is not None:
                    moments = self.means[name], self.squares[name]
                    ops.adam_step(parameter, parameter.grad, *moments, step=taken, rate=self.factors[name] * rate)
        return loss.detach()


@dataclass
class _Course:
    """How far a descent is, beside its tensors: steps done, loss at the first and at the last look, recoveries, divisor of the batch."""

    step: int = 0
    first: float = 0.0
    loss: float = math.nan
    recoveries: int = 0
    divisor: int = 1


def train(
    descent: Descent,
    *,
    steps: int,
    run: Run,
    generator: torch.Generator | None = None,
    look: int = 1,
    stride: int = STRIDE,
    reserve: float | None = None,
    on_step: Callable[[int, float], None] | None = None,
) -> float:
    """Go down a number of steps, through what may go wrong on the way; returns the last good loss.

    Where the loss or an unknown isn't finite, or the loss exceeds DIVERGED times the first, the last good state, at most `stride` steps
    old, comes back, the step is passed over and the rate becomes SLOWER. Where memory runs out that state comes back, too, and batches are
    halved. States are kept as checkpoints: a run that resumes continues from the newest and takes the same steps as one that was never
    interrupted. A Stop ends the descent early, and so does a budget of time.

    Args:
        descent: its tensors are changed in place.
        run: for warnings, facts, and checkpoints in its folder.
        generator: that the loss draws from, if any; its state is kept as well.
        look: steps from one look at the loss to the next: more let a GPU run ahead.
        stride: steps from one good state to the next.
        reserve: seconds that what follows needs of the run's budget; None minds no budget.
        on_step: called after each look with the number of steps done and the step's loss; may raise to stop.
    Raises:
        SurfreconError: it diverged more than RECOVERIES times.
        ResourceError: memory doesn't suffice for a batch divided by MOST_DIVIDED.
        InputError: the run is to resume from what isn't its own.
    """
    checkpoints, course = Checkpoints(run), _Course()
    found = checkpoints.newest()
    if found is not None:
        tensors, facts = found
        restore(descent.tensors, tensors)
        course = _Course(**facts)
        if generator is not None:
            generator.set_state(tensors["generator"])
        run.facts["resumed_at"] = course.step
    good, since = _copied(descent.tensors), course.step
    with checkpoints.left_behind():
        while course.step < steps:
            loss = _advanced(descent, course)
            if loss is None:
                _divide(course, run)
                restore(descent.tensors, good)
                continue
            course.step += 1
            if course.step % look and course.step < steps:
                continue
            value = float(loss)
            due = course.step - since >= stride or course.step == steps
            limit = DIVERGED * course.first if course.first > 0 else math.inf
            if not (math.isfinite(value) and value <= limit and (not due or _finite(descent.tensors))):
                _recover(course, f"at step {course.step} of {steps} its loss is {value:.3g}", run)
                restore(descent.tensors, good)
                continue
            course.first, course.loss = course.first or value, value
            if due:
                good, since = _copied(descent.tensors), course.step
                state = {} if generator is None else {"generator": generator.get_state()}
                checkpoints.keep(good | state, asdict(course))
            if on_step is not None:
                on_step(course.step, value)
            if reserve is not None and run.seconds_left() < reserve and course.step < steps:
                run.cut_short(f"{course.step} of {steps} steps were taken")
                break
    if run.stopped and not _finite(descent.tensors):
        restore(descent.tensors, good)
    if course.recoveries:
        run.facts["recoveries"] = course.recoveries
    if course.divisor > 1:
        run.facts["batch_divisor"] = course.divisor
    return course.loss


def _recover(course: _Course, where: str, run: Run) -> None:
    """Count a divergence and warn of it.

    Raises:
        SurfreconError: it is one too many.
    """
    if course.recoveries == RECOVERIES:
        raise SurfreconError(f"the fit has diverged: {where}, after {RECOVERIES} recoveries at ever lower rates; a smaller rate may help")
    course.recoveries += 1
    run.warn(f"the fit ran away: {where}; it goes on from the last good state at {SLOWER**course.recoveries:g} times the rate")


def _divide(course: _Course, run: Run) -> None:
    """Halve the batch and say so, once.

    Raises:
        ResourceError: it is as small as can be.
    """
    torch.cuda.empty_cache()
    if course.divisor == MOST_DIVIDED:
        raise ResourceError(f"out of memory, even with batches divided by {MOST_DIVIDED}; lower the resolution, or use a larger machine")
    course.divisor *= 2
    run.warn("memory ran out: the fit goes on with smaller batches")


def _advanced(descent: Descent, course: _Course) -> Tensor | None:
    """The loss of one more step; None where memory ran out, once all that the step held is free again."""
    try:
        return descent.advance(course.step, divisor=course.divisor, slowness=SLOWER**course.recoveries)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    return None


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _finite(tensors: Mapping[str, Tensor]) -> bool:
    return all(bool(tensor.sum().isfinite()) for tensor in tensors.values())  # of one pass, and NaN and infinity spread
