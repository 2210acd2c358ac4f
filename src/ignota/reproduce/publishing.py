"""The output of `ignota reproduce`: tables as Markdown and CSV, figures as PNG, all in one HTML report."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from ignota.data.files import write_atomically, write_json
from ignota.data.images import read_image
from ignota.reports.report import Item, PictureRow, Report, Section, write_report
from ignota.reports.tables import Table, to_csv, to_markdown
from ignota.reproduce.claims import Verdict, claims, verdict
from ignota.reproduce.estimate import estimate
from ignota.reproduce.example import SPLIT
from ignota.reproduce.figures import FIGURES, Figure
from ignota.reproduce.grounds import Setting
from ignota.reproduce.rendering import claim_table, example_table, number_table, shown_table
from ignota.reproduce.runner import NAMES, Reproduction
from ignota.reproduce.workshop import RAML, Workshop
from ignota.training.stage_run import fingerprint

REPORT, RESULTS, SPENT, EXAMPLE = "report.html", "results.json", "spent.json", "table-d"
_SMALLEST_WIDTH = 320
"""Pictures of small images are enlarged, so that a viewer does not blur them."""


def reproduce(
    names: Sequence[str], setting: Setting, out: Path, device: torch.device, quiet: bool = False,
    given: Sequence[Path] = (), announce: Callable[[str], object] | None = None, allow_download: bool = False,
) -> list[Path]:  # fmt: skip
    """Measures what is missing, then writes the files of `names` and the report; returns what was written.

    announce: receives one line beforehand, with the time that it will take and what its figures are good for.
    """
    reproduction = opened(setting, out, device, quiet, given, allow_download)
    reproduction.workshop.check_given()
    if announce is not None:
        smoke = f" ({setting.fidelity.name} is a smoke test: its figures support no claim)"
        announce(f"{estimate(reproduction, names)}{smoke if setting.fidelity.smoke else ''}")
    written = []
    with spending(reproduction.folder / SPENT):
        reproduction.measure(names)
        for name in names:
            written += [*write_tables(reproduction, name), *write_figure(reproduction, name)]
    write_json(reproduction.folder / RESULTS, results(reproduction))
    write_report(reproduction.folder / REPORT, report(reproduction))
    return [*written, reproduction.folder / RESULTS, reproduction.folder / REPORT]


@contextmanager
def spending(file: Path) -> Iterator[None]:
    """Adds what is spent inside to the sums in `file`, also where it is stopped: {"wall", "processor"} in seconds.

    Processor time is that of all threads and of ended processes below; work beside does not count.
    """
    wall, processor = time.monotonic(), sum(os.times()[:4])
    try:
        yield
    finally:
        before = _record(file)
        write_json(
            file,
            {
                "wall": before.get("wall", 0.0) + time.monotonic() - wall,
                "processor": before.get("processor", 0.0) + sum(os.times()[:4]) - processor,
            },
        )


def opened(
    setting: Setting, out: Path, device: torch.device, quiet: bool = False, given: Sequence[Path] = (),
    allow_download: bool = False,
) -> Reproduction:  # fmt: skip
    """The reproduction of a setting in `out`, with whatever was measured before."""
    folder = out / f"{setting.ground.name}-{setting.fidelity.name}"
    workshop = Workshop(setting, folder / "trained", device, quiet, tuple(given), allow_download)
    return Reproduction(setting, folder, workshop)


def tables_of(reproduction: Reproduction, name: str) -> tuple[tuple[Table, Table], ...]:
    """Each table of a name for people and for programs."""
    found: tuple[tuple[Table, Table], ...]
    if name == EXAMPLE:
        table = example_table(reproduction.example())
        found = ((table, table),)
    else:
        found = tuple(
            (shown_table(one, reproduction.lookup), number_table(one, reproduction.lookup))
            for one in reproduction.descriptions(name)
        )
    return tuple((_marked(reproduction, shown), _marked(reproduction, plain)) for shown, plain in found)


def _marked(reproduction: Reproduction, table: Table) -> Table:
    """With a title that says so where the figures are those of a smoke test."""
    smoke = reproduction.setting.fidelity.smoke
    return dataclasses.replace(table, title=f"{table.title} (smoke test, no claim)") if smoke else table


def write_tables(reproduction: Reproduction, name: str) -> list[Path]:
    """NAME.md with every table of that name, and NAME.csv, or NAME-2.csv and so on for further ones."""
    tables = tables_of(reproduction, name)
    if not tables:
        return []
    paths = [reproduction.folder / f"{name}.md"]
    write_atomically(paths[0], "\n".join(to_markdown(shown) for shown, _ in tables).encode())
    for number, (_, plain) in enumerate(tables, start=1):
        paths.append(reproduction.folder / (f"{name}.csv" if number == 1 else f"{name}-{number}.csv"))
        write_atomically(paths[-1], to_csv(plain).encode())
    return paths


def write_figure(reproduction: Reproduction, name: str) -> list[Path]:
    """NAME.png, and its single pictures in figures/NAME; drawn once for each configuration."""
    if name not in FIGURES:
        return []
    sheet, record = reproduction.folder / f"{name}.png", reproduction.folder / "figures" / name / "figure.json"
    setting, shop = reproduction.setting, reproduction.workshop
    configs = [shop.config(split) for split in setting.ground.splits]
    files = [shop.files("train", SPLIT), shop.files("evaluate", SPLIT)]
    files += [shop.anomaly_files(place) for place in range(len(setting.ground.anomaly_sets))]
    mark = fingerprint(name, configs, setting.fidelity.images, files)
    if _record(record).get("hash") != mark or not sheet.is_file():
        started = time.monotonic()
        _keep_figure(FIGURES[name](reproduction), sheet, record, {"hash": mark}, started)
    return [sheet]


def _keep_figure(figure: Figure, sheet: Path, record: Path, mark: dict[str, Any], started: float) -> None:
    folder = record.parent
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = []
    for i, row in enumerate(figure.rows):
        cells = []
        for j, (caption, picture) in enumerate(row.cells):
            file = f"{i + 1}-{j + 1}.png"
            write_atomically(folder / file, _png(_visible(picture)))
            cells.append([caption, file])
        rows.append({"caption": row.caption, "cells": cells})
    write_atomically(sheet, _png(figure.sheet))
    seconds = time.monotonic() - started
    write_json(record, {**mark, "title": figure.title, "text": figure.text, "rows": rows, "seconds": seconds})


def results(reproduction: Reproduction) -> dict[str, Any]:
    """Everything that is measured so far as plain values, for `experiments/pages/paper.py` and other programs."""
    setting, workshop = reproduction.setting, reproduction.workshop
    tables = {name: tables_of(reproduction, name) for name in NAMES if reproduction.measured(name)}
    figures = {name: _record(reproduction.folder / "figures" / name / "figure.json") for name in FIGURES}
    networks = dict.fromkeys(setting.ground.trained_as(split) for split in setting.ground.splits)
    return {
        "world": setting.ground.name,
        "stands_for": setting.ground.stands_for,
        "fidelity": setting.fidelity.name,
        "smoke": setting.fidelity.smoke,
        "seeds": setting.fidelity.seeds,
        "branches": setting.fidelity.branches,
        "schedules": {system: workshop.card(SPLIT, system) for system in RAML},
        "size": workshop.config(SPLIT).size,
        "images": len(setting.evaluate(SPLIT)),
        "reuse": [str(source) for source in workshop.given],
        "tables": {name: [dataclasses.asdict(shown) for shown, _ in found] for name, found in tables.items()},
        "seconds": {name: reproduction.seconds(name) for name in tables},
        "trainings": {split: workshop.seconds(split) for split in networks if workshop.seconds(split)},
        "figures": {
            name: {key: one[key] for key in ("title", "text", "seconds")} for name, one in figures.items() if one
        },
        "claims": dataclasses.asdict(claim_table(verdicts(reproduction))),
        "spent": _record(reproduction.folder / SPENT),
    }


def verdicts(reproduction: Reproduction) -> list[Verdict]:
    """Of every claim; a smoke test has none."""
    if reproduction.setting.fidelity.smoke:
        return []
    return [verdict(claim, reproduction.lookup) for claim in claims(reproduction.setting)]


def report(reproduction: Reproduction) -> Report:
    """Everything that is measured so far, in the paper's order, the claims first."""
    setting = reproduction.setting
    smoke = setting.fidelity.smoke
    tables: tuple[Item, ...] = () if smoke else (claim_table(verdicts(reproduction)),)
    sections = [Section("Does the paper's order hold?", _SMOKE if smoke else _CLAIMS, tables)]
    for name in NAMES:
        items: list[Item] = []
        if reproduction.measured(name):
            items += [shown for shown, _ in tables_of(reproduction, name)]
        record = _record(reproduction.folder / "figures" / name / "figure.json")
        items += figure_rows(reproduction.folder / "figures" / name, record)
        if items:
            title = record.get("title") or name.replace("-", " ").capitalize()
            sections.append(Section(str(title), str(record.get("text", "")), tuple(items)))
    provenance = {
        "command": f"ignota reproduce all --world {setting.ground.name} --fidelity {setting.fidelity.name}",
        "world": setting.ground.stands_for,
        "runs": f"{setting.fidelity.seeds} seeds of shots and D, {setting.fidelity.branches} trainings of each branch "
        "of Tables 3 and E; the closed sets are trained once",
        "torch": torch.__version__,
    }
    return Report("The paper, reproduced", f"{setting.ground.stands_for} Fidelity: {setting.fidelity.name}.",
                  tuple(sections), provenance)  # fmt: skip


_CLAIMS = (
    "Differences in points, the first minus the second, paired over seeds, with the 95 % interval of their mean "
    "(Student's t). A claim holds where the interval lies above 0 and the mean is one point or more; it does not hold "
    "where the whole interval lies below one point; it is undecided otherwise."
)
_SMOKE = "This is a smoke test: it shows that everything runs. Its figures support no claim; `--fidelity full` does."


def figure_rows(folder: Path, record: dict[str, Any]) -> list[PictureRow]:
    """The pictures of a figure, as they were kept."""
    return [
        PictureRow(row["caption"], tuple((caption, read_image(folder / file)) for caption, file in row["cells"]))
        for row in record.get("rows", [])
    ]


def _record(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _visible(picture: np.ndarray) -> np.ndarray:
    times = -(-_SMALLEST_WIDTH // picture.shape[1])
    if times == 1:
        return picture
    size = (picture.shape[1] * times, picture.shape[0] * times)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST))
