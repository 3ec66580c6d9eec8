"""The surface of a running fit in a window of its own process: Preview feeds it from the run, serve() is what that process does.

A surface goes through a pipe as three lengths and two arrays; the end of the pipe, or of this process, closes the window.
"""

from __future__ import annotations

import logging
import math
import signal
import struct
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING

from surfrecon.errors import MissingDependencyError, SurfreconError

if TYPE_CHECKING:
    from surfrecon.geometry import Mesh
    from surfrecon.run import Step

log = logging.getLogger("surfrecon")

RESOLUTION = 64
INTERVAL = 3.0  # seconds between surfaces at least
SHARE = 0.1  # of the time may go into surfaces to look at
READY = b"ready\n"
HEAD = struct.Struct("<QQ")  # vertices, faces


class Preview:
    """Run.on_step that shows the surface so far; closing the window lets the run go on.

    Raises:
        MissingDependencyError: Open3D, a display or OpenGL is missing.
    """

    def __init__(self):
        command = [sys.executable, "-m", "surfrecon.apps.viewer"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.window = subprocess.Popen(command, **pipes, start_new_session=True)  # Ctrl-C is for the run
        if self.window.stdout.readline() != READY:
            said = self.window.communicate()[1].decode(errors="replace").strip().splitlines()
            raise MissingDependencyError(said[-1] if said else f"the window's process ended with code {self.window.returncode}")
        threading.Thread(target=self.window.stderr.read, daemon=True).start()  # or a talkative driver would block it
        self.due, self.shown = 0.0, 0

    def __enter__(self) -> Preview:
        return self

    def __exit__(self, *_) -> None:
        log.debug("the window showed %d surfaces", self.shown)
        try:
            self.window.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.window.wait(5)
        except subprocess.TimeoutExpired:
            self.window.kill()
            self.window.wait()

    def __call__(self, step: Step) -> None:
        if step.surface is None or time.monotonic() < self.due:
            return
        from surfrecon.extract import marching_cubes

        if self.window.poll() is not None:
            return self._closed()
        started = time.monotonic()
        try:
            mesh = marching_cubes(step.surface, resolution=RESOLUTION)
            send(mesh, self.window.stdin)
            self.shown += 1
        except BrokenPipeError:
            return self._closed()
        except SurfreconError as error:  # there is no surface yet
            log.debug("nothing to show: %s", error)
        now = time.monotonic()
        self.due = now + max(INTERVAL, (now - started) / SHARE)

    def _closed(self) -> None:
        log.info("the window was closed; the run goes on")
        self.due = math.inf


def send(mesh: Mesh, pipe: IO[bytes]) -> None:
    """Write a mesh for receive()."""
    pipe.write(HEAD.pack(len(mesh.vertices), len(mesh.faces)))
    pipe.write(mesh.vertices.astype("<f8").tobytes() + mesh.faces.astype("<i8").tobytes())
    pipe.flush()


def receive(pipe: IO[bytes]) -> Mesh | None:
    """The next mesh, None at the end of the pipe."""
    import numpy as np

    from surfrecon.geometry import Mesh

    head = pipe.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    vertices, faces = HEAD.unpack(head)
    body = pipe.read(24 * (vertices + faces))
    if len(body) < 24 * (vertices + faces):
        return None
    split = 24 * vertices
    return Mesh(np.frombuffer(body[:split], "<f8").reshape(-1, 3), np.frombuffer(body[split:], "<i8").reshape(-1, 3))


def serve() -> int:
    """The window's process: show each surface that comes, until there are no more or the window is closed; its exit code."""
    from surfrecon.apps.viewer import FRAME, Window, check_display

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    newest, ended = [], threading.Event()

    def read() -> None:
        while (mesh := receive(sys.stdin.buffer)) is not None:
            newest.append(mesh)
        ended.set()

    try:
        check_display()
        with Window([], title="surfrecon: the surface so far") as window:
            sys.stdout.buffer.write(READY)
            sys.stdout.flush()
            threading.Thread(target=read, daemon=True).start()
            while window.poll() and not ended.is_set():
                if newest:
                    mesh = newest.pop()
                    newest.clear()
                    if len(mesh.faces):
                        window.show(mesh)
                time.sleep(FRAME)
    except SurfreconError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0
