"""What a measuring experiment leaves: tables as JSON, fractions in 0..1, and the same in Markdown, in percent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments.pages.markdown import percent, table

Cell = float | Sequence[float] | str | None
"""A fraction; mean and standard deviation; a text; nothing."""
Rows = Mapping[str, Mapping[str, Cell]]
"""By the name of the row, then of the column; a row may lack columns."""


def save(path: Path, figures: Mapping[str, object]) -> None:
    """Writes figures as JSON, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)


def save_tables(path: Path, tables: Mapping[str, Rows]) -> str:
    """Writes tables by title; gives them in Markdown."""
    save(path, tables)
    return "\n".join(f"{title}\n\n{markdown(rows)}" for title, rows in tables.items())


def markdown(rows: Rows) -> str:
    """One table; the columns are those of all rows, in the order of their first use."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    return table(["", *columns], ([name, *(cell(row.get(column)) for column in columns)] for name, row in rows.items()))


def cell(value: Cell) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Sequence):
        mean, spread = value
        return f"{percent(mean)} ± {percent(spread)}"
    return percent(value)
