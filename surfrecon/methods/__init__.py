"""The methods by name, loaded on use: 'module:Class'. A class is its settings; fit() is its behaviour.

Each has `PRESETS`, the kinds of scans that it `accepts`, `starts_from` (a method and its settings whose field it starts from, or None),
fit(scan, run, start) and foresee(scan), the time and memory that a fit will take.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.run import Run

if TYPE_CHECKING:
    from surfrecon.fields import Field

METHODS = {"gridpull": "surfrecon.methods.gridpull:GridPull", "hashsdf": "surfrecon.methods.hashsdf:HashSdf"}


def method_class(name: str) -> type:
    """The class of a method.

    Raises:
        InputError: no such method.
    """
    if name not in METHODS:
        raise InputError(f"there is no method {name!r}; choose one of {', '.join(METHODS)}")
    module, _, attribute = METHODS[name].partition(":")
    return getattr(import_module(module), attribute)


def fitted(method: Any, unit: PointCloud, run: Run) -> Field:
    """A method's field of a scan in the unit frame, over the start that it asks for, if it asks for one."""
    if method.starts_from is None:
        return method.fit(unit, run)
    name, settings = method.starts_from
    before = replace(run, folder=None, resume=False)  # checkpoints are the method's own; its start is made again
    start = method_class(name)(**settings).fit(unit, before)
    run.cut, run.stopped = run.cut or before.cut, before.stopped
    return start if run.stopped else method.fit(unit, run, start)
