"""From names of tables and figures to files: existing measurements are read back, the rest is measured and stored."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ignota.reproduce.cells import AnomalyCell, Cell, ClosedCell, ExampleCell, IncrementalCell, Ledger
from ignota.reproduce.description import Description
from ignota.reproduce.example import example_world, measure_example
from ignota.reproduce.grounds import Setting
from ignota.reproduce.measuring import measure_anomalies, measure_closed, measure_incremental
from ignota.reproduce.tables import TABLES
from ignota.reproduce.taught_worlds import TaughtWorld
from ignota.reproduce.workshop import Workshop
from ignota.structures import InputError
from ignota.taxonomy import nearest

NAMES = (
    "table-1", "table-2", "table-3", "table-d", "table-e", "table-f", "table-g", "choices",
    "figure-1", "figure-2", "figure-3", "figure-4", "figure-5", "figure-6", "figure-7", "figure-8", "figure-i",
)  # fmt: skip
"""Everything, in the paper's order; `all` is short for it."""


def chosen_names(words: Sequence[str], without: Sequence[str] = ()) -> tuple[str, ...]:
    """The names asked for, each once, in the paper's order; raises InputError with the nearest one.

    without: what `all` leaves out, see `Ground`.
    """
    for word in words:
        if word not in (*NAMES, "all"):
            raise InputError(f"no table or figure {word!r}{nearest(word, (*NAMES, 'all'))}")
    return tuple(name for name in NAMES if name in words or ("all" in words and name not in without))


@dataclass
class Reproduction:
    """Tables of one setting, with the trained things and the figures that they share in `folder`."""

    setting: Setting
    folder: Path
    workshop: Workshop
    ledger: Ledger = field(init=False)
    _found: dict[Cell, Mapping[str, Any]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.folder / "cells")

    def descriptions(self, name: str) -> tuple[Description, ...]:
        """Of a table; () for a figure that is a picture alone."""
        return TABLES[name](self.setting) if name in TABLES else ()

    def cells(self, name: str) -> tuple[Cell, ...]:
        """What a table asks, each cell once."""
        return tuple(dict.fromkeys(cell for one in self.descriptions(name) for cell in one.cells()))

    def lookup(self, cell: Cell) -> Mapping[str, Any] | None:
        """The figures of a cell, None where it is not measured."""
        found = self._entry(cell)
        return None if found is None else found["figures"]

    def seconds(self, name: str) -> float:
        """What measuring a table took, without the trainings that it shares with others."""
        return sum(float(entry["seconds"]) for entry in map(self._entry, self.cells(name)) if entry is not None)

    def _entry(self, cell: Cell) -> Mapping[str, Any] | None:
        if cell not in self._found:
            found = self.ledger.read(cell, self._depends(cell))
            if found is None:
                return None
            self._found[cell] = found
        return self._found[cell]

    def complete(self, name: str) -> bool:
        """Whether every cell of a table is measured."""
        return all(self.lookup(cell) is not None for cell in self.cells(name))

    @cached_property
    def taught(self) -> TaughtWorld:
        """The taught world that figures look through."""
        return example_world(self.workshop)

    def example(self) -> Mapping[str, Any]:
        """The image of Table D and Figure I, looked for once."""
        cell = ExampleCell()
        if self._entry(cell) is None:
            started = time.monotonic()
            figures = measure_example(self.workshop, self.taught)
            self._keep(cell, figures, time.monotonic() - started)
        return dict(self.lookup(cell) or {})

    def measured(self, name: str) -> bool:
        """Whether a table is there to be shown, whole; False for what is a picture alone."""
        if name == "table-d":
            return self._entry(ExampleCell()) is not None
        return bool(self.cells(name)) and self.complete(name)

    def missing(self, names: Sequence[str]) -> list[Cell]:
        """The cells of these tables that are still to be measured, each once."""
        wanted = dict.fromkeys(cell for name in names for cell in self.cells(name))
        return [cell for cell in wanted if self.lookup(cell) is None]

    def measure(self, names: Sequence[str]) -> int:
        """Measures the missing cells of these tables; returns how many there were."""
        missing = self.missing(names)
        closed = [cell for cell in missing if isinstance(cell, ClosedCell)]
        measure_closed(self.workshop, closed, self._keep)
        for place in range(len(self.setting.ground.anomaly_sets)):
            scores = [cell for cell in missing if isinstance(cell, AnomalyCell) and cell.place == place]
            if scores:
                measure_anomalies(self.workshop, scores, self._keep)
        learnt = [cell for cell in missing if isinstance(cell, IncrementalCell)]
        for network in dict.fromkeys(self.setting.ground.trained_as(cell.split) for cell in learnt):
            members = [cell for cell in learnt if self.setting.ground.trained_as(cell.split) == network]
            measure_incremental(self.workshop, members, self._keep)
        return len(missing)

    def _keep(self, cell: Cell, figures: dict[str, Any], seconds: float) -> None:
        self.ledger.write(cell, self._depends(cell), figures, seconds)

    def _depends(self, cell: Cell) -> dict[str, Any]:
        """What the figures of a cell depend on beside the cell."""
        ground = self.setting.ground
        where = dataclasses.asdict(ground.anomaly_sets[cell.place]) if isinstance(cell, AnomalyCell) else {}
        split = where["closed"] if isinstance(cell, AnomalyCell) else cell.split
        shop = self.workshop
        seen = shop.anomaly_files(cell.place) if isinstance(cell, AnomalyCell) else shop.files("evaluate", split)
        return {
            "config": dataclasses.asdict(shop.config(split)),
            "where": where,
            "split": ground.splits[split],
            "images": self.setting.fidelity.images,
            "files": (shop.files("train", split), seen),
        }
