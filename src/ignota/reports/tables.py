"""Tables of results: one form that becomes HTML, Markdown or CSV, and the tables of both result files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ignota.structures import InputError

Cell = str | int | float | None
"""Text as it is, counts with thousands apart, floats with one decimal (percent), None and NaN as a dash."""

Better = Literal["", "higher", "lower"]

MISSING = "–"


@dataclass(frozen=True)
class Table:
    """A titled table. better: per column whether the highest or lowest number is best and shown bold; () = none."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    better: tuple[Better, ...] = ()

    def __post_init__(self) -> None:
        width = len(self.columns)
        for row in self.rows:
            if len(row) != width:
                raise ValueError(f"table {self.title!r}: a row of {len(row)} cells under {width} columns: {row!r}")
        if self.better and len(self.better) != width:
            raise ValueError(f"table {self.title!r}: {len(self.better)} entries in better for {width} columns")

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Per column whether all its cells are set flush right."""
        return tuple(bool(self.rows) and all(is_number(row[i]) for row in self.rows) for i in range(len(self.columns)))


def format_cell(cell: Cell) -> str:
    """The cell as people read it."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return MISSING
    if isinstance(cell, float):
        return f"{cell:.1f}"
    return f"{cell:,}".replace(",", "\u202f") if isinstance(cell, int) else cell


def is_number(cell: Cell) -> bool:
    """Whether the cell holds a number or stands for one that is missing: it is set flush right."""
    return not isinstance(cell, str)


def best_cells(table: Table) -> frozenset[tuple[int, int]]:
    """(row, column) of every best value; all that read the same share the place; a single row has no best."""
    best = set()
    for column, better in enumerate(table.better):
        values = {
            index: float(cell)
            for index, row in enumerate(table.rows)
            if isinstance(cell := row[column], int | float) and not math.isnan(cell)
        }
        if not better or len(values) < 2:
            continue
        top = (max if better == "higher" else min)(values, key=values.__getitem__)
        shown = format_cell(table.rows[top][column])
        best |= {(index, column) for index in values if format_cell(table.rows[index][column]) == shown}
    return frozenset(best)


def to_markdown(table: Table) -> str:
    """The table as GitHub Markdown: title, table, note; the best values bold."""
    best = best_cells(table)
    lines = [_markdown_row([_plain(column) for column in table.columns])]
    lines.append(_markdown_row(["---:" if right else "---" for right in table.numeric]))
    for index, row in enumerate(table.rows):
        cells = [_plain(format_cell(cell)) for cell in row]
        lines.append(_markdown_row([f"**{c}**" if (index, i) in best else c for i, c in enumerate(cells)]))
    parts = [f"**{_plain(table.title)}**", "\n".join(lines), _plain(table.note)]
    return "\n\n".join(part for part in parts if part and part != "****") + "\n"


