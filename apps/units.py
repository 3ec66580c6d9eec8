"""Units of length: how reference systems spell them, and ours."""

from __future__ import annotations

import re

NOT_STATED = "not stated"
SPELLINGS = {  # those of geometry.py, which --help doesn't wait for: what they are called elsewhere, in lower case
    "mm": ("millimetre", "millimeter"),
    "cm": ("centimetre", "centimeter"),
    "m": ("metre", "meter"),
    "ft": ("foot", "foot (international)", "international foot"),
    "us-ft": ("us survey foot", "foot_us", "u.s. survey foot"),
}
LINEAR_UNIT = re.compile(r'(?<!ANGLE)UNIT\["([^"]+)"\s*,\s*([-+.0-9eE]+)')


def units_of(crs: str | None) -> str:
    """The unit of the coordinates as the text of their reference system (WKT 1 or 2) states it, else NOT_STATED."""
    if not crs:
        return NOT_STATED
    horizontal = re.split(r"VERT_?(?:CS|CRS)\[", crs)[0]
    if re.match(r"\s*GEOG(CS|CRS)\[", horizontal):
        return "degrees"
    after_axes = horizontal.rpartition("CS[Cartesian")[2]  # WKT 2 gives units to ellipsoids, too; those of the axes come last
    found = LINEAR_UNIT.findall(after_axes)
    linear = [name for name, _ in found if not re.match("degree|radian|grad|unity", name, re.IGNORECASE)]
    return linear[-1] if linear else NOT_STATED


def short(name: str) -> str:
    """A unit as we call it, if we know it by that name."""
    return next((ours for ours, others in SPELLINGS.items() if name.lower() in (ours, *others)), name)
