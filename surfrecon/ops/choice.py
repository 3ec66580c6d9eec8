"""Which backend computes what: chosen by op, device, dtype and preference.

`native` computes in float32 on CPUs what it has a kernel for, if its library loads here; `reference` computes everything else. The
preference is the process's: the command sets it once, before it computes.
"""

from __future__ import annotations

import logging
from functools import cache
from types import ModuleType

import torch
from torch import Tensor

from surfrecon.errors import InputError
from surfrecon.ops import native, reference

log = logging.getLogger("surfrecon")

BACKENDS = ("native", "reference")
PLAIN = "plain torch"

_preference = "auto"


def use(backend: str = "auto", *, device: str = "auto") -> None:
    """Compute by one backend from now on, or by the fastest ("auto").

    Raises:
        InputError: there is no such backend, or it can't compute on the device.
    """
    global _preference
    choices(device, backend)
    _preference = backend


def choices(device: str = "auto", backend: str | None = None) -> list[tuple[str, str, str]]:
    """(op, backend, reason) for every op, in float32.

    Args:
        device: as torch names it; "auto" is a GPU where there is one.
        backend: "auto" or the name of one; None is what use() was given last.
    Raises:
        InputError: there is no such backend, or it can't compute on the device.
    """
    backend = _preference if backend is None else backend
    if backend not in ("auto", *BACKENDS):
        raise InputError(f"there is no backend {backend!r}; choose among auto, {', '.join(BACKENDS)}")
    problem = _native_problem(device)
    if backend == "native" and problem:
        raise InputError(f"the backend native can't be used: {problem}; leave --backend out, or take reference")
    if backend == "reference":
        return [(op, "reference", f"{PLAIN}, as asked for") for op in OPS]
    rows = []
    for op in OPS:
        if op not in native.KERNELS:
            rows.append((op, "reference", f"{PLAIN}: the only backend that has it"))
        elif problem:
            rows.append((op, "reference", f"{PLAIN}: {problem}"))
        else:
            rows.append((op, "native", f"{native.available()[1]}; {PLAIN} where numbers aren't float32"))
    return rows


def backend_of(op: str, *tensors: Tensor) -> ModuleType:
    """The backend, as a module, that computes an op of these tensors now."""
    fits = all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in tensors)
    if op not in native.KERNELS or not fits or _preference == "reference":
        return reference
    return native if _native_loads() else reference


def _native_problem(device: str) -> str | None:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not device.startswith("cpu"):
        return f"native computes on the CPU, not on {device}"
    loads, reason = native.available()
    return None if loads else reason


@cache
def _native_loads() -> bool:
    """Whether there is a library, and, the first time, a word to the user if there is none."""
    loads, reason = native.available()
    if not loads:
        log.warning("computing by plain torch, several times slower: %s", reason)
    return loads


OPS = tuple(op for op in reference.__all__ if callable(getattr(reference, op)))
