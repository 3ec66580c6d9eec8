"""The methods by name, loaded on use: 'module:Class'. A class is its settings; fit() is its behaviour."""

from __future__ import annotations

from importlib import import_module

from surfrecon.errors import InputError

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
