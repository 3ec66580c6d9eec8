"""The PLY format: the header, and the table that each of its elements is.

A row is read through one numpy dtype where all rows are alike. An ASCII body is first turned into float64 numbers; from there on it is a
binary body whose every type is float64, cast to the header's types at the end.
"""

from __future__ import annotations

import re
import struct
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from surfrecon.errors import InputError
from surfrecon.io.numbers import parse_numbers

TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4", "double": "f8"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"},
    **{"int64": "i8", "uint64": "u8"},  # not in the format, but written by some
}
ORDERS = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}
MAX_HEADER = 2**20  # bytes; real headers hold a few hundred, long ones a coordinate system's text
SHORTEST_NUMBER = 2  # bytes in ASCII: a digit and what separates it from the next
POSITIONS = ("x", "y", "z")
LONGEST_ROW = 2**30  # bytes that one numpy dtype may describe
UNPACK = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q", "f8": "d"}  # numpy's types as struct's


@dataclass(frozen=True)
class Property:
    """One column: numbers of type `item`, or lists of them, each behind its length of type `count`."""

    name: str
    item: np.dtype
    count: np.dtype | None = None


@dataclass
class Element:
    name: str
    count: int
    properties: list[Property] = field(default_factory=list)


@dataclass(frozen=True)
class Lists:
    """A column of lists: the length (N,) of each, and all their values one after the other."""

    lengths: np.ndarray
    values: np.ndarray


Table = dict[str, "np.ndarray | Lists"]


def read_tables(path: Path) -> tuple[dict[str, Table], list[str]]:
    """Element name -> property name -> column, and the header's comments.

    Raises:
        InputError: anything that isn't whole and consistent; the header's counts are held against the file's size before all else.
    """
    with open(path, "rb") as file:
        head = file.read(MAX_HEADER)
        form, elements, comments, start = _header(head)
        size = path.stat().st_size - start
        for element in elements:
            need = sum(SHORTEST_NUMBER if form == "ascii" else (p.count or p.item).itemsize for p in element.properties)
            if element.count * need > size + 1:
                raise InputError(
                    f"its header promises {element.count} rows of element {element.name!r}, more than its {size} bytes of data can hold: "
                    "the file was cut short or its header is wrong"
                )
        file.seek(start)
        body = parse_numbers(file.read()).view(np.uint8) if form == "ascii" else np.frombuffer(file.read(), np.uint8)
    at, tables = 0, {}
    for element in elements:
        tables[element.name], at = _table(body, at, element, text=form == "ascii")
    if form == "ascii" and at != len(body):
        raise InputError(f"{(len(body) - at) // 8} numbers are left over at its end: a row has more values than its header says")
    return tables, comments


def _header(head: bytes) -> tuple[str, list[Element], list[str], int]:
    """Format, elements, comments, and the number of bytes before the body."""
    first = re.match(rb"ply[ \t]*(\r\n|\n|\r)", head)
    if not first:
        raise InputError("it does not begin with a line 'ply', so it is no PLY file")
    # A file whose lines end in \r alone must not lose a first data byte that happens to be \n.
    last = re.search(rb"[\r\n]end_header[ \t]*(?:%s|$)" % (rb"\r" if first[1] == b"\r" else rb"\r?\n"), head)
    if not last:
        where = f"the first {MAX_HEADER} bytes" if len(head) == MAX_HEADER else "the file"
        raise InputError(f"its header has no line 'end_header' in {where}: the file was cut short or is no PLY file")
    form, elements, comments = None, [], []
    for line in re.split(r"\r\n|\n|\r", head[first.end() : last.start()].decode(errors="replace")):
        match line.split():
            case ["format", word, _] if word in ORDERS and form is None:
                form = word
            case ["comment", *_]:
                comments.append(line.strip()[len("comment") :].strip())
            case ["element", name, count] if re.fullmatch(r"\d{1,20}", count, re.ASCII) and name not in (e.name for e in elements):
                elements.append(Element(name, int(count)))
            case ["property", "list", count, item, *name] if name and form and elements and count in TYPES and item in TYPES:
                _add(elements[-1], Property(" ".join(name), _dtype(item, form), _dtype(count, form)))
            case ["property", item, *name] if name and form and elements and item in TYPES:
                _add(elements[-1], Property(" ".join(name), _dtype(item, form)))
            case [] | ["obj_info", *_]:
                pass
            case _:
                raise InputError(f"its header holds {line.strip()[:80]!r}, which PLY does not allow there")
    if form is None:
        raise InputError("its header names no format (ascii, binary_little_endian or binary_big_endian)")
    return form, elements, comments, last.end()


def _dtype(name: str, form: str) -> np.dtype:
    return np.dtype(ORDERS[form] + TYPES[name])


def _add(element: Element, new: Property) -> None:
    if any(p.name == new.name for p in element.properties):
        raise InputError(f"its header names property {new.name!r} of element {element.name!r} twice")
    if new.count is not None and new.count.kind == "f":
        raise InputError(f"its header counts the list {new.name!r} in {new.count.name}, which is no integer type")
    element.properties.append(new)


