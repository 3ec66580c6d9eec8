"""Charts of a run's page as inline SVG, coloured by the page's style sheet."""

from __future__ import annotations

import math
from html import escape

import numpy as np

from surfrecon.pictures import VIRIDIS

WIDTH, HEIGHT = 460, 250  # units of the drawing; letters of 11 units stay readable on a telephone
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 24, 44  # around the axes
BINS = 40
PLAIN = 1e-2, 1e4  # an axis that ends between these is written without a power of ten
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SHOWN = 0.975  # quantile at which the histogram ends: outliers would squeeze the rest
TICKS = 5  # about as many on each axis
QUANTILES = {"median": 0.5, "95 %": 0.95}  # marked in the histogram


def histogram(values: np.ndarray, label: str, unit: str) -> str:
    """How values >= 0 are distributed, from 0 to where nearly all lie, with QUANTILES marked.

    Args:
        values: (N,) one or more.
        label, unit: of the axis.
    """
    top = float(np.quantile(values, SHOWN)) or float(values.max()) or 1.0
    power = 0 if PLAIN[0] <= top < PLAIN[1] else 3 * math.floor(math.log10(top) / 3)
    factor = f"10{str(power).translate(RAISED)} " if power else ""
    label = f"{label}, {factor}{unit}"
    values, top = values / 10.0**power, top / 10.0**power
    share = np.histogram(values, BINS, (0, top))[0] / len(values) * 100
    most = max(float(share.max()), 1e-9)
    x = lambda value: LEFT + (WIDTH - LEFT - RIGHT) * value / top
    y = lambda value: HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / most
    wide = x(top / BINS) - LEFT
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="histogram: {escape(label)}">']
    for tick in ticks(most):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    bars = "".join(f"M{x(i * top / BINS) + 0.5:.1f} {y(0):.1f}V{y(value):.1f}h{wide - 1:.2f}V{y(0):.1f}z" for i, value in enumerate(share))
    parts.append(f'<path class="bars" d="{bars}"/>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>')
    for tick in ticks(top):
        parts.append(f'<line class="axis" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{y(0):.1f}" y2="{y(0) + 4:.1f}"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{y(0) + 16:.1f}" text-anchor="middle">{tick:g}</text>')
    for name, quantile in QUANTILES.items():
        place = x(float(np.quantile(values, quantile)))
        parts.append(f'<line class="mark" x1="{place:.1f}" x2="{place:.1f}" y1="{TOP - 4}" y2="{y(0):.1f}"/>')
        parts.append(f'<text class="said" x="{place:.1f}" y="{TOP - 8}" text-anchor="middle">{name}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(label)}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">share of the points, %</text></svg>')
    return "".join(parts)


def color_bar(label: str) -> str:
    """The colour map from 0 to 1."""
    left, right = 12, WIDTH - 12
    stops = "".join(
        f'<stop offset="{i / (len(VIRIDIS) - 1):.3f}" stop-color="rgb({red},{green},{blue})"/>'
        for i, (red, green, blue) in enumerate(VIRIDIS.tolist())
    )
    marks = "".join(
        f'<text x="{left + (right - left) * value:g}" y="28" text-anchor="middle">{value:g}</text>' for value in (0, 0.25, 0.5, 0.75, 1)
    )
    return (
        f'<svg class="chart bar" viewBox="0 0 {WIDTH} 48" role="img" aria-label="colour bar: {escape(label)}"><defs>'
        f'<linearGradient id="viridis">{stops}</linearGradient></defs><rect x="{left}" y="2" width="{right - left}" height="12" rx="2" '
        f'fill="url(#viridis)"/>{marks}<text x="{WIDTH / 2:g}" y="43" text-anchor="middle">{escape(label)}</text></svg>'
    )


def share_bar(share: float) -> str:
    """A bar as long as a share of its cell."""
    bar = f'<rect width="{100 * share:.2f}" height="8"/>'
    return f'<svg class="share" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">{bar}</svg>'


def ticks(top: float) -> list[float]:
    """Round numbers (1, 2, 5 times a power of ten apart) from 0 to at most `top`."""
    step = 10 ** math.floor(math.log10(top / TICKS))
    step *= next(factor for factor in (1, 2, 5, 10) if top / (factor * step) <= TICKS + 1)
    return [i * step for i in range(math.floor(top / step + 1e-9) + 1)]
