"""The command reconstruct-from-scan as a process of its own: how it ended, what it said, what it took, and what it left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from surfrecon.geometry import Mesh
from surfrecon.io import read_mesh
from surfrecon.repair import inspect

ENTRY = "import sys\nfrom surfrecon.apps.cli import reconstruct_from_scan\nsys.exit(reconstruct_from_scan())\n"
SMALL = ("--preset", "fast", "--resolution", "32", "--device", "cpu", "--threads", "1")  # a few seconds, most of them torch's import
WHOLE = ["mesh.ply", "mesh.run/report.html", "mesh.run/report.json", "mesh.run/settings.toml"]  # what a run leaves
PATIENCE = 300.0  # seconds until a process counts as hung, and is killed


@dataclass(frozen=True)
class Row:
    """One case of the drill.

    Attributes:
        well: whether what was found is what was wanted.
        seconds, used, peak: by the clock; by all processors together, which says more on a busy machine; most bytes held. None where
            they say nothing.
    """

    case: str
    wanted: str
    found: str
    well: bool
    seconds: float | None = None
    peak: int | None = None
    used: float | None = None

    def cells(self) -> list[str]:
        found = self.found if self.well else f"**NO**: {self.found}"
        seconds, used = ("" if value is None else f"{value:.1f}" for value in (self.seconds, self.used))
        return [self.case, self.wanted, found, seconds, used, "" if self.peak is None else f"{self.peak / 1e6:.0f}"]


HEAD = ["case", "wanted", "found", "s", "processor s", "MB"]


@dataclass(frozen=True)
class Ended:
    """How the command ended.

    Attributes:
        code: as the shell has it, negative for a signal.
        seconds, used, peak: as a Row has them.
    """

    code: int
    out: str
    err: str
    seconds: float
    peak: int
    used: float

    @property
    def last(self) -> str:
        return (self.err.splitlines() or [""])[-1]

    def unlike(self, code: int, *words: str) -> str:
        """What is wrong with the end of a run that should have had this code, and these words in stderr's last line; "" if nothing."""
        if "Traceback" in self.err:
            return "a traceback"
        if self.code != code:
            return f"code {self.code}: {self.last[-300:]}"
        if any(not line.startswith("surfrecon: ") for line in self.err.splitlines()):
            return f"stderr holds more than sentences: {self.err[:300]!r}"
        missing = [word for word in words if word not in self.last]
        return f"no {missing[0]!r} in {self.last!r}" if missing else ""


class Started:
    """A running command; ended() waits for it."""

    def __init__(
        self,
        *arguments: object,
        prelude: str = "",
        limits: Mapping[int, int] | None = None,
        cwd: Path | None = None,
        before: tuple[str, ...] = (),
        stdout: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ):
        """Args:
        arguments: of reconstruct-from-scan.
        prelude: Python that runs before it.
        limits: resource.RLIMIT_... -> value.
        before: words of the command that runs it, such as setpriv's.
        stdout: where its output goes, if it isn't kept.
        """

        def prepare() -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores it
            if limits:
                import resource

                for name, value in limits.items():
                    resource.setrlimit(name, (value, value))

        self.files = [tempfile.TemporaryFile() for _ in range(2)]
        command = [*before, sys.executable, "-c", prelude + ENTRY, *map(str, arguments)]
        self.begun = time.perf_counter()
        with open(stdout or os.devnull, "r+b") as elsewhere:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=elsewhere if stdout else self.files[0],
                stderr=self.files[1],
                cwd=cwd,
                preexec_fn=prepare,
                env=dict(os.environ) | dict(environment or {}),
            )

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)  # which is nobody else's before ended()

    def wait_for(self, file: Path) -> None:
        """Until a file is there, or the process has ended."""
        while not file.exists() and os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            time.sleep(0.02)

    def seconds(self) -> float:
        return time.perf_counter() - self.begun

    def said(self) -> str:
        """Its stderr so far."""
        return os.pread(self.files[1].fileno(), 1 << 20, 0).decode(errors="replace")

    def ended(self) -> Ended:
        watch = threading.Timer(PATIENCE, self.process.kill)
        watch.daemon = True
        watch.start()
        _, status, usage = os.wait4(self.process.pid, 0)
        seconds = self.seconds()
        watch.cancel()
        self.process.returncode = os.waitstatus_to_exitcode(status)
        out, err = (os.pread(file.fileno(), 1 << 24, 0).decode(errors="replace") for file in self.files)
        for file in self.files:
            file.close()
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return Ended(self.process.returncode, out, err, seconds, peak, usage.ru_utime + usage.ru_stime)


def ran(*arguments: object, **options) -> Ended:
    """Run reconstruct-from-scan to its end; options as Started has them."""
    return Started(*arguments, **options).ended()


def names(folder: Path) -> list[str]:
    """Every file below a folder, and every empty folder, sorted."""
    every = [path for path in folder.rglob("*") if path.is_file() or not any(path.iterdir())]
    return sorted(path.relative_to(folder).as_posix() for path in every)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unsound(file: Path) -> str:
    """What is wrong with a mesh file that should hold a closed, manifold solid once vertices at one place are one; "" if nothing."""
    stored = read_mesh(file)
    if not np.isfinite(stored.vertices).all():
        return "vertices are not finite"
    vertices, vertex = np.unique(stored.vertices, axis=0, return_inverse=True)
    return "" if inspect(Mesh(vertices, vertex.reshape(-1)[stored.faces])).solid else "it isn't solid"


def row(case: str, wanted: str, wrong: str, ended: Ended, found: str) -> Row:
    """A row of a command that ended; `wrong` says what isn't as wanted, "" if nothing."""
    return Row(case, wanted, ascii(wrong)[1:-1] if wrong else found, not wrong, ended.seconds, ended.peak, ended.used)
