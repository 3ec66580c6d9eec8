"""Implicit surfaces: Field and its kinds."""

from surfrecon.fields.field import Field

__all__ = ["Field"]
