"""A headless Chromium for tests, through its debugging pipe: what pages of files say, ask for and draw."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SOFTWARE_GL = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions")
SMALL_MACHINE = ("--disable-dev-shm-usage",)  # containers have little shared memory
PATIENCE = 60.0  # seconds for an answer: software GL on a busy machine is slow


def executable() -> str | None:
    """A Chromium of this machine, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page in a window of a given size.

    Attributes:
        said: texts of the console's errors and warnings, and of uncaught exceptions.
        requests: URLs that the page has asked for.
    """

    def __init__(self, profile: Path, *, size: tuple[int, int] = (1280, 900), dark: bool = False, webgl: bool = True):
        self.said: list[str] = []
        self.requests: list[str] = []
        self._number, self._read = 0, b""
        self._in, out = os.pipe()  # named as seen from here: answers come in
        commands, self._out = os.pipe()
        gl = SOFTWARE_GL if webgl else ("--disable-gpu", "--disable-3d-apis")
        options = ("--headless=new", "--no-sandbox", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--hide-scrollbars")
        command = [executable(), *options, *QUIET, *SMALL_MACHINE, *gl, "about:blank"]
        shell = f'exec "$@" 3<&{commands} 4>&{out}'  # the pipe's ends are numbers 3 and 4
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command], pass_fds=(commands, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(commands)
        os.close(out)
        self._session = None
        page = next(target for target in self._ask("Target.getTargets")["targetInfos"] if target["type"] == "page")
        self._session = self._ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")
        self._ask("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=size[0] < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def open(self, file: Path) -> None:
        self.requests.clear()
        self._ask("Page.navigate", url=file.resolve().as_uri())
        self.wait("document.readyState === 'complete'")

    def value(self, expression: str) -> Any:
        """What JavaScript makes of an expression; promises are awaited."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.value(expression):
            assert time.monotonic() < end, f"{expression} has not come true in {PATIENCE:g} s; the page said {self.said}"
            time.sleep(0.05)

    def screenshot(self, whole: bool = False) -> bytes:
        """A PNG of the window, or of the whole page."""
        return base64.b64decode(self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])

    def _ask(self, method: str, **parameters) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while True:
            answer = self._next(end)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._hear(answer)

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._read:
            assert select.select([self._in], [], [], max(end - time.monotonic(), 0))[0], "the browser doesn't answer"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser has gone"
            self._read += part
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)

    def _hear(self, event: dict[str, Any]) -> None:
        facts = event.get("params", {})
        match event.get("method"):
            case "Runtime.consoleAPICalled" if facts["type"] in ("error", "warning", "assert"):
                self.said.append(" ".join(str(item.get("value", item.get("description"))) for item in facts["args"]))
            case "Runtime.exceptionThrown":
                self.said.append(str(facts["exceptionDetails"].get("exception", {}).get("description", facts)))
            case "Log.entryAdded" if facts["entry"]["level"] in ("error", "warning"):
                self.said.append(facts["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(facts["request"]["url"])
