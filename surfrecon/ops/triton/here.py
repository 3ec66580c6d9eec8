"""Whether Triton's kernels can run here, how precisely they multiply, and what they take."""

from __future__ import annotations

import os
from importlib.util import find_spec

import torch
from torch import Tensor

from surfrecon.errors import InputError

OLDEST_GPU = (8, 0)  # compute capability: the first whose tensor cores take tf32 and bf16
MOST_POINTS = 2**29  # so that int32 counts their coordinates
# Numbers that enter a product on the tensor cores keep 11 bits (tf32), 8 bits (bf16, twice as fast) or all 24 (ieee, on other units, for
# tests); sums are float32 always.
PRECISIONS = ("tf32", "bf16", "ieee")

POINTS, WARPS = 16, 8  # of a program on a hash grid: of all tiles tried the one that leaves registers free, for sm_80 and sm_90
POINTS_INTERPRETED = 512  # there the time goes by instruction

_precision = PRECISIONS[0]


def precision() -> str:
    return _precision


def use_precision(name: str) -> None:
    """Multiply by this precision from now on.

    Raises:
        InputError: there is no such precision.
    """
    global _precision
    if name not in PRECISIONS:
        raise InputError(f"there is no precision {name!r}; choose among {', '.join(PRECISIONS)}")
    _precision = name


def problem(device: torch.device) -> str | None:
    """Why the kernels can't run on a device, None if they can. Doesn't import triton."""
    if device.type != "cuda":
        return f"triton computes on NVIDIA GPUs, not on {device}"
    if torch.version.hip is not None:
        return "the kernels for triton are written for NVIDIA GPUs"
    if not torch.cuda.is_available():
        return "torch sees no NVIDIA GPU"
    if find_spec("triton") is None:
        return "triton isn't installed: pip install triton"
    found = torch.cuda.get_device_capability(device)
    if found < OLDEST_GPU:
        return f"the kernels for triton need compute capability {'.'.join(map(str, OLDEST_GPU))}, {device} has {'.'.join(map(str, found))}"
    return None


def require(tensor: Tensor, name: str) -> None:
    """Raise InputError unless the kernels take a tensor: float32, on a GPU (or, interpreted, anywhere), not too long."""
    place = "cpu" if interpreted() else "cuda"
    if tensor.dtype != torch.float32 or tensor.device.type not in ("cuda", place):
        raise InputError(f"{name} must be float32 on a {place} device, got {tensor.dtype} on the {tensor.device}")
    if len(tensor) > MOST_POINTS:
        raise InputError(f"{name} must have at most {MOST_POINTS:,} rows, got {len(tensor):,}; take them in parts")


def points() -> int:
    """Of one program."""
    return POINTS_INTERPRETED if interpreted() else POINTS


def interpreted() -> bool:
    """Whether kernels run in Triton's interpreter, on the CPU and slowly: the tests do so."""
    return os.environ.get("TRITON_INTERPRET") == "1"
