"""What this machine offers: processors, addresses, devices."""

from __future__ import annotations

import os
import threading

from surfrecon import headroom
from surfrecon.errors import InputError, ResourceError

LEAST_ADDRESSES = 950_000_000  # bytes that the libraries need for the smallest scan; with less one of them may end the process
THREAD_ADDRESSES = 1 << 20  # of a thread's stack, usually 8 MB: scipy's trees crash where the second of their threads can't have its own


def check_address_space() -> None:
    """Refuse to begin where libraries would end the process without a word; where addresses are limited, take fewer of them for threads.

    Raises:
        ResourceError: `ulimit -v` leaves too little.
    """
    free = headroom.free_addresses()
    if free is not None and free < LEAST_ADDRESSES:
        need = f"the least that the libraries need is {LEAST_ADDRESSES / 1e6:.0f} MB"
        raise ResourceError(f"out of memory: a limit (ulimit -v) leaves {max(0, free) / 1e6:.0f} MB, {need}; raise the limit")
    if free is not None:
        threading.stack_size(THREAD_ADDRESSES)


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
