"""Renders a description with its figures as a table for people, and as plain numbers for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ignota.reports.tables import Cell, Table
from ignota.reproduce.claims import Verdict
from ignota.reproduce.description import (
    Description,
    Line,
    Lookup,
    Ours,
    Value,
    published,
    published_value,
    reasons,
    value_of,
)

PAPER = "paper"


def shown_table(description: Description, lookup: Lookup) -> Table:
    """The paper's layout: below each of its rows ours, mean ± standard deviation where something is random."""
    rows: list[tuple[Cell, ...]] = []
    for line in description.lines:
        for by, values in _rows(description, line, lookup):
            rows.append((*line.labels, by, *(_shown(value) for value in values)))
    heads = (*description.heads, "by", *(column.title for column in description.columns))
    return Table(description.title, heads, tuple(rows), _note(description, lookup))


def number_table(description: Description, lookup: Lookup) -> Table:
    """The same with means and standard deviations in columns of their own, in percent."""
    rows: list[tuple[Cell, ...]] = []
    for line in description.lines:
        for by, values in _rows(description, line, lookup):
            pairs = ((value.mean, value.std if value.count > 1 or value.std else None) if value else (None, None)
                     for value in values)  # fmt: skip
            count = max((value.count for value in values if value), default=0)
            rows.append((*line.labels, by, count if by != PAPER else None, *(cell for pair in pairs for cell in pair)))
    titles = (title for column in description.columns for title in (column.title, f"{column.title} std"))
    return Table(description.title, (*description.heads, "by", "runs", *titles), tuple(rows))


def _rows(description: Description, line: Line, lookup: Lookup) -> list[tuple[str, list[Value | None]]]:
    rows: list[tuple[str, list[Value | None]]] = []
    if line.published is not None:
        rows.append((PAPER, [published_value(description, line, column) for column in description.columns]))
    for ours in line.ours:
        rows.append((ours.name, our_values(description, ours, lookup)))
    return rows


def our_values(description: Description, ours: Ours, lookup: Lookup) -> list[Value | None]:
    """One value a column."""
    found = []
    for column in description.columns:
        group = ours.groups[column.group] if column.group < len(ours.groups) else ()
        found.append(value_of(group, column.path, lookup))
    return found


def _shown(value: Value | None) -> Cell:
    if value is None:
        return None
    return f"{value.mean:.1f} ± {value.std:.1f}" if value.std or value.count > 1 else value.mean


def _note(description: Description, lookup: Lookup) -> str:
    """The note, and why rows are empty."""
    lacking: dict[str, list[str]] = {}
    for line in description.lines:
        for ours in line.ours:
            for reason in sorted(reasons(ours, lookup)):
                lacking.setdefault(reason, []).append(line.labels[-1])
    parts = [f"No figures for {', '.join(dict.fromkeys(names))}: {reason}." for reason, names in lacking.items()]
    return " ".join([description.note, *parts])


def claim_table(verdicts: Sequence[Verdict]) -> Table:
    """Each comparison with both means, the difference, its interval and the verdict."""
    rows = tuple(
        (
            one.claim.claim, one.claim.comparison, one.first, one.second,
            None if one.difference is None else f"{one.difference:+.1f}",
            None if one.interval is None else f"{one.interval[0]:+.1f} to {one.interval[1]:+.1f}",
            one.word,
        )
        for one in verdicts
    )  # fmt: skip
    heads = ("the paper claims", "comparison", "first", "second", "difference", "95 % interval", "here it")
    return Table("", heads, rows)


def example_table(example: Mapping[str, Any]) -> Table:
    """Table D: cosine of each candidate region to each taught class, the paper's regions first."""
    rows: list[tuple[Cell, ...]] = []
    classes = tuple(example["regions"][0]["similarity"]) if example.get("regions") else ("car", "truck", "bus")
    for letter, values in published()["table-d"].items():
        shown = dict(zip(("car", "truck", "bus"), values[1:], strict=True))
        rows.append((letter, PAPER, values[0].lower(), None, *(_cosine(shown.get(name)) for name in classes)))
    for row in example.get("regions", []):
        rows.append((row["letter"], "here", row["output"], row["truth"], *map(_cosine, row["similarity"].values())))
    note = (
        "Cosine similarities; a region is assigned the class of the largest one above θ_novel = "
        f"{example.get('theta', 0.8):g}. Here: image {example.get('key', '–')}, candidate regions of the meta "
        "channels, as printed, 5 shots."
    )
    heads = ("Region", "by", "Output", "Truth", *classes)
    return Table("Table D, an example", heads, tuple(rows), note + _why(example))


def _cosine(value: float | None) -> Cell:
    return None if value is None else f"{value:.2f}"


def _why(example: Mapping[str, Any]) -> str:
    return f" No figures of ours: {example['reason']}." if "reason" in example else ""
