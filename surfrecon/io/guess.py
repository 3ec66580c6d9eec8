"""What the columns of a table hold, where nothing names them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

log = logging.getLogger("surfrecon")

UNIT_SLACK = 0.01  # how far from 1 a normal's length may be, as files with two or three decimals print it
BRIGHT = 32  # three columns of whole numbers none of which reaches this are classes and counts rather than colours


def guessed(path: Path, table: np.ndarray, names: list[str] | None = None) -> dict:
    """Position, normals, colours and scalars of a table (N, 3 or more): parts for attributes.scan.

    The first three columns are the position. Of the others, from left to right, three of unit (or zero) length are normals, three of whole
    numbers from 0 to 255 are colours, and each that is left is a scalar field, named by `names` or `column_4` and so on. Says in the log
    what it took for what.
    """
    parts, scalars, said = {"points": table[:, :3]}, {}, ["columns 1 to 3 are the position"]
    at = 3
    if path.suffix.lower() == ".pts" and table.shape[1] in (4, 7, 10):  # Leica's layout: x y z intensity, perhaps r g b
        scalars["intensity"], at = table[:, 3], 4
        said.append("4 the intensity")
    while at < table.shape[1]:
        three = table[:, at : at + 3]
        kind = next((part for part, fits in (("normals", _unit), ("colors", _bytes)) if part not in parts and fits(three)), None)
        if kind:
            parts[kind] = three
            said.append(f"{at + 1} to {at + 3} {kind}")
            at += 3
        else:
            name = names[at] if names else f"column_{at + 1}"
            scalars[name] = table[:, at]
            said.append(f"{at + 1} the scalar field {name!r}")
            at += 1
    log.info("%s: nothing names the columns, so by their values: %s", path.name, ", ".join(said))
    return parts | {"scalars": scalars}


def _unit(three: np.ndarray) -> bool:
    if three.shape[1] < 3 or not len(three):
        return False
    length = np.linalg.norm(three.astype(float), axis=1)
    one = np.abs(length - 1) <= UNIT_SLACK
    return bool(one.any() and (one | (length == 0) | np.isnan(length)).all())


def _bytes(three: np.ndarray) -> bool:
    return three.shape[1] == 3 and bool(((three >= 0) & (three <= 255) & (three == np.round(three))).all() and (three >= BRIGHT).any())
