"""What `ignota reproduce` leaves: each table as Markdown and CSV, each figure as PNG, everything in one HTML report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from ignota.data.files import write_atomically
from ignota.reproduce.grounds import Setting
from ignota.reproduce.rendering import number_table, shown_table
from ignota.reproduce.runner import Reproduction
from ignota.reproduce.workshop import Workshop
from ignota.reports.tables import to_csv, to_markdown

REPORT = "report.html"


def reproduce(
    names: Sequence[str], setting: Setting, out: Path, device: torch.device, quiet: bool = False,
    given: Sequence[Path] = (),
) -> list[Path]:  # fmt: skip
    """Measures what is missing, then writes the files of `names` and the report; returns what was written."""
    folder = out / f"{setting.ground.name}-{setting.fidelity.name}"
    workshop = Workshop(setting, folder / "trained", device, quiet, tuple(given))
    reproduction = Reproduction(setting, folder, workshop)
    reproduction.measure(names)
    written = []
    for name in names:
        written += write_tables(reproduction, name)
    return written


def write_tables(reproduction: Reproduction, name: str) -> list[Path]:
    """NAME.md with every table of that name, and NAME.csv, or NAME-2.csv and so on for further ones."""
    descriptions = reproduction.descriptions(name)
    if not descriptions:
        return []
    shown = [shown_table(one, reproduction.lookup) for one in descriptions]
    page = reproduction.folder / f"{name}.md"
    write_atomically(page, "\n".join(to_markdown(table) for table in shown).encode())
    paths = [page]
    for number, one in enumerate(descriptions, start=1):
        path = reproduction.folder / (f"{name}.csv" if number == 1 else f"{name}-{number}.csv")
        write_atomically(path, to_csv(number_table(one, reproduction.lookup)).encode())
        paths.append(path)
    return paths
