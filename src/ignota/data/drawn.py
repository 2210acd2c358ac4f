"""The synthetic world behind the same interface as the data sets on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from ignota.structures import InputError, Sample
from ignota.synthetic import SyntheticStreets
from ignota.taxonomy import Taxonomy, nearest

LENGTHS = {"train": 1000, "val": 100, "anomaly": 60}
"""Scenes per split where the data set is opened by its name."""


_APART = 1_000_000
"""Things that training pastes in are cut from the anomaly scenes of its own seed: what is measured must be others."""


class DrawnImages:
    """`SyntheticStreets` of a named split as a `LabelledImages`: no root, no paths, the length is a choice."""

    name = "synthetic"
    image_paths: tuple[Path, ...] = ()
    label_paths: tuple[Path, ...] = ()

    def __init__(
        self, split: str | None = None, length: int | None = None, size: tuple[int, int] = (256, 512), seed: int = 0
    ) -> None:
        self.split = "val" if split is None else split
        if self.split not in LENGTHS:
            raise InputError(f"synthetic has no split {self.split!r}{nearest(self.split, list(LENGTHS))}")
        apart = _APART if self.split == "anomaly" else 0
        self.streets = SyntheticStreets(self.split, length or LENGTHS[self.split], size, seed + apart)

    @property
    def taxonomy(self) -> Taxonomy | None:
        return self.streets.taxonomy

    @property
    def keys(self) -> tuple[str, ...]:
        return self.streets.keys

    @property
    def expected_size(self) -> tuple[int, int] | None:
        return self.streets.size

    @property
    def expected_length(self) -> int | None:
        return len(self.streets)

    def __len__(self) -> int:
        return len(self.streets)

    def __getitem__(self, index: int) -> Sample:
        return self.streets[index]

    def load_label(self, index: int) -> UInt8[np.ndarray, "H W"]:
        """The label alone; the scene has to be drawn for it all the same."""
        label = self.streets[index].label
        return np.zeros(self.streets.size, np.uint8) if label is None else label
