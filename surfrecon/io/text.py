"""Points as lines of text: XYZ, TXT, ASC, CSV, PTS.

Numbers stand between spaces, tabs, semicolons or commas; where they can't be meant as separators, commas are decimal. Names of columns come
from a header line, or from the comment before the first number (which is how we write them); without names the values decide. A line that
holds one whole number is the count of the points that follow, as in PTS, where a file may hold several scans, each behind its count.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from surfrecon.errors import InputError
from surfrecon.geometry import PointCloud
from surfrecon.io import attributes
from surfrecon.io.atomic import replacing
from surfrecon.io.comments import heard, said
from surfrecon.io.guess import guessed

log = logging.getLogger("surfrecon")

COMMENTS = ("#", "//")
SNIFFED_LINES = 200  # the first line of numbers must be among them
LONGEST_LINE = 2**16  # characters: a longer one belongs to no point
CHUNK = 2**16  # rows formatted at a time
COUNT_DIGITS = 20  # of a count; none is longer
SEPARATING_COMMA = re.compile(r",(?=\s|$)")  # between numbers with decimal commas
DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?([eE][+-]?\d+)?")


@dataclass(frozen=True)
class _Layout:
    """How the lines of one file are to be read: what to skip, what separates, which names the columns have."""

    skip: int
    delimiter: str | None
    decimal_comma: bool
    names: list[str]
    count: int | None
    known: dict[str, str | None]  # crs and unit


def read_scan(path: Path) -> PointCloud:
    """A text file's points, with normals, colours and scalar fields by its header line or, without one, by their values."""
    layout = _sniff(path)
    counts: list[list[int]] = []
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        try:
            table = np.loadtxt(_rows(islice(file, layout.skip, None), layout, counts), delimiter=layout.delimiter, comments=None, ndmin=2)
        except ValueError as error:
            reason = str(error).split(";")[0].rstrip(".")
            raise InputError(f"its lines of numbers are not alike ({reason}, counted from line {layout.skip + 1})") from None
    for number, (promised, found) in enumerate(counts):
        if promised != found:
            where = "a line with its count" if len(counts) == 1 else f"the count of its scan {number + 1}"
            raise InputError(f"{where} promises {promised} points, but {found} follow: it was cut short, or is no list of points")
    if table.shape[1] < 3:
        raise InputError(f"its lines hold {table.shape[1]} numbers: expected x, y and z at least")
    parts = _parts(path, table, layout.names)
    if len(counts) > 1:
        log.info("%s: it holds %d scans, each behind its count", path.name, len(counts))
        parts["scalars"] = parts["scalars"] | {"scan": np.repeat(np.arange(len(counts), dtype=np.int32), [found for _, found in counts])}
    return attributes.scan(path, **parts, **layout.known)


def _parts(path: Path, table: np.ndarray, names: list[str]) -> dict:
    if len(names) != table.shape[1] or len(set(names)) < len(names):
        return guessed(path, table)
    parts = attributes.from_columns(dict(zip(names, table.T)))
    return parts if "points" in parts else guessed(path, table, names)


def _rows(lines: Iterator[str], layout: _Layout, counts: list[list[int]]) -> Iterator[str]:
    """The lines that hold numbers, as numpy reads them; where there are counts, these and how many lines followed each go to `counts`."""
    if layout.count is not None:
        counts.append([layout.count, 0])
    for line in lines:
        line = line.strip()
        if not line or line.startswith(COMMENTS):
            continue
        if counts:
            if line.isdecimal():
                counts.append([int(line[:COUNT_DIGITS]), 0])
                continue
            counts[-1][1] += 1
        line = line.split("#", 1)[0].rstrip(f"{layout.delimiter or ''} \t")
        if layout.decimal_comma:
            line = SEPARATING_COMMA.sub(" ", line).replace(",", ".")
        yield line


def _sniff(path: Path) -> _Layout:
    names, count, remarks, skip = "", None, [], 0
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for skip in range(SNIFFED_LINES):
            line = file.readline(LONGEST_LINE)
            if "\0" in line or len(line) == LONGEST_LINE:
                raise InputError("it is no text file of points")
            if not line:
                break
            line = line.strip()
            if line.startswith(COMMENTS):
                remark = line.lstrip("#/").strip()
                if re.match(r"crs |unit \"", remark):
                    remarks.append(remark)
                else:
                    names = remark or names
            elif re.fullmatch(r"\d+", line):
                count = int(line[:COUNT_DIGITS])
            elif line:
                numbers = line.split("#", 1)[0]  # without a note; in a header, # may be part of a name
                delimiter, decimal_comma = _separators(numbers)
                if decimal_comma:
                    numbers = SEPARATING_COMMA.sub(" ", numbers)
                first, *others = _split(numbers, delimiter)
                if _is_number(first.replace(",", ".") if decimal_comma else first):
                    columns = len(others) + 1
                    choices = [_split(names, delimiter), re.split(r"[,;\s]+", names)]
                    named = next((c for c in choices if len(c) == columns and not all(map(_is_number, c))), [])
                    named = [n.strip().strip("\"'") or f"column_{i + 1}" for i, n in enumerate(named)]
                    return _Layout(skip, delimiter, decimal_comma, named, count, heard(remarks))
                names = line
    raise InputError(f"it holds no line of numbers{f' among its first {SNIFFED_LINES}' if skip == SNIFFED_LINES - 1 else ''}")


def _separators(line: str) -> tuple[str | None, bool]:
    """The delimiter (None for white space) and whether commas are decimal."""
    if ";" in line or "," not in line:
        return ";" if ";" in line else None, True  # this line may hold whole numbers, another decimal commas
    words = SEPARATING_COMMA.sub("", line).split()
    decimal = len(words) >= 3 and "." not in line and all(map(DECIMAL_COMMA.fullmatch, words)) and any("," in word for word in words)
    return (None, True) if decimal else (",", False)


def _split(line: str, delimiter: str | None) -> list[str]:
    return [word.strip() for word in (line.strip().rstrip(delimiter).split(delimiter) if delimiter else line.split())]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def write_scan(cloud: PointCloud, path: Path) -> list[str]:
    """One line per point behind a comment that names the columns; 9 digits where float32 suffices, else 17."""
    columns = attributes.columns_of(cloud)
    form = " ".join("%d" if c.dtype.kind in "iub" else "%.9g" if c.dtype.itemsize <= 4 else "%.17g" for c in columns.values()) + "\n"
    with replacing(path) as file:
        file.writelines(f"# {line}\n".encode() for line in said(cloud))
        file.write(f"# {' '.join(columns)}\n".encode())
        for start in range(0, len(cloud), CHUNK):
            rows = zip(*(column[start : start + CHUNK].tolist() for column in columns.values()))
            file.write("".join(form % row for row in rows).encode())
    return []
