"""What a file says of its coordinates in comments: lines `crs "..."`, the reference system, and `unit "mm"`.

Each is a JSON string, which keeps it on one line; others' plain text is understood, too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from surfrecon.geometry import UNITS, Mesh, PointCloud

LINE = re.compile(r"(crs|unit)\s+(.+)")
REMARK = re.compile(rb"^# *((?:crs|unit) [^\r\n]*)", re.MULTILINE)


def said(item: PointCloud | Mesh) -> list[str]:
    """The lines for a scan or a mesh, without the sign that makes them comments."""
    return [f"{name} {json.dumps(value)}" for name in ("crs", "unit") if (value := getattr(item, name)) is not None]


def heard(lines: Iterable[str]) -> dict[str, str | None]:
    """The arguments `crs` and `unit` of a scan or a mesh, by the first line of each; a unit that is none of UNITS is passed over."""
    found: dict[str, str | None] = {"crs": None, "unit": None}
    for name, text in (match.groups() for line in lines if (match := LINE.fullmatch(line.strip()))):
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        value = value if isinstance(value, str) else text
        if found[name] is None and (name == "crs" or value in UNITS):
            found[name] = value
    return found


def heard_in(text: bytes) -> dict[str, str | None]:
    """The same of a whole file in which comments begin with #."""
    return heard(line.decode(errors="replace") for line in REMARK.findall(text))
