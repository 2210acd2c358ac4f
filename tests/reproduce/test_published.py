"""The published figures are those of the paper, and every one of them has a place in a table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ignota.reproduce.description import published
from ignota.reproduce.grounds import Setting
from ignota.reproduce.tables import TABLES

PAPER = Path(__file__).resolve().parents[3] / "shared" / "reference" / "paper.md"


def numbers(row: list[object]) -> list[float]:
    """All numbers of a row, pairs one after the other."""
    found = []
    for value in row:
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, int | float):
                found.append(float(part))
    return found


def test_every_row_stands_in_the_paper() -> None:
    if not PAPER.is_file():
        pytest.skip(f"no text of the paper at {PAPER}")
    lines = [line.replace("\\pm", "\t").replace("$", "") for line in PAPER.read_text(encoding="utf-8").splitlines()]
    printed = [[float(cell) for cell in line.split("\t") if re.fullmatch(r"\s*\d+(\.\d+)?\s*", cell)] for line in lines]
    for table, rows in published().items():
        for name, row in rows.items():
            wanted = numbers(row)
            wanted = [float(name.rpartition(" ")[2]), *wanted] if table == "table-f" else wanted
            assert wanted in printed, f"{table}, {name}"


def test_spot_checks_of_the_printed_page() -> None:
    assert published()["table-1"]["RAML"] == [46, 97, 8, 42, 86, 32]
    assert published()["table-2"]["16+3 5 shot RAML"][-4:] == [63.6, 38.4, 68.4, 49.1]
    assert published()["table-2"]["16+1 All 17"][16:19] == [94.8, None, None]
    assert published()["table-3"]["Baseline"] == [49.1, 1.5, 58.0, 2.9]
    assert published()["table-g"]["16+3 1 shot"][1] == [35.81, 2.23]


def test_every_published_row_is_shown_once(setting: Setting) -> None:
    for table, rows in published().items():
        if table == "table-d":
            continue
        for one in {tuple(line.published for line in d.lines if line.published) for d in TABLES[table](setting)}:
            assert len(set(one)) == len(one), table
        shown = {line.published for description in TABLES[table](setting) for line in description.lines}
        assert shown - {None} == set(rows), table
