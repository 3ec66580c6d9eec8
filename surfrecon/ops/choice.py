"""Which backend computes what: chosen by op, device, dtype and preference.

In float32 `triton` computes on NVIDIA GPUs and `native` on CPUs what they have kernels for, where they run; `tcnn` and
`nerfacc` come in on GPUs where triton doesn't. `reference` computes everything else. The preference is the process's: the command sets it
once, before it computes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import TypeVar

import torch
from torch import Tensor

from surfrecon.errors import InputError
from surfrecon.ops import native, nerfacc, reference, tcnn, triton
from surfrecon.ops.trial import Unusable

log = logging.getLogger("surfrecon")

MODULES = {"triton": triton, "native": native, "tcnn": tcnn, "nerfacc": nerfacc, "reference": reference}
BACKENDS = tuple(MODULES)  # of several that can compute an op the first does
USUAL = {"cuda": "triton", "cpu": "native"}  # whose absence is worth a warning
PLAIN = "plain torch"

Result = TypeVar("Result")

_preference = "auto"
_given_up: dict[str, str] = {}  # backend -> how it failed when it was first used


def use(backend: str = "auto", *, device: str = "auto", precision: str = triton.PRECISIONS[0]) -> None:
    """Compute by one backend from now on, where it has the op, or by the fastest ("auto").

    Args:
        device: as torch names it; "auto" is a GPU where there is one.
        precision: of products on a GPU's tensor cores: "tf32", "bf16" or "ieee".
    Raises:
        InputError: there is no such backend or precision, or it can't compute on the device.
    """
    global _preference
    choices(device, backend)
    triton.use_precision(precision)
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
    found = candidates(device)
    problems = {name: problem for name, problem, _ in found}
    if problems.get(backend):
        others = "; ".join(f"{name}: {problem or 'fits'}" for name, problem, _ in found if name != backend)
        raise InputError(f"the backend {backend} can't be used: {problems[backend]}; leave --backend out, or take another ({others})")
    return [(op, *_chosen(op, backend, found)) for op in OPS]


def candidates(device: str = "auto") -> list[tuple[str, str | None, str]]:
    """(backend, why it can't compute on the device or None, what it is), in the order of preference.

    Raises:
        InputError: there is no such device.
    """
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    except RuntimeError:
        raise InputError(f"device {device!r} can't be used: torch knows none of that name; leave it out to take what is there") from None
    what = {
        "triton": f"kernels compiled for this GPU, products in {triton.precision()}",
        "native": native.available()[1],
        "tcnn": "tinycudann's encoding, layers by torch",
        "nerfacc": "nerfacc's sums along rays, opacities by torch",
        "reference": PLAIN,
    }
    return [(name, _problem(name, device), what[name]) for name in BACKENDS]


def backend_of(op: str, *tensors: Tensor) -> ModuleType:
    """The backend, as a module, that computes an op of these tensors now."""
    device = tensors[0].device
    if all(tensor.device == device and tensor.dtype == torch.float32 for tensor in tensors):
        for name in BACKENDS[:-1]:
            if _preference in ("auto", name) and op in MODULES[name].KERNELS and name not in _given_up and _works(name, device):
                return MODULES[name]
    return reference


def computed(op: str, tensors: list[Tensor], call: Callable[[ModuleType], Result]) -> Result:
    """What `call` returns for the backend of an op of these tensors; for the next one from now on if that fails at its first use."""
    backend = backend_of(op, *tensors)
    try:
        return call(backend)
    except Unusable as failure:
        name = next(name for name, module in MODULES.items() if module is backend)
        _given_up[name] = f"it failed when it was first used: {failure}"
        log.warning("the backend %s isn't used any more: %s", name, failure)
        return computed(op, tensors, call)


def _chosen(op: str, backend: str, found: list[tuple[str, str | None, str]]) -> tuple[str, str]:
    """Backend and reason."""
    if backend == "reference":
        return "reference", f"{PLAIN}, as asked for"
    having = [row for row in found[:-1] if op in MODULES[row[0]].KERNELS and backend in ("auto", row[0])]
    for name, problem, what in having:
        if problem is None:
            return name, f"{what}; {PLAIN} where numbers aren't float32"
    problems = "; ".join(problem for _, problem, _ in having)
    return "reference", f"{PLAIN}: {problems or 'the only backend that has it'}"


def _problem(name: str, device: torch.device) -> str | None:
    if name in _given_up:
        return _given_up[name]
    if name == "reference":
        return None
    if name != "native":
        return MODULES[name].problem(device)
    if device.type != "cpu":
        return f"native computes on the CPU, not on {device}"
    loads, reason = native.available()
    return None if loads else reason


@cache
def _works(name: str, device: torch.device) -> bool:
    """Whether a backend computes on a device, and, the first time, a word to the user if the usual one doesn't."""
    problem = _problem(name, device)
    if problem and name == USUAL.get(device.type):
        log.warning("computing by plain torch, several times slower: %s", problem)
    return problem is None


OPS = tuple(op for op in reference.__all__ if callable(getattr(reference, op)))
