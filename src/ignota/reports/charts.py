"""Curves as inline SVG: a few kilobytes, sharp at any size, coloured by the page's style sheet.

Not matplotlib's: its SVG sets colours by `style` attributes, which the report's content policy forbids and the style
sheet's dark mode could not change.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from jaxtyping import Float, Num
from numpy.typing import NDArray

SERIES_COLOURS = 8
"""Colours in the style sheet; further series repeat them with a dashed line."""

_WIDTH, _HEIGHT = 520, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 44
_MOST_POINTS = 300


Numbers = Sequence[float | int] | Num[np.ndarray, " _"]


@dataclass(frozen=True)
class Curve:
    """One or more lines over common axes. series: name -> (xs, ys); points that are not finite are left out."""

    title: str
    x_label: str
    y_label: str
    series: Mapping[str, tuple[Numbers, Numbers]]
    note: str = ""


def curve_svg(curve: Curve) -> str:
    """The curve as one `<svg>` element. Raises ValueError for a series whose xs and ys differ in number."""
    points = {name: _points(name, *xy) for name, xy in curve.series.items()}
    everything = np.concatenate([np.empty((0, 2)), *points.values()])
    x_ticks, y_ticks = _ticks(everything[:, 0]), _ticks(everything[:, 1])
    box = np.array([[x_ticks[0], y_ticks[0]], [x_ticks[-1], y_ticks[-1]]])
    lines = [_line(number, name, _place(found, box)) for number, (name, found) in enumerate(points.items())]
    label = escape(f"{curve.title}: {curve.y_label} over {curve.x_label}")
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">',
        _grid(x_ticks, y_ticks, box),
        f'<text class="axis" x="{(_LEFT + _WIDTH - _RIGHT) / 2:g}" y="{_HEIGHT - 8}" text-anchor="middle">'
        f"{escape(curve.x_label)}</text>",
        f'<text class="axis" transform="translate(13 {(_TOP + _HEIGHT - _BOTTOM) / 2:g}) rotate(-90)" '
        f'text-anchor="middle">{escape(curve.y_label)}</text>',
        *lines,
        "</svg>",
    ]
    return "".join(parts)


def series_class(number: int) -> str:
    """The style sheet's class of the series with this number."""
    dashed = " dashed" if number // SERIES_COLOURS % 2 else ""
    return f"s{number % SERIES_COLOURS}{dashed}"


def thin(points: Float[np.ndarray, "P 2"], most: int = _MOST_POINTS) -> Float[np.ndarray, "p 2"]:
    """At most `most` of the points, evenly spaced along the line's length, so that cliffs keep their shape."""
    if len(points) <= most:
        return points
    span = np.ptp(points, axis=0)
    steps = np.diff(points / np.where(span > 0, span, 1.0), axis=0)
    length = np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])
    chosen = np.searchsorted(length, np.linspace(0.0, length[-1], most))
    return points[np.unique(chosen)]


def _points(name: str, xs: Numbers, ys: Numbers) -> NDArray[np.float64]:
    if len(xs) != len(ys):
        raise ValueError(f"curve series {name!r} has {len(xs)} xs and {len(ys)} ys; give as many of both")
    points = np.stack([np.asarray(xs, np.float64), np.asarray(ys, np.float64)], axis=1)
    return thin(points[np.isfinite(points).all(axis=1)])


def _ticks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Four to nine round numbers that enclose the values."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 1.0)
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-12):
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return np.asarray(np.arange(first, last + 1) * step, np.float64)


def _place(points: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the values' plane to the drawing's, whose y runs downwards."""
    share = (points - box[0]) / (box[1] - box[0])
    x = _LEFT + share[:, 0] * (_WIDTH - _LEFT - _RIGHT)
    y = _HEIGHT - _BOTTOM - share[:, 1] * (_HEIGHT - _TOP - _BOTTOM)
    return np.stack([x, y], axis=1)


def _line(number: int, name: str, placed: NDArray[np.float64]) -> str:
    if not len(placed):
        return ""
    title = f"<title>{escape(name)}</title>"
    if len(placed) == 1:
        x, y = placed[0]
        return f'<circle class="dot {series_class(number)}" cx="{x:.1f}" cy="{y:.1f}" r="4">{title}</circle>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    return f'<polyline class="line {series_class(number)}" points="{path}">{title}</polyline>'


def _grid(x_ticks: NDArray[np.float64], y_ticks: NDArray[np.float64], box: NDArray[np.float64]) -> str:
    left, right, top, bottom = _LEFT, _WIDTH - _RIGHT, _TOP, _HEIGHT - _BOTTOM
    across = _place(np.stack([x_ticks, np.full(len(x_ticks), box[0, 1])], axis=1), box)[:, 0]
    down = _place(np.stack([np.full(len(y_ticks), box[0, 0]), y_ticks], axis=1), box)[:, 1]
    rows = "".join(f"M{left} {y:.1f}H{right}" for y in down)
    columns = "".join(f"M{x:.1f} {top}V{bottom}" for x in across)
    names = [
        f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:.6g}</text>'
        for x, tick in zip(across, x_ticks, strict=True)
    ]
    names += [
        f'<text x="{left - 7}" y="{y + 4:.1f}" text-anchor="end">{tick:.6g}</text>'
        for y, tick in zip(down, y_ticks, strict=True)
    ]
    return f'<path class="grid" d="{rows}{columns}"/>{"".join(names)}'
