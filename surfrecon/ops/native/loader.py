"""The compiled library: found, checked and loaded at the first call of one of its functions.

setup.py compiles all C++ files here into one shared library a variant: for any processor of the machine's kind, and, on x86-64, for those
with AVX2 and FMA and for those with AVX-512. They are loaded by ctypes after torch, so that both share torch's OpenMP.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from surfrecon.errors import InputError

INTERFACE = 8  # SURFRECON_INTERFACE in interface.h
FOLDER = Path(__file__).parent
BASELINE = "baseline"
FASTER = {"x86-64-v4": 4, "x86-64-v3": 3}  # variants and the level of x86-64 that they need, the fastest first
SUFFIXES = (".so", ".dylib")
BUILD_AGAIN = "install surfrecon again where a C++ compiler is found"

_forced: str | None = None  # by using()

# Arguments of C functions
FLOATS = INTS = LONGS = BYTES = ctypes.c_void_p  # data_ptr() of float32, int32, int64, uint8
SIZE = ctypes.c_int64
COUNT = ctypes.c_int32
REAL = ctypes.c_float


def available() -> tuple[bool, str]:
    """Whether there is a library that this machine can run, and which, or why not, in one sentence without its full stop."""
    try:
        return True, f"C++, {variant()}"
    except InputError as error:
        return False, str(error)


def variant() -> str:
    """Name of the library in use: the fastest that this processor runs.

    Raises:
        InputError: there is none.
    """
    return _forced or _best()


@contextmanager
def using(name: str) -> Iterator[None]:
    """Let functions come from another variant, for tests.

    Raises:
        InputError: this machine can't run it.
    """
    global _forced
    if name not in variants():
        raise InputError(f"there is no variant {name!r} that runs here, only {', '.join(variants()) or 'none'}")
    before, _forced = _forced, name
    try:
        yield
    finally:
        _forced = before


@cache
def variants() -> tuple[str, ...]:
    """The variants that are here and run on this processor, the fastest first."""
    if _problem(BASELINE):
        return ()
    level = _ask(BASELINE, "surfrecon_x86_64_level")
    return (*(name for name, needed in FASTER.items() if needed <= level and not _problem(name)), BASELINE)


def function(name: str, argtypes: Sequence[type], result: type | None = None) -> Callable:
    """A function of the library in use, looked up when it is first called.

    Args:
        name: in C.
        argtypes: ctypes types of its arguments; pointers are given as data_ptr().
        result: ctypes type of its result, if it has one.
    """

    @cache
    def bound(variant: str) -> Callable:
        found = getattr(_open(variant), name)
        found.argtypes, found.restype = list(argtypes), result
        return found

    return lambda *arguments: bound(variant())(*arguments)


def checked(tensor: Tensor, name: str, shape: Sequence[int | None], dtype: torch.dtype) -> Tensor:
    """The tensor, contiguous, on the CPU; its memory must be kept until the call returns.

    Args:
        shape: sizes, None where any will do.
    Raises:
        InputError: device, dtype or shape are others.
    """
    fits = tensor.ndim == len(shape) and all(want in (None, size) for want, size in zip(shape, tensor.shape))
    if not fits or tensor.dtype != dtype or tensor.device.type != "cpu":
        want = f"({', '.join('any' if size is None else str(size) for size in shape)}) {dtype} on the cpu"
        raise InputError(f"{name} must be {want}, got {tuple(tensor.shape)} {tensor.dtype} on the {tensor.device.type}")
    return tensor.contiguous()


def threads() -> int:
    """How many threads a kernel may use: as many as torch."""
    return torch.get_num_threads()


def _file(name: str) -> Path | None:
    files = (FOLDER / f"libsurfrecon-{name}{suffix}" for suffix in SUFFIXES)
    return next((file for file in files if file.exists()), None)


@cache
def _open(name: str) -> ctypes.CDLL:
    return ctypes.CDLL(str(_file(name)))


def _ask(name: str, question: str) -> int:
    return getattr(_open(name), question)()  # ctypes takes results for int where it isn't told otherwise


def _problem(name: str) -> str | None:
    """Why a library can't be used, None if it can."""
    if _file(name) is None:
        return f"no native library was built at installation; {BUILD_AGAIN}"
    try:
        found = _ask(name, "surfrecon_interface")
    except (OSError, AttributeError) as error:
        return f"the native library doesn't load ({error}); {BUILD_AGAIN}"
    return None if found == INTERFACE else f"the native library is of interface {found}, wanted {INTERFACE}; {BUILD_AGAIN}"


@cache
def _best() -> str:
    if variants():
        return variants()[0]
    raise InputError(_problem(BASELINE))
