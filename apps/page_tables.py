"""Sections and tables of a run's page. Titles and texts are escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any

from surfrecon.apps.console import size_text
from surfrecon.apps.units import NOT_STATED, short

LONG, SUMMARY = 160, 60  # letters: a longer text is folded, and shows so many
LABELS = {
    "crs": "reference system",
    "low": "from",
    "high": "to",
    "colors": "colours",
    "origins": "sensor origins",
    "largest": "largest, pixels",
    "nonmanifold_edges": "non-manifold edges",
    "nonmanifold_vertices": "non-manifold vertices",
    "euler": "Euler number",
    "noise_unit": "noise, in the unit box",
    "peak_memory_bytes": "memory, at most",
}


def section(title: str, content: str, kind: str = "plain") -> str:
    """A part of the page; its content is HTML."""
    return f'<section class="{kind}"><h2>{escape(title)}</h2>{content}</section>'


def table(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns of names and texts; a long text is folded."""
    lines = (f'<tr><th scope="row">{escape(name)}</th><td>{_folded(text)}</td></tr>' for name, text in rows)
    return f"<table>{''.join(lines)}</table>"


def rows_of(facts: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Names and texts of facts, as JSON has them; those within others go under both their names."""
    for key, value in facts.items():
        label = f"{above}{LABELS.get(key, key.replace('_', ' '))}"
        if isinstance(value, dict):
            yield from rows_of(value, f"{label}: ")
        elif key == "bounds" and value is not None:
            yield from rows_of({"low": value[0], "high": value[1]}, above)
        elif key.endswith("bytes") and value:
            yield label, size_text(value)
        else:
            yield label, text_of(value)


def text_of(value: Any) -> str:
    """A value as a person reads it; coordinates, which come in lists, with ten digits."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "  ".join(f"{item:.10g}" if isinstance(item, float) else text_of(item) for item in value) or "none"
    return number(value) if isinstance(value, (int, float)) else str(value)


def number(value: float) -> str:
    """A number with five digits at least, where it has as many."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.5g}"


def unit_of(given: dict[str, Any]) -> str:
    """What lengths are counted in, as short as it goes."""
    name = given.get("units") or NOT_STATED
    return "units" if name == NOT_STATED else short(name)


def _folded(text: str) -> str:
    if len(text) <= LONG:
        return escape(text)
    return f"<details><summary>{escape(text[:SUMMARY])} ...</summary>{escape(text)}</details>"
