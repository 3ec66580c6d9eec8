"""Whether a package of others, with kernels for NVIDIA GPUs, can be used here."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import torch


def problem(backend: str, package: str, device: torch.device) -> str | None:
    """Why a backend that needs a package can't compute on a device, None if it can. Imports it where nothing else is in the way."""
    if device.type != "cuda":
        return f"{backend} computes on NVIDIA GPUs, not on {device}"
    if not torch.cuda.is_available():
        return "torch sees no NVIDIA GPU"
    if find_spec(package) is None:
        return f"{package} isn't installed"
    try:
        import_module(package)
    except Exception as error:  # they raise several kinds: no GPU, one it wasn't built for, another torch
        return f"{package} doesn't load: {error}"
    return None
