"""Arranges pictures on one sheet, as in a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ignota.reports.report import PictureRow
from ignota.reproduce.views import Cloud
from ignota.taxonomy import Taxonomy

Picture = UInt8[np.ndarray, "H W 3"]
_DPI, _WIDTH = 120, 13.0
_SEEN, _LEARNT = "#b98900", "#3f8a3a"
"""The paper's yellowish and greenish arrows."""


def grid_sheet(rows: Sequence[PictureRow]) -> Picture:
    """Rows of pictures below each other; the captions of the first row stand over all."""
    columns = max(len(row.cells) for row in rows)
    first = rows[0].cells[0][1]
    cell = _WIDTH / columns
    height = cell * first.shape[0] / first.shape[1]
    figure = Figure(figsize=(_WIDTH, len(rows) * (height + 0.12) + 0.35), dpi=_DPI)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for line, row in zip(axes, rows, strict=True):
        for place, axis in enumerate(line):
            _frame(axis, "#b8b8b8", 0.6)
            axis.set_visible(place < len(row.cells))
            if place < len(row.cells):
                caption, picture = row.cells[place]
                axis.imshow(picture, interpolation="nearest", aspect="auto")
                if row is rows[0] or caption != rows[0].cells[min(place, len(rows[0].cells) - 1)][0]:
                    axis.set_title(caption, fontsize=9, pad=3)
    figure.subplots_adjust(0.005, 0.01, 0.995, 1 - 0.3 / figure.get_figheight(), 0.02, 0.12)
    return _drawn(figure)


def pipeline_sheet(
    steps: Sequence[Sequence[tuple[str, Picture]]], titles: Sequence[str], flow: Sequence[int]
) -> Picture:
    """Rows of steps: the first sees the unknown, the second learns it. flow: how many of each row arrows lead through;
    the others stand beside them."""
    columns = max(len(row) for row in steps)
    shape = steps[0][0][1].shape
    cell = _WIDTH / columns
    tall = cell * 0.86 * shape[0] / shape[1] + 0.75
    figure = Figure(figsize=(_WIDTH, tall * len(steps)), dpi=_DPI)
    for line, (row, title, colour) in enumerate(zip(steps, titles, (_SEEN, _LEARNT), strict=False)):
        top = 1 - line / len(steps)
        figure.text(0.012, top - 0.06 / len(steps), title, fontsize=11, weight="bold", color=colour, va="top")
        for place, (caption, picture) in enumerate(row):
            wide, high = 0.86 / columns, (tall - 0.75) / (tall * len(steps))
            left, low = (place + 0.07) / columns, top - high - 0.62 / (tall * len(steps))
            axis = figure.add_axes((left, low, wide, high))
            axis.imshow(picture, interpolation="nearest", aspect="auto")
            _frame(axis, colour, 1.6)
            axis.set_title(caption, fontsize=8.5, pad=3)
            if place + 1 < flow[line]:
                arrow = {"arrowstyle": "-|>", "color": colour, "lw": 2}
                axis.annotate("", (1.16, 0.5), (1.0, 0.5), xycoords="axes fraction", arrowprops=arrow)
    return _drawn(figure)


def cloud_sheet(clouds: Sequence[Cloud], taxonomy: Taxonomy, known: int) -> Picture:
    """t-SNE side by side; novel classes as stars."""
    figure = Figure(figsize=(_WIDTH, 5.6), dpi=_DPI)
    axes = figure.subplots(1, len(clouds))
    for axis, cloud in zip(axes, clouds, strict=True):
        for label in taxonomy.classes:
            here = cloud.owner == label.id
            novel = label.id >= known
            colour = [value / 255 for value in label.colour]
            axis.scatter(
                *cloud.points[here].T, s=52 if novel else 14, marker="*" if novel else "o", color=[colour],
                edgecolors="black" if novel else "none", linewidths=0.4, label=label.name, zorder=2 if novel else 1,
            )  # fmt: skip
        axis.set_title(f"{cloud.title} (mean silhouette {cloud.silhouette:+.2f})", fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, ncols=min(10, len(names)), loc="lower center", fontsize=8, frameon=False)
    figure.subplots_adjust(0.01, 0.13, 0.99, 0.93, 0.03)
    return _drawn(figure)


def curve_sheet(panels: Mapping[str, Mapping[str, tuple[Sequence[str], Sequence[float | None]]]]) -> Picture:
    """Lines over named places, a panel each: {TITLE: {SERIES: (places, values)}}."""
    figure = Figure(figsize=(_WIDTH, 4.4), dpi=_DPI)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, series) in zip(axes, panels.items(), strict=True):
        _lines(axis, series)
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
        axis.set_ylabel("percent")
    axes[-1].legend(fontsize=8.5)
    figure.tight_layout()
    return _drawn(figure)


def _lines(axis: Axes, series: Mapping[str, tuple[Sequence[str], Sequence[float | None]]]) -> None:
    for (name, (places, values)), marker in zip(series.items(), "os^vD", strict=False):
        axis.plot(places, [np.nan if v is None else v for v in values], marker=marker, label=name)


def _frame(axis: Axes, colour: str, width: float) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_edgecolor(colour)
        spine.set_linewidth(width)


def _drawn(figure: Figure) -> NDArray[np.uint8]:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].copy()
