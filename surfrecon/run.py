"""Run: where and how one reconstruction computes, whom it tells, and what it has seen so far."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

log = logging.getLogger("surfrecon")


class Stop(KeyboardInterrupt):
    """Raised by Run.on_step to end a run early: a fit that has something to show goes on with that, all else ends as by Ctrl-C."""


@dataclass(frozen=True)
class Step:
    """One sign of progress, handed to Run.on_step.

    Attributes:
        stage: which part of the work ("orient", "fit 128", "extract" ...).
        done, total: how far, in the stage's own count; total 0 where it isn't known.
        facts: figures worth showing (loss, residual ...).
        surface: the Field as it is now, unit frame, where a fit has one: marching_cubes() makes a preview of it. It changes after the call.
    """

    stage: str
    done: int = 0
    total: int = 0
    facts: dict[str, float] = field(default_factory=dict)
    surface: Any = None


@dataclass
class Run:
    """The surroundings of one run. Nothing in it changes what is computed except device, seed, backend and a budget that is short.

    Attributes:
        device: "auto", "cpu", "cuda" or any name torch knows; auto takes a GPU where there is one.
        seed: every random number comes from it.
        threads: CPU threads of torch; None leaves torch's choice.
        backend: "auto" or the name of one backend for every op.
        folder: where checkpoints, settings and reports go; None writes nothing. Checkpoints stay until someone clears them.
        on_step: called with a Step; may raise KeyboardInterrupt to stop at once, or Stop to stop with the best so far.
        budget: seconds, from `started`, after which the result should be there, coarser if need be; None takes the time it takes.
        started: when the work began, as time.perf_counter() tells.
        resume: whether to continue from the newest checkpoint in the folder, rather than start again.
        follows: whether another process does the same and leaves the checkpoints: this one only reads them.
        fingerprint: of what is computed; a checkpoint of another one is refused. reconstruct() sets it.
        cut: whether something was left out for want of time.
        stopped: whether a Stop has ended the fit early.
        timings: stage -> seconds of its own, filled as stages end.
        warnings: sentences a user should read, in order.
        facts: what the stages found out (noise, share of confident sides ...), for the report.
        kept: results of stages that later ones may want again.
    """

    device: str = "auto"
    seed: int = 0
    threads: int | None = None
    backend: str = "auto"
    folder: Path | None = None
    on_step: Callable[[Step], None] | None = None
    budget: float | None = None
    started: float = field(default_factory=time.perf_counter)
    resume: bool = False
    follows: bool = False
    fingerprint: str = ""
    cut: bool = False
    stopped: bool = False
    timings: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)

    def torch_device(self) -> torch.device:
        import torch

        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self.device)

    def generator(self) -> torch.Generator:
        """A fresh generator on the run's device, seeded by the run."""
        import torch

        return torch.Generator(self.torch_device()).manual_seed(self.seed)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage without those inside of it (times of the same name add up), and announce it."""
        self.step(name)
        start, before = time.perf_counter(), sum(self.timings.values())
        try:
            yield
        finally:
            within = sum(self.timings.values()) - before
            self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start - within
            log.debug("%s: %.2f s", name, self.timings[name])

    def step(self, stage: str, done: int = 0, total: int = 0, *, surface: Any = None, **facts: float) -> None:
        if self.on_step is not None:
            try:
                self.on_step(Step(stage, done, total, facts, surface))
            except Stop:
                if not self.stopped:  # else it has been heard, and this is the way from the best so far to the result
                    raise

    def seconds_left(self) -> float:
        """Of the budget, below 0 where it is used up; infinite where there is none."""
        return math.inf if self.budget is None else self.started + self.budget - time.perf_counter()

    def cut_short(self, what: str) -> None:
        """Say what the budget left out."""
        self.cut = True
        self.warn(f"{what}: the budget of {self.budget:g} s was used")

    def warn(self, sentence: str) -> None:
        """Keep a warning for the report and log it once."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)
            log.warning("%s", sentence)