def to_csv(table: Table) -> str:
    """Columns and rows as CSV with full precision, missing values empty; title and note are left out.

    Text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([_no_formula(column) for column in table.columns])
    writer.writerows([[_csv_cell(cell) for cell in row] for row in table.rows])
    return stream.getvalue()


def anomaly_tables(results: Mapping[str, Any]) -> tuple[Table, ...]:
    """The tables of what `evaluate anomaly` wrote: one per protocol, for their figures must never stand side by side.

    Raises InputError where the results have another form.
    """
    scores = _part(results, "scores", "evaluate anomaly")
    images = results.get("images")
    protocols = (
        ("pooled", "all pixels", f"All pixels of {_count(images)} on one scale, void ignored."),
        ("per_image", "mean over images", "Measured image by image, void ignored; the mean over {}."),
        ("dmlnet", "DMLNet's protocol", "Measured image by image, void counted as normal; the mean over {}."),
    )
    tables = []
    for key, name, note in protocols:
        figures = {score: found[key] for score, found in scores.items() if found.get(key)}
        if figures:
            counted = next(iter(figures.values())).get("images")
            where = f"{_count(counted)} of {images} that hold both normal and anomalous pixels"
            tables.append(_anomaly_table(f"Anomaly segmentation, {name}", figures, note.format(where)))
    return tuple(tables)


def incremental_tables(results: Mapping[str, Any]) -> tuple[Table, ...]:
    """The tables of what `evaluate incremental` wrote: summary of the methods, IoU by class, conflicts.

    Raises InputError where the results have another form.
    """
    _part(results, "miou", "evaluate incremental")
    methods = {"raml": results} | dict(results.get("methods") or {})
    tables = [_summary(methods), _class_table(methods)]
    if any(any(row.values()) for row in (results.get("stolen") or {}).values()):
        tables.append(_stolen_table(results["stolen"]))
    return tuple(tables)


def percent(fraction: float | None) -> float | None:
    """0..1 -> 0..100; None stays None."""
    return None if fraction is None else 100.0 * float(fraction)


def _anomaly_table(title: str, figures: Mapping[str, Mapping[str, float]], note: str) -> Table:
    rows = tuple((name, *(percent(f.get(key)) for key in ("aupr", "auroc", "fpr95"))) for name, f in figures.items())
    columns = ("score", "AUPR ↑", "AUROC ↑", "FPR95 ↓")
    return Table(title, columns, rows, f"In percent. {note}", ("", "higher", "higher", "lower"))


def _summary(methods: Mapping[str, Mapping[str, Any]]) -> Table:
    keys = ("all", "novel", "old", "harmonic")
    rows = tuple(
        (
            name,
            *(percent(found.get("miou", {}).get(key)) for key in keys),
            percent(found.get("old_before")),
            percent(found.get("old_after")),
        )
        for name, found in methods.items()
    )
    columns = ("method", "all ↑", "novel ↑", "old ↑", "harmonic ↑", "old before", "old after ↑")
    note = "mIoU in percent. Old before and after: known classes without novel pixels, so only conflicts lower it."
    better: tuple[Better, ...] = ("", "higher", "higher", "higher", "higher", "", "higher")
    return Table("Known and learnt classes", columns, rows, note, better)


def _class_table(methods: Mapping[str, Mapping[str, Any]]) -> Table:
    ious = {name: found.get("iou", {}) for name, found in methods.items()}
    novel = {name for found in methods.values() for name in (found.get("stolen") or {})}
    classes = dict.fromkeys(name for by_class in ious.values() for name in by_class)
    rows = tuple(
        (f"{name} (novel)" if name in novel else name, *(percent(by_class.get(name)) for by_class in ious.values()))
        for name in classes
    )
    return Table("IoU by class", ("class", *ious), rows, f"In percent; {MISSING}: the class does not occur.")


def _stolen_table(stolen: Mapping[str, Mapping[str, int]]) -> Table:
    known = [name for name in dict.fromkeys(k for row in stolen.values() for k in row) if _total(stolen, name)]
    known.sort(key=lambda name: -_total(stolen, name))
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, *(int(stolen[novel].get(name, 0)) for novel in stolen)) for name in known
    )
    note = "Pixels of known classes that were labelled as a learnt class."
    return Table("Conflicts, in pixels", ("known class", *(f"taken for {novel}" for novel in stolen)), rows, note)


def _total(stolen: Mapping[str, Mapping[str, int]], known: str) -> int:
    return sum(int(row.get(known, 0)) for row in stolen.values())


def _part(results: Mapping[str, Any], key: str, command: str) -> Mapping[str, Any]:
    part = results.get(key)
    if not isinstance(part, Mapping):
        raise InputError(f"these results hold no {key!r}; pass the JSON file that `ignota {command} --json` wrote")
    return part


def _count(images: int | None) -> str:
    return MISSING if images is None else f"{images} image" if images == 1 else f"{images} images"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Text that stays one Markdown cell and starts no HTML."""
    one_line = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\|<*_`[" else letter for letter in one_line)


def _csv_cell(cell: Cell) -> str | int | float:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return _no_formula(cell) if isinstance(cell, str) else cell


def _no_formula(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
