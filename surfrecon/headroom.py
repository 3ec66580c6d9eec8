"""How much memory there is, and a MemoryError in time where a library would end the process for want of it."""

from __future__ import annotations

import sys
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # of a container: limit, use, and what of it is a cache of files, which gives way
CACHES = ("active_file", "inactive_file")
MANIFOLD3D_BYTES = 500  # a face: it takes 380, and ends the process with a segmentation fault where it can't have them


def available(*, swap: bool = False) -> int | None:
    """Bytes that this process may still take, a container's and `ulimit -v`'s limits included; None where the system doesn't say.

    Args:
        swap: whether those on a disk count, which are slow.
    """
    known = [bytes for bytes in (_free(swap), free_addresses()) if bytes is not None]
    return min(known, default=None)


def suffices(bytes: float) -> bool:
    """Whether so much more is there, as far as the system says."""
    free = available(swap=True)
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


def _free(swap: bool) -> int | None:
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = 1024 * sum(int(lines[name].split()[0]) for name in (("MemAvailable", "SwapFree") if swap else ("MemAvailable",)))
    except (OSError, KeyError, ValueError):
        return None
    try:
        limit, used = (int((CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        kinds = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        return min(free, limit - used + sum(int(kinds[cache]) for cache in CACHES))
    except (OSError, ValueError, KeyError):  # no container, or "max"
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
