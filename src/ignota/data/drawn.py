"""The synthetic world behind the same interface as the data sets on disk."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ignota.structures import InputError, Sample
from ignota.synthetic import SyntheticStreets
from ignota.taxonomy import Taxonomy, nearest

LENGTHS = {"train": 1000, "val": 100, "anomaly": 60}
"""Scenes per split where the data set is opened by its name."""


_APART = 1_000_000
"""Things that training pastes in are cut from the anomaly scenes of its own seed: what is measured must be others."""


_KEPT = 1 << 29
"""Bytes of drawn scenes that are kept; of larger sets none is."""


class DrawnImages:
    """`SyntheticStreets` of a named split as a `LabelledImages`: no root, no paths, the length is a choice.

    Each scene is drawn once; loading processes that are forked off share what is drawn.
    """

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
        self.keys = self.streets.keys
        small = len(self.streets) * size[0] * size[1] * _SharedScenes.CHANNELS <= _KEPT
        self._drawn = _SharedScenes(len(self.streets), size) if small else None

    @property
    def taxonomy(self) -> Taxonomy | None:
        return self.streets.taxonomy

    @property
    def expected_size(self) -> tuple[int, int] | None:
        return self.streets.size

    @property
    def expected_length(self) -> int | None:
        return len(self.streets)

    def __len__(self) -> int:
        return len(self.streets)

    def __getitem__(self, index: int) -> Sample:
        if not -len(self) <= index < len(self):
            return self.streets[index]  # it says what is wrong
        number = index % len(self)
        kept = None if self._drawn is None else self._drawn.get(number)
        if kept is not None:
            return Sample(self.keys[number], kept[..., :3].copy(), kept[..., 3].copy())
        sample = self.streets[number]
        if self._drawn is not None and sample.label is not None:
            self._drawn.put(number, np.dstack([sample.image, sample.label]))
        return sample

    def load_label(self, index: int) -> UInt8[np.ndarray, "H W"]:
        """The label alone; the scene has to be drawn for it all the same."""
        label = self[index].label
        return np.zeros(self.streets.size, np.uint8) if label is None else label


class _SharedScenes:
    """Memory for every scene of a set, shared with processes that are forked off; those that are spawned get their own.

    It takes room only for what is put in. Two processes may draw the same scene at once: both write the same bytes.
    """

    CHANNELS = 4  # red, green, blue, label

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        self.count, self.size = count, size
        pixels = count * size[0] * size[1] * self.CHANNELS
        memory = mmap.mmap(-1, max(1, pixels + count))
        self._scenes = np.frombuffer(memory, np.uint8, pixels).reshape(count, *size, self.CHANNELS)
        self._there = np.frombuffer(memory, np.uint8, count, pixels)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.count, self.size)

    def get(self, number: int) -> UInt8[np.ndarray, "H W 4"] | None:
        return self._scenes[number] if self._there[number] else None

    def put(self, number: int, scene: UInt8[np.ndarray, "H W 4"]) -> None:
        self._scenes[number] = scene
        self._there[number] = 1  # last: who sees it finds the whole scene
