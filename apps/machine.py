"""What this machine offers: processors, memory, devices."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from surfrecon.errors import InputError

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
CGROUP_USED = Path("/sys/fs/cgroup/memory.current")


def available_memory() -> int | None:
    """Bytes that a process may still take, a container's limit included; None where the system doesn't say."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        return min(free, int(CGROUP_LIMIT.read_text()) - int(CGROUP_USED.read_text()))
    except (OSError, ValueError):  # no container, or "max"
        return free


def peak_memory() -> int | None:
    """Most bytes that this process has held so far; None where the system doesn't say (Windows)."""
    try:
        status = Path("/proc/self/status").read_text()  # Linux; its rusage begins with what the parent held when it forked
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, IndexError, ValueError):
        pass
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cpu_count() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


def device_problem(name: str) -> str | None:
    """Why torch can't compute on a device, None if it can: a GPU that is there may still lack a driver or kernels that fit it."""
    import torch

    try:
        torch.zeros(1, device=name).add(1).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return str(error).splitlines()[0]
    return None


def chosen_device(name: str) -> tuple[str, str | None]:
    """The device that a name stands for, and a warning where "auto" has to pass over a GPU.

    Raises:
        InputError: a device asked for by name can't be used.
    """
    import torch

    if name != "auto":
        problem = device_problem(name)
        if problem:
            raise InputError(f"device {name!r} can't be used ({problem}); leave --device out, or see surfrecon doctor")
        return name, None
    if not torch.cuda.is_available():
        return "cpu", None
    problem = device_problem("cuda")
    return ("cpu", f"the GPU can't be used ({problem}): computing on the CPU") if problem else ("cuda", None)
