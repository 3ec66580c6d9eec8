"""Settings as TOML: a method's dataclass, and the few choices beside it, to and from a file that a run can be repeated with.

    method = "gridpull"
    preset = "fine"       # optional; the keys below go on top of it
    resolution = 256      # optional, as are open, sharp, seed and budget

    [gridpull]
    smoothing = 0.4

Order: the dataclass's defaults, then the preset, then the table's keys. Nothing is ignored: a key that no one knows is an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from surfrecon.errors import InputError
from surfrecon.methods import METHODS, method_class

WORDS = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text in quotes"}


@dataclass(frozen=True)
class Choices:
    """What a settings file may say beside a method's own table; None leaves it to the command line or to the data.

    Attributes:
        method: name of the method, or "auto".
        preset: name of one of its presets.
        resolution: cells along the unit box at which the surface is extracted.
        open: whether the scan is of an open surface.
        sharp: whether vertices are placed on sharp edges and corners.
        seed: of every random number.
        budget: seconds after which the result should be there, coarser if need be.
    """

    method: str | None = None
    preset: str | None = None
    resolution: int | None = None
    open: bool | None = None
    sharp: bool | None = None
    seed: int | None = None
    budget: float | None = None


def presets(method: str) -> dict[str, dict[str, Any]]:
    """Name -> settings of each preset of a method."""
    return method_class(method).PRESETS


def method_name(method: object) -> str:
    """The name in METHODS of a method's instance."""
    kind = type(method)
    return next(name for name, path in METHODS.items() if path == f"{kind.__module__}:{kind.__qualname__}")


def read_choices(file: Path) -> Choices:
    """What a settings file says beside its methods' tables.

    Raises:
        InputError: no such file, not TOML, a key or a type that doesn't fit.
    """
    top = {key: value for key, value in _read(file).items() if not isinstance(value, dict)}
    return Choices(**_checked(Choices, top, f"{file}"))


def resolve(method: str = "auto", *, preset: str | None = None, file: Path | None = None, default: str | None = None) -> Any:
    """A method with its settings: defaults, then a preset, then a file.

    Args:
        method: name of the method; "auto" takes the file's, else the default.
        preset: name of one of its presets; None takes the file's, if any.
        file: TOML, see above; its table for this method counts.
        default: that "auto" stands for at last; None is the first of METHODS.
    Raises:
        InputError: what is asked for doesn't exist; the text lists or names what does.
    """
    choices = read_choices(file) if file else Choices()
    name = method if method != "auto" else choices.method or "auto"
    name = (default or next(iter(METHODS))) if name == "auto" else name
    kind = method_class(name)
    values: dict[str, Any] = {}
    preset = preset or choices.preset
    if preset is not None:
        if preset not in kind.PRESETS:
            raise InputError(f"{name} has no preset {preset!r}; choose one of {', '.join(kind.PRESETS)}")
        values |= kind.PRESETS[preset]
    if file is not None:
        values |= _checked(kind, _read(file).get(name, {}), f"{file} [{name}]")
    return kind(**values)


def to_toml(method: object, choices: Choices | None = None) -> str:
    """TOML that `resolve` and `read_choices` read back to the same method and choices; None is left out."""
    import tomli_w

    name = method_name(method)
    given = {key.name: getattr(choices, key.name) for key in fields(Choices)} if choices else {}
    top = {"method": name} | {key: value for key, value in given.items() if value is not None and key not in ("method", "preset")}
    return tomli_w.dumps(top | {name: as_dict(method)})


def as_dict(method: object) -> dict[str, Any]:
    """Setting -> value of a method; None is left out."""
    values = {key.name: getattr(method, key.name) for key in fields(method)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items() if value is not None}


def nearest(key: str, known: Iterable[str]) -> str:
    """A clause that helps on from a name that doesn't exist: the nearest known one, or all of them."""
    known = list(known)
    close = get_close_matches(key, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"


def _read(file: Path) -> dict[str, Any]:
    """The file's keys; tables are those of methods, whole or not at all."""
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib
    try:
        text = Path(file).read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"{file} can't be read: {error.strerror or error}") from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise InputError(f"{file} isn't TOML: {error}") from None
    for key, value in values.items():
        if key in METHODS and not isinstance(value, dict):
            raise InputError(f"{file}: {key!r} must be a table, [{key}], got {value!r}")
        if isinstance(value, dict) and key not in METHODS:
            raise InputError(f"{file}: there is no method for the table [{key}]; {nearest(key, METHODS)}")
    return values


def _checked(kind: type, values: dict[str, Any], where: str) -> dict[str, Any]:
    """Values that fit the dataclass `kind`, or an InputError that begins with `where`."""
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    for key in values:
        if key not in known:
            raise InputError(f"{where}: there is no setting {key!r}; {nearest(key, known)}")
    return {key: _fitted(value, hints[key], f"{where}: {key}") for key, value in values.items()}


def _fitted(value: Any, hint: Any, where: str) -> Any:
    """The value as the annotated type: whole numbers pass as numbers, lists as tuples, nothing else is converted."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        (hint,) = (argument for argument in arguments if argument is not NoneType)
        return _fitted(value, hint, where)
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{where} must be one of {', '.join(map(repr, arguments))}, got {value!r}")
        return value
    if origin is tuple:
        kinds = arguments if arguments[-1] is not ... else arguments[:1] * (len(value) if isinstance(value, list) else 1)
        if not isinstance(value, list) or len(value) != len(kinds):
            count = "" if arguments[-1] is ... else f" of {len(kinds)} values"
            raise InputError(f"{where} must be a list{count}, got {value!r}")
        return tuple(_fitted(item, kind, f"{where}[{i}]") for i, (item, kind) in enumerate(zip(value, kinds)))
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint or (hint is float and not math.isfinite(value)):
        raise InputError(f"{where} must be {WORDS[hint]}, got {value!r}")
    return value
