"""A table of the paper as data: rows request cells, columns read their figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import fmean, stdev
from typing import Any

from ignota.data.yaml_files import parse_yaml
from ignota.reports.tables import Better
from ignota.reproduce.cells import Cell

Lookup = Callable[[Cell], Mapping[str, Any] | None]
"""Figures of a cell, None where it is not measured."""

NOT_MEASURED = "not measured yet"


@dataclass(frozen=True)
class Column:
    """One metric. path: its place in the figures of a cell. group: which of a row's groups of cells it reads.
    published: its place in a published row, None where the paper has no such column."""

    title: str
    path: tuple[str, ...]
    better: Better = "higher"
    group: int = 0
    published: int | None = None


@dataclass(frozen=True)
class Ours:
    """A row of our own figures: for each group the cells whose mean it shows, one for each seed or draw.

    missing: why there are none, where there cannot be any.
    """

    name: str
    groups: tuple[tuple[Cell, ...], ...]
    missing: str = ""


@dataclass(frozen=True)
class Line:
    """A row of the paper, or one that it does not have. published: its key in published.yaml."""

    labels: tuple[str, ...]
    ours: tuple[Ours, ...]
    published: str | None = None


@dataclass(frozen=True)
class Description:
    """A table. key: in published.yaml. heads: of the columns with labels."""

    key: str
    title: str
    heads: tuple[str, ...]
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    note: str = ""

    def cells(self) -> Iterator[Cell]:
        """Every cell that the table asks."""
        for line in self.lines:
            for ours in line.ours:
                for group in ours.groups:
                    yield from group


@dataclass(frozen=True)
class Value:
    """Mean and standard deviation (0 where there is one alone) of what `count` cells say, in percent."""

    mean: float
    std: float
    count: int


@cache
def published() -> dict[str, dict[str, list[Any]]]:
    """What the paper prints: table -> row -> values, or pairs of mean and standard deviation."""
    text = files("ignota.reproduce").joinpath("published.yaml").read_text("utf-8")
    return dict(parse_yaml(text))


def published_value(description: Description, line: Line, column: Column) -> Value | None:
    """The paper's own figure, None where it has none."""
    if line.published is None or column.published is None:
        return None
    found = published()[description.key][line.published][column.published]
    if found is None:
        return None
    mean, std = found if isinstance(found, list) else (found, 0.0)
    return Value(float(mean), float(std), 1)


def value_of(cells: Sequence[Cell], path: tuple[str, ...], lookup: Lookup) -> Value | None:
    """Mean and spread over the cells that have a figure there; None where none has."""
    values = [100 * value for value in values_of(cells, path, lookup) if value is not None]
    if not values:
        return None
    return Value(fmean(values), stdev(values) if len(values) > 1 else 0.0, len(values))


def values_of(cells: Sequence[Cell], path: tuple[str, ...], lookup: Lookup) -> list[float | None]:
    """The figure of each cell as a fraction."""
    found: list[float | None] = []
    for cell in cells:
        value: Any = lookup(cell)
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        found.append(float(value) if isinstance(value, int | float) else None)
    return found


def reasons(ours: Ours, lookup: Lookup) -> set[str]:
    """Why a row of ours lacks figures."""
    if ours.missing:
        return {ours.missing}
    found = set()
    for group in ours.groups:
        for cell in group:
            figures = lookup(cell)
            if figures is None:
                found.add(NOT_MEASURED)
            elif "reason" in figures:
                found.add(str(figures["reason"]))
    return found
