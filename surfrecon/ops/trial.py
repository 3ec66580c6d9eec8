"""The first use of a backend whose kernels are compiled where they run: if it fails, it fails here, where another can take over."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch

from surfrecon.errors import InputError, is_out_of_memory

_passed: set[Hashable] = set()


class Unusable(Exception):
    """A backend can't compute although it should; the text says why."""


def trial(what: Hashable, compute: Callable[[], object]) -> None:
    """Compute something small on the GPU once for each `what`, and wait for it; never while a graph is captured, which forbids waiting.

    Raises:
        Unusable: it failed, for a reason other than its input or memory.
    """
    if what in _passed or not torch.cuda.is_available() or torch.cuda.is_current_stream_capturing():
        return
    try:
        compute()
        torch.cuda.synchronize()
    except Exception as error:
        if isinstance(error, InputError) or is_out_of_memory(error):
            raise
        raise Unusable(f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}") from error
    _passed.add(what)
