"""How a command ends: exit codes, sentences, and what reaches stdout."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from surfrecon.apps.console import Progress, guarded, print_json, print_lines, size_text, time_text
from surfrecon.errors import InputError, MissingDependencyError, ResourceError, SurfreconError
from surfrecon.run import Run, Stop


def fail(error):
    def command():
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (SurfreconError("the fit has diverged"), 1, "surfrecon: the fit has diverged\n"),
        (InputError("scan.ply holds no points"), 2, "surfrecon: scan.ply holds no points\n"),
        (ResourceError("the disk is small"), 3, "surfrecon: the disk is small\n"),
        (MissingDependencyError('pip install "surfrecon[e57]"'), 4, 'surfrecon: pip install "surfrecon[e57]"\n'),
        (MemoryError(), 3, "surfrecon: out of memory; lower --resolution"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), 3, "surfrecon: out of memory; lower --resolution"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), 3, "surfrecon: out of memory; lower"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 3, "surfrecon: out of memory; lower"),
        (ImportError("liblapack.so: failed to map segment from shared object"), 3, "surfrecon: out of memory; lower"),
        (OSError(errno.ENOSPC, "No space left on device", "mesh.ply"), 3, "surfrecon: the disk is full: mesh.ply; free some space"),
        (KeyboardInterrupt(), 130, "surfrecon: interrupted"),
        (KeyError("vertex"), 1, "surfrecon: unexpected KeyError: 'vertex'; run again with -v"),
    ],
)
def test_every_failure_has_its_code_and_one_sentence(error, code, said, capsys):
    assert guarded(fail(error), verbose=False) == code
    ended = capsys.readouterr()
    assert ended.out == ""
    assert ended.err.startswith(said) and ended.err.count("\n") == 1


def test_verbose_shows_the_traceback(capsys):
    assert guarded(fail(InputError("no points")), verbose=True) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err and err.endswith("surfrecon: no points\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_with_128_and_its_number_whatever_a_library_makes_of_it(number, code, capsys):
    def command():
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            raise ImportError("a library that was interrupted while loading") from None

    before = signal.getsignal(number)
    assert guarded(command, verbose=False) == code
    assert "interrupted" in capsys.readouterr().err
    assert signal.getsignal(number) is before


def test_progress_stops_a_run_whose_interruption_was_swallowed():
    reached = []

    def command():
        with Progress() as progress:
            run = Run(on_step=progress)
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                pass  # a library's callback
            run.step("fit", 1, 2)
            reached.append("too far")

    assert guarded(command, verbose=False) == 130
    assert reached == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_was_stopped_and_ended_well_says_what_it_left(number, code, capsys):
    def command():
        with Progress() as progress:
            run = Run(on_step=progress)
            os.kill(os.getpid(), number)
            try:
                run.step("fit", 1, 2)
            except Stop:
                run.stopped = True
            run.step("extract")
        raise Stop("interrupted; mesh.ply is the best so far")

    assert guarded(command, verbose=False) == code
    assert capsys.readouterr().err == "surfrecon: interrupted; mesh.ply is the best so far\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_writes_nothing_ends_where_it_stands(number, code):
    source = (
        "import sys, time; from surfrecon.apps.console import guarded\n"
        "sys.exit(guarded(lambda: (print('ready', flush=True), time.sleep(60)), verbose=False, writes=False))"
    )
    process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (code, "", "surfrecon: interrupted; nothing half-written is left\n")


def test_a_reader_that_has_gone_is_no_failure():
    source = "import sys; from surfrecon.apps.console import guarded; sys.exit(guarded(lambda: print('x' * 10**6), verbose=False))"
    process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    assert (process.stderr.read(), process.wait(20)) == ("", 0)


def test_progress_without_a_terminal_is_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr("surfrecon.apps.console.LINE_INTERVAL", 0.0)

    def command():
        with Progress() as progress:
            Run(on_step=progress).step("fit 64", 3, 4, residual=0.125)

    assert guarded(command, verbose=False) == 0
    ended = capsys.readouterr()
    assert (ended.out, ended.err) == ("", "surfrecon: fit 64 3/4, residual 0.125, 0 s so far\n")


def test_progress_on_a_terminal_is_a_bar_that_leaves_logs_readable(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    def command():
        with Progress() as progress:
            run = Run(on_step=progress)
            run.step("fit 64", 3, 4)
            run.warn("the scan is thin")
            run.step("extract")

    assert guarded(command, verbose=False) == 0
    ended = capsys.readouterr()
    assert "surfrecon: warning: the scan is thin" in ended.err and ended.out == ""


def test_logging_is_left_as_it_was(capsys):
    log = logging.getLogger("surfrecon")
    before = (log.level, log.propagate, list(log.handlers))
    guarded(lambda: log.info("loud"), verbose=False)
    log.info("quiet")
    assert (log.level, log.propagate, list(log.handlers)) == before
    assert capsys.readouterr().err == "surfrecon: loud\n"


def test_json_takes_numpy_and_has_no_nan(capsys):
    from pathlib import Path

    print_json({"a": np.arange(2), "b": np.float32(0.5), "c": float("nan"), "d": Path("x"), "e": (True, None, np.bool_(False)), 1: "ü"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"a": [0, 1], "b": 0.5, "c": None, "d": "x", "e": [True, None, False], "1": "ü"}


def test_lines_escape_what_the_encoding_lacks(monkeypatch):
    import io

    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    print_lines(["caf\u00e9", "raw\udcff"])
    out.flush()
    assert out.buffer.getvalue().split() == [b"caf\\xe9", b"raw\\udcff"]


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_340_000_000, "2.34 GB"), (5e13, "50 TB")])
def test_sizes(count, text):
    assert size_text(count) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.123, "0.12 s"), (42.4, "42 s"), (150, "2 min"), (7200, "2.0 h")])
def test_times(seconds, text):
    assert time_text(seconds) == text
