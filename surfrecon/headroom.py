"""How much memory there is, and a MemoryError in time where a library would end the process for want of it."""

from __future__ import annotations

import sys
from pathlib import Path

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
CGROUP_USED = Path("/sys/fs/cgroup/memory.current")


def available() -> int | None:
    """Bytes that this process may still take, a container's and `ulimit -v`'s limits included; None where the system doesn't say."""
    known = [bytes for bytes in (_free(), free_addresses()) if bytes is not None]
    return min(known, default=None)


def suffices(bytes: float) -> bool:
    """Whether so much more is there, as far as the system says."""
    free = available()
    return free is None or bytes <= free


def demand(bytes: float, what: str) -> None:
    """Raise a MemoryError unless so much more is there: for libraries that crash where an allocation fails."""
    if not suffices(bytes):
        raise MemoryError(f"{what} takes {bytes / 1e6:.0f} MB")


def free_addresses() -> int | None:
    """Bytes that the limit on this process's addresses leaves; None where there is none."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError, ValueError):  # not on Linux
        return None
    return None if limit == resource.RLIM_INFINITY else limit - used


def _free() -> int | None:
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None
    try:
        return min(free, int(CGROUP_LIMIT.read_text()) - int(CGROUP_USED.read_text()))
    except (OSError, ValueError):  # no container, or "max"
        return free


def peak() -> int | None:
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
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
