"""Types of options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def whole(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    """An argparse type: a whole number from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"must be a whole number >= {least}, got {text!r}")
        if value > most:
            raise argparse.ArgumentTypeError(f"must be at most {most}, got {text!r}")
        return value

    return parse


def positive(text: str, what: str = "a number") -> float:
    """An argparse type: a number > 0, called `what` where it is refused."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be {what} > 0, got {text!r}")
    return value


def seconds(text: str) -> float:
    """An argparse type: a time > 0."""
    return positive(text, "a number of seconds")


def size(text: str) -> tuple[int, int]:
    """An argparse type: WIDTHxHEIGHT of a picture in pixels."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        width = height = 0
    if not (16 <= width <= 8192 and 16 <= height <= 8192):
        raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT in pixels, each 16 to 8192, got {text!r}")
    return width, height