def _table(body: np.ndarray, at: int, element: Element, text: bool) -> tuple[Table, int]:
    """The table that begins at byte `at` of the body, and the byte behind it."""
    stored = [_as_stored(p) for p in element.properties] if text else element.properties
    short = InputError(
        f"the file ends within the {element.count} rows of element {element.name!r}: it was cut short or a row lacks a value"
    )
    table, end = _even(body, at, element.count, stored) or _ragged(body, at, element, stored, short)
    if end > len(body):
        raise short
    if text:
        table = {p.name: _cast(table[p.name], p) for p in element.properties}
    return table, end


def _as_stored(p: Property) -> Property:
    number = np.dtype("<f8")
    return Property(p.name, number, None if p.count is None else number)


def _even(body: np.ndarray, at: int, rows: int, properties: list[Property]) -> tuple[Table, int] | None:
    """The table where every row has lists as long as the first row's; None where that isn't so."""
    names, formats, lengths, end = [], [], {}, at
    for p in properties:
        if p.count is None:
            names, formats, end = [*names, p.name], [*formats, p.item], end + p.item.itemsize
            continue
        length = _number(body, end, p.count) if rows else 0
        end += p.count.itemsize + (length or 0) * p.item.itemsize
        if length is None or end > len(body) or end - at > LONGEST_ROW:
            return None
        names, formats, lengths = [*names, f"{p.name} count", p.name], [*formats, p.count, (p.item, (length,))], lengths | {p.name: length}
    row = np.dtype([(str(i), item) for i, item in enumerate(formats)])
    end = at + rows * row.itemsize
    if end > len(body):
        return ({}, end) if not lengths else None
    data = np.ndarray(rows, row, buffer=body[at:end].data) if end > at else np.zeros(rows if names else 0, row)
    columns = {name: data[str(i)] for i, name in enumerate(names)}
    for name, length in lengths.items():
        counts = columns.pop(f"{name} count")
        if (counts != length).any():
            return None
        columns[name] = Lists(counts.astype(np.int64), columns[name].reshape(-1))
    return columns, end


def _number(body: np.ndarray, at: int, dtype: np.dtype) -> int | None:
    """The length of a list whose count stands at byte `at`, or None where it can't be one."""
    if at + dtype.itemsize > len(body):
        return None
    value = body[at : at + dtype.itemsize].view(dtype)[0]
    return int(value) if 0 <= value < np.inf else None


def _ragged(body: np.ndarray, at: int, element: Element, properties: list[Property], short: InputError) -> tuple[Table, int]:
    """The table where rows differ in length: one pass over the rows finds where everything begins, numpy gathers it."""
    steps, gap = [], 0  # for each list: bytes before it in the row, how to read its count, size of an item
    for p in properties:
        if p.count is None:
            gap += p.item.itemsize
        else:
            order, kind = p.count.str[0].replace("|", "<"), UNPACK[p.count.str[1:]]
            steps.append((gap, struct.Struct(order + kind), p.item.itemsize))
            gap = 0
    begin, length = [array("q") for _ in steps], [array("q") for _ in steps]
    buffer, starts = body.data, array("q")
    for _ in range(element.count):
        starts.append(at)
        for k, (before, count, item) in enumerate(steps):
            at += before + count.size
            if at > len(body):
                raise short
            n = count.unpack_from(buffer, at - count.size)[0]
            if not 0 <= n <= (len(body) - at) / item:
                raise InputError(f"a row of element {element.name!r} holds a list of {n:.0f} values, more than the rest of the file")
            begin[k].append(at)
            length[k].append(int(n))
            at += int(n) * item
        at += gap
    if at > len(body):
        raise short
    return _gather(body, properties, np.array(starts), [np.array(b) for b in begin], [np.array(n) for n in length]), at


def _gather(body: np.ndarray, properties: list[Property], place: np.ndarray, begin: list[np.ndarray], length: list[np.ndarray]) -> Table:
    """Columns from the bytes where rows begin (`place`) and where their lists begin and how long these are."""
    table, lists = {}, iter(zip(begin, length))
    for p in properties:
        size = p.item.itemsize
        if p.count is None:
            table[p.name] = body[place[:, None] + np.arange(size)].view(p.item)[:, 0]
            place = place + size
        else:
            first, lengths = next(lists)
            place = first + size * lengths
            inside = np.zeros(len(body) + 1, np.int8)  # +1 where a list begins, -1 behind it: its running sum marks the lists' bytes
            inside[first[lengths > 0]] = 1
            inside[place[lengths > 0]] = -1
            table[p.name] = Lists(lengths, body[np.cumsum(inside[:-1], dtype=np.int8).view(bool)].view(p.item))
    return table


def _cast(column: np.ndarray | Lists, p: Property) -> np.ndarray | Lists:
    """A column of text's numbers in its header's type; positions keep all their digits, many writers print more than they declare."""
    values = column.values if isinstance(column, Lists) else column
    if p.item.kind in "iu":
        info = np.iinfo(p.item)
        if not ((values == np.round(values)) & (values >= info.min) & (values <= info.max)).all():
            raise InputError(f"property {p.name!r} is declared {p.item.name}, but holds numbers that are not")
    if p.name not in POSITIONS:
        values = values.astype(p.item)
    return Lists(column.lengths, values) if isinstance(column, Lists) else values
