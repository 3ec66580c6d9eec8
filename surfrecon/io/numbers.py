"""Numbers in text, fast."""

from __future__ import annotations

import re
import warnings

import numpy as np

from surfrecon.errors import InputError


def parse_numbers(text: bytes, kind: type[float] | type[int] = float) -> np.ndarray:
    """All numbers of a text, separated by white space, as one array of float64 or int64.

    Raises:
        InputError: something that is no such number; the sentence quotes it.
    """
    if not text or text.isspace():  # numpy reads one number from blanks
        return np.empty(0, kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # how older numpy tells of text that isn't numbers
            return np.fromstring(text, np.int64 if kind is int else np.float64, sep=" ")
    except (ValueError, DeprecationWarning):
        raise InputError(f"{_first_odd_word(text, kind)} stands where a {'whole ' if kind is int else ''}number should be") from None


def parse_table(rows: list[bytes], what: str) -> np.ndarray:
    """(N, 3 or more) numbers of N > 0 lines of one width.

    Raises:
        InputError: a word that is no number, or lines that differ in width; the sentence calls them by `what`.
    """
    numbers, width = parse_numbers(b"\n".join(rows)), len(rows[0].split())
    if width < 3 or len(numbers) != width * len(rows):
        raise InputError(f"its {what} do not all hold the same three or more numbers: it was cut short or is damaged")
    return numbers.reshape(-1, width)


def _first_odd_word(text: bytes, kind: type) -> str:
    for word in re.finditer(rb"\S+", text):
        try:
            kind(word[0])
        except ValueError:
            return repr(word[0][:40].decode(errors="replace"))
    return "something"
