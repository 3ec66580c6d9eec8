"""How a command talks and ends: logs and progress on stderr, results on stdout, every failure one sentence and an exit code."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from surfrecon.run import Step, Stop

log = logging.getLogger("surfrecon")

LINE_INTERVAL = 5.0  # seconds between lines of progress where there is no terminal to draw a bar on
INTERRUPTED = "interrupted; nothing half-written is left"
STOPPING = b"surfrecon: stopping at the next step; once more to stop at once\n"
MEMORY_ADVICE = "lower --resolution, take --preset fast, thin the scan, or use a machine with more memory"
DISK_ADVICE = "free some space or write to another disk"
OUT_OF_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def guarded(command: Callable[[], None], *, verbose: bool, writes: bool = True) -> int:
    """Run a command and return the exit code that its end deserves, one sentence on stderr where it failed.

    0 ok, 1 failed, 2 bad input, 3 out of memory or disk, 4 optional dependency missing, 130 interrupted, 143 terminated.

    Args:
        command: the work.
        verbose: log details, and show the traceback of a failure.
        writes: whether a signal must let it clean up; else the process ends where it stands, which no library's thread can spoil.
    """
    from surfrecon.errors import SurfreconError, is_out_of_memory

    with _signals(writes) as caught, _logging(verbose):
        try:
            command()
            sys.stdout.flush()
            return 0
        except BaseException as error:
            if caught:  # whatever an interrupted library makes of it
                _say(str(error) if isinstance(error, Stop) and error.args else INTERRUPTED, error if verbose else None)
                return 128 + caught[0]
            if isinstance(error, (SystemExit, GeneratorExit)):
                raise
            shown = error if verbose else None
            if isinstance(error, KeyboardInterrupt):
                _say(INTERRUPTED, shown)
                return 128 + signal.SIGINT
            if isinstance(error, BrokenPipeError):  # the reader of stdout (head, less) has gone, which is its right
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit complains
                return 0
            if isinstance(error, SurfreconError):
                _say(str(error), shown)
                return error.exit_code
            if is_out_of_memory(error):
                _say(f"out of memory; {MEMORY_ADVICE}", shown)
                return 3
            if isinstance(error, OSError) and error.errno in OUT_OF_DISK:
                _say(f"the disk is full: {error.filename or error}; {DISK_ADVICE}", shown)
                return 3
            advice = "" if verbose else "; run again with -v for the details and report them, this shouldn't happen"
            _say(f"unexpected {type(error).__name__}: {error}{advice}", shown)
            return 1


def print_json(value: object) -> None:
    """The result on stdout, alone there; what JSON can't hold (NaN, infinity) becomes null."""
    print(to_json(value))


def print_lines(lines: Iterable[str]) -> None:
    """The result for a person on stdout; characters that its encoding lacks (in names of files) are escaped, not fatal."""
    encoding = sys.stdout.encoding or "utf-8"
    print("\n".join(lines).encode(encoding, "backslashreplace").decode(encoding))


def to_json(value: object) -> str:
    """Pure ASCII, so that any name of a file can be written."""
    return json.dumps(_plain(value), indent=2, allow_nan=False)


def size_text(count: float) -> str:
    """Bytes as a person says them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def time_text(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class Progress:
    """Run.on_step for a person: a bar on a terminal, else a line every few seconds; both on stderr.

    While it is shown, a first SIGINT or SIGTERM stops the run at its next step; a second one at once. An exception in the
    middle of a library's threaded search would free arrays that its threads still write to (seen as a segmentation fault).
    """

    def __init__(self, watch: Callable[[Step], None] | None = None):
        self.watch = watch
        self.bar, self.task, self.stage = None, None, None
        self.said = self.started = time.monotonic()

    def __enter__(self) -> Progress:
        _stepping.append(True)
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("{task.description:14}"), BarColumn(), TextColumn("{task.fields[facts]}"), TimeElapsedColumn())
            self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self.bar.start()
        return self

    def __exit__(self, *_) -> None:
        _stepping.clear()
        if self.bar:
            self.bar.stop()

    def __call__(self, step: Step) -> None:
        facts = " ".join(f"{name} {value:.3g}" for name, value in step.facts.items())
        if self.bar:
            if step.stage != self.stage:
                if self.task is not None:
                    self.bar.remove_task(self.task)
                self.task = self.bar.add_task(step.stage, total=None, facts="")
            self.bar.update(self.task, completed=step.done, total=step.total or None, facts=facts)
        elif time.monotonic() - self.said >= LINE_INTERVAL:
            self.said = time.monotonic()
            done = f" {step.done}/{step.total}" if step.total else ""
            log.info("%s%s%s, %.0f s so far", step.stage, done, f", {facts}" if facts else "", self.said - self.started)
        self.stage = step.stage
        if self.watch:
            self.watch(step)
        _raise_if_caught()


class _Stderr(logging.StreamHandler):
    """Writes to whatever sys.stderr is at that moment: rich puts itself there while its bar is up."""

    def __init__(self):
        logging.Handler.__init__(self)

    @property
    def stream(self):
        return sys.stderr

    def format(self, record: logging.LogRecord) -> str:
        kind = "warning: " if record.levelno >= logging.WARNING else ""
        return f"surfrecon: {kind}{super().format(record)}"


@contextmanager
def _logging(verbose: bool) -> Iterator[None]:
    handler, level, propagate = _Stderr(), log.level, log.propagate
    log.addHandler(handler)
    log.setLevel(logging.DEBUG if verbose else logging.INFO)
    log.propagate = False
    try:
        with warnings.catch_warnings():
            if not verbose:
                warnings.simplefilter("ignore")  # libraries warn their programmers, not our users
            yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = propagate


_caught: list[int] = []  # the signals of the command in hand; a process has only one set of handlers, too
_stepping: list[bool] = []  # whether a Progress looks for them between steps


@contextmanager
def _signals(writes: bool) -> Iterator[list[int]]:
    """Turn SIGINT and SIGTERM into KeyboardInterrupt and remember which it was; a signal that is ignored (nohup) stays ignored."""

    def stop(number: int, _) -> None:
        _caught.append(number)
        if not writes:
            _say(INTERRUPTED, None)
            os._exit(128 + number)
        if len(_caught) > 1 or not _stepping:
            raise KeyboardInterrupt
        os.write(2, STOPPING)  # print isn't allowed here while another print is under way

    _caught.clear()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    try:
        for number in before:
            signal.signal(number, stop)
        yield _caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise_if_caught() -> None:
    if _caught:
        raise Stop


def _say(sentence: str, error: BaseException | None) -> None:
    """A sentence on stderr; where that can't be written (a log on a full disk) the exit code must do."""
    one_line = sentence.replace("\n", "\\n")  # names of files may hold line breaks
    with suppress(OSError, ValueError):
        if error is not None:
            import traceback

            traceback.print_exception(error)
        print(f"surfrecon: {one_line}", file=sys.stderr)


def _plain(value: object) -> object:
    """Nested dicts and lists of what JSON knows, from numpy's and paths too."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    tolist = getattr(value, "tolist", None)  # numpy arrays and scalars, torch tensors
    return _plain(tolist()) if tolist else str(value)
