"""What this machine offers: processors, memory, devices."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from surfrecon.errors import InputError, ResourceError

LEAST_ADDRESSES = 750_000_000  # bytes that torch and the other libraries need before the work begins; with less torch ends the process
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
CGROUP_USED = Path("/sys/fs/cgroup/memory.current")


def available_memory() -> int | None:
    """Bytes that a process may still take, a container's and `ulimit -v`'s limits included; None where the system doesn't say."""
    known = [bytes for bytes in (_free_memory(), _free_addresses()) if bytes is not None]
    return min(known, default=None)


def check_address_space() -> None:
    """Refuse to begin where libraries would end the process without a word.

    Raises:
        ResourceError: `ulimit -v` leaves too little.
    """
    free = _free_addresses()
    if free is not None and free < LEAST_ADDRESSES:
        need = f"the least that the libraries need is {LEAST_ADDRESSES / 1e6:.0f} MB"
        raise ResourceError(f"out of memory: a limit (ulimit -v) leaves {max(0, free) / 1e6:.0f} MB, {need}; raise the limit")


def _free_addresses() -> int | None:
    """Bytes that the limit on this process's addresses leaves; None where there is none."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError, ValueError):  # not on Linux
        return None
    return None if limit == resource.RLIM_INFINITY else limit - used


def _free_memory() -> int | None:
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
