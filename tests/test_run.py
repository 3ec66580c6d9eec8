"""Run: what it times, tells, keeps and draws."""

import logging
import time

import pytest
import torch

from surfrecon.run import Run, Step, Stop


def test_stage_takes_the_time_of_its_block_and_announces_it():
    steps = []
    run = Run(on_step=steps.append)
    with run.stage("fit"):
        time.sleep(0.02)
    assert list(run.timings) == ["fit"] and 0.02 <= run.timings["fit"] < 5
    assert steps == [Step("fit")]


def test_times_of_stages_of_one_name_add_up():
    run = Run()
    for _ in range(2):
        with run.stage("fit"):
            time.sleep(0.01)
    assert run.timings["fit"] >= 0.02


def test_stages_nest_and_each_has_its_own_time():
    run = Run()
    with run.stage("outer"):
        with run.stage("outer"), run.stage("inner"):
            time.sleep(0.02)
        time.sleep(0.01)
    assert list(run.timings) == ["inner", "outer"]  # as they end
    assert run.timings["inner"] >= 0.02 > run.timings["outer"] >= 0.01


def test_failed_stage_is_timed_and_its_error_passes():
    run = Run()
    with pytest.raises(ZeroDivisionError), run.stage("fit"):
        raise ZeroDivisionError
    assert "fit" in run.timings


def test_step_hands_on_its_facts_and_may_stop_the_run():
    steps = []
    Run(on_step=steps.append).step("fit 64", 3, 10, loss=0.5)
    assert steps == [Step("fit 64", 3, 10, {"loss": 0.5})]

    def stop(step: Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Run(on_step=stop).step("fit")
    Run().step("fit")  # nobody listens


def test_a_stop_that_was_heard_lets_the_rest_of_the_run_pass():
    steps = []

    def stop(step: Step) -> None:
        steps.append(step.stage)
        raise Stop

    run = Run(on_step=stop)
    with pytest.raises(KeyboardInterrupt):  # which it is for whoever has nothing to show
        run.step("fit")
    run.stopped = True
    run.step("extract")
    assert steps == ["fit", "extract"]


def test_warning_is_kept_and_logged_once(caplog):
    run = Run()
    with caplog.at_level(logging.WARNING, "surfrecon"):
        for sentence in ("100 % sure", "second", "100 % sure"):
            run.warn(sentence)
    assert run.warnings == [record.getMessage() for record in caplog.records] == ["100 % sure", "second"]


def test_budget_runs_down_from_the_start_and_none_never_ends():
    run = Run(budget=100.0, started=time.perf_counter() - 40)
    assert 50 < run.seconds_left() <= 60
    assert Run().seconds_left() == float("inf")
    assert Run(budget=1.0, started=time.perf_counter() - 5).seconds_left() < 0


def test_what_the_budget_left_out_is_a_warning():
    run = Run(budget=2.5)
    assert not run.cut
    run.cut_short("stopped at 128 of 256 cells")
    assert run.cut and run.warnings == ["stopped at 128 of 256 cells: the budget of 2.5 s was used"]


def test_runs_share_no_state():
    first = Run()
    first.warn("only here")
    first.facts["noise"] = 1
    with first.stage("fit"):
        pass
    assert (Run().warnings, Run().facts, Run().timings) == ([], {}, {})


def test_generator_gives_the_numbers_of_its_seed_each_time_it_is_asked_for():
    draw = lambda run: torch.rand(8, generator=run.generator(), device=run.torch_device())
    run = Run(device="cpu", seed=7)
    assert torch.equal(draw(run), draw(run)) and torch.equal(draw(run), draw(Run(device="cpu", seed=7)))
    assert not torch.equal(draw(run), draw(Run(device="cpu", seed=8)))


def test_generator_leaves_the_global_one_alone():
    state = torch.get_rng_state()
    torch.rand(8, generator=Run(device="cpu").generator())
    assert torch.equal(torch.get_rng_state(), state)


def test_auto_device_is_a_gpu_where_there_is_one(monkeypatch):
    for available, wanted in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        assert Run().torch_device() == torch.device(wanted)
    assert Run(device="cpu").torch_device() == torch.device("cpu")
