"""The request of one cell of a table, as frozen values; equal requests are measured once."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ignota.data.files import write_json
from ignota.training.stage_run import fingerprint

LOSSES = ("rec", "split", "inter")
"""Of Equation 6, in the order in which Table 3 adds them."""


@dataclass(frozen=True)
class Variant:
    """How the paper's own part of a world is made.

    seed: of D alone, of the anomaly stage and of the branches. branch_seed: of stage 2. channels: K of the branch
    `paper`, None for the configuration's; that of `released` follows from the classes. losses: those of Equation 6 that
    are on. shown: so many shots of each novel class join the training images of stage 2 (Appendix C.1). one_hot:
    DMLNet's centres in place of the circle loss in the anomaly stage. theta: θ_novel, None for the method's own. sobel:
    Equation 2 with its first term. edges: its α and β, None for those of the training images. gated: only what the
    anomaly map calls unknown may become a novel class (Figure 2).
    """

    seed: int = 0
    branch_seed: int = 0
    channels: int | None = None
    losses: tuple[str, ...] = LOSSES
    shown: int = 0
    one_hot: bool = False
    theta: float | None = None
    sobel: bool = True
    edges: tuple[float, float] | None = None
    gated: bool = False


@dataclass(frozen=True)
class AnomalyCell:
    """One score on one of the anomaly sets. place: number of the set."""

    place: int
    score: str
    variant: Variant = Variant()
    kind: Literal["anomaly"] = "anomaly"


@dataclass(frozen=True)
class IncrementalCell:
    """One method after some shots. split: by its name in the paper. draw: None for the largest, else a random one among
    the images whose pixels show the class on a share of `min_share` at least."""

    split: str
    method: str
    shots: int
    draw: int | None = None
    variant: Variant = Variant()
    min_share: float = 0.0
    kind: Literal["incremental"] = "incremental"


@dataclass(frozen=True)
class ClosedCell:
    """A network trained with all classes of a setting. split: by its name in the paper."""

    split: str
    kind: Literal["closed"] = "closed"


@dataclass(frozen=True)
class ExampleCell:
    """The image of Table D and Figure I: that of the evaluation split with the most classes among its regions."""

    split: str = "16+3"
    kind: Literal["example"] = "example"


Cell = AnomalyCell | IncrementalCell | ClosedCell | ExampleCell


@dataclass(frozen=True)
class Ledger:
    """Figures of cells on disk: one JSON file each, written atomically, found by what they depend on."""

    folder: Path

    def path(self, cell: Cell, setting: Any) -> Path:
        """setting: everything else that the figures depend on."""
        return self.folder / f"{cell.kind}-{fingerprint(dataclasses.asdict(cell), setting)[:20]}.json"

    def read(self, cell: Cell, setting: Any) -> dict[str, Any] | None:
        """{"cell", "figures", "seconds"}, or None where the cell is still to be measured."""
        try:
            return dict(json.loads(self.path(cell, setting).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None

    def write(self, cell: Cell, setting: Any, figures: dict[str, Any], seconds: float) -> None:
        """Keeps the figures; seconds: what measuring took, a pass being shared evenly by its cells."""
        write_json(self.path(cell, setting), {"cell": dataclasses.asdict(cell), "figures": figures, "seconds": seconds})
