"""Memory of kernels that is used again: pages that a process gets for the first time cost as much as what is computed in them."""

from __future__ import annotations

import ctypes
import math
import weakref
from collections import deque

import torch
from torch import Tensor

from surfrecon.ops.native.loader import SIZE, function

LARGE, LARGEST = 2**22, 2**28  # bytes of what is kept; from LARGE on, large pages are asked for
KEPT = 4  # arrays that nobody uses: two steps have as many, of tiles and of a table's gradient

_kept: deque = deque(maxlen=KEPT)
_large_pages = function("surfrecon_large_pages", [ctypes.c_void_p, SIZE])


def empty(*shape: int) -> Tensor:
    """A float32 tensor of arbitrary numbers. Its memory is used again once it and all that share its memory are gone."""
    count = math.prod(shape)
    if 4 * count < LARGE:
        return torch.empty(shape)
    memory = _taken(count)
    lent = memory[:]
    if 4 * count <= LARGEST:
        weakref.finalize(lent, _kept.append, memory).atexit = False
    return torch.from_numpy(lent).view(shape)


def _taken(count: int):
    """An array of so many numbers, a kept one if there is one."""
    for _ in range(len(_kept)):
        try:
            memory = _kept.popleft()
        except IndexError:  # another thread was faster
            break
        if len(memory) == count:
            return memory
        _kept.append(memory)
    fresh = torch.empty(count)  # on a cache line's border, other than numpy's
    _large_pages(fresh.data_ptr(), 4 * count)
    return fresh.numpy()
