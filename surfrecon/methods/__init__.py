"""The methods by name, loaded on use: 'module:Class'. A class is its settings; fit() is its behaviour.

Each has `PRESETS`, the kinds of scans that it `accepts`, `starts_from` (a method and its settings whose field it starts from, or None),
`refined_by` (one that goes on from its own field, or None), fit(scan, run, start) and foresee(scan), the time and memory that a fit will
take. One that `follows` fits the next frame of a sequence sooner when it gets its own field of the frame before: fit(scan, run, start,
before).
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
    from surfrecon.views import Scan

METHODS = {
    "gridpull": "surfrecon.methods.gridpull:GridPull",
    "hashsdf": "surfrecon.methods.hashsdf:HashSdf",
    "convonet": "surfrecon.methods.convonet:ConvONet",
    "neus2": "surfrecon.methods.neus2:NeuS2",
}


def method_class(name: str) -> type:
    """The class of a method.

    Raises:
        InputError: no such method.
    """
    if name not in METHODS:
        raise InputError(f"there is no method {name!r}; choose one of {', '.join(METHODS)}")
    module, _, attribute = METHODS[name].partition(":")
    return getattr(import_module(module), attribute)


def methods_for(scan: Scan) -> list[str]:
    """The names of the methods that take a scan of this kind, the one to prefer first."""
    return [name for name in METHODS if isinstance(scan, method_class(name).accepts)]


def given(method: Any, scan: Scan, points: PointCloud | None) -> Scan:
    """What a method gets of a scan: the scan, where it takes its kind, else the points that photographs agree on."""
    return scan if isinstance(scan, method.accepts) else points


def fitted(method: Any, unit: Scan, run: Run, points: PointCloud | None = None, before: Field | None = None) -> Field:
    """A method's field of a scan in the unit frame, over the start that it asks for, if it asks for one.

    Args:
        unit: the scan.
        points: that photographs agree on, for methods that take points only.
        before: the method's field of the frame before, where the object is in the same place.
    """
    *earlier, last = stages(method)
    field = None
    for first in earlier:
        aside = replace(run, folder=None, resume=False)  # checkpoints are the last one's own; what it starts from is made again
        field = first.fit(given(first, unit, points), aside, field)
        run.cut, run.stopped = run.cut or aside.cut, aside.stopped
        if run.stopped:
            return field
    known = {"before": before} if last.follows and before is not None else {}
    return last.fit(given(last, unit, points), run, field, **known)


def stages(method: Any) -> list[Any]:
    """The methods that fit one after the other, each over the field before: what one starts from, itself, what goes on from it."""
    made = lambda other: [] if other is None else [method_class(other[0])(**other[1])]
    return [*made(method.starts_from), method, *made(method.refined_by)]
