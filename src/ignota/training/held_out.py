"""Scores on held-out training images: unchanged, and with unknown objects pasted in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from ignota.data.images import resize_label
from ignota.data.transforms import distort
from ignota.perception.known import KnownEvidence
from ignota.perception.networks import Networks
from ignota.perception.reading import read_regions
from ignota.structures import Sample
from ignota.synthetic.pasting import CutOut, paste
from ignota.training.fitting import HeldOutRows, held_out_rows, image_generator
from ignota.training.stream import Samples
from ignota.training.training_regions import training_label
from ignota.training.weighing import Trial, pasted_trial

_PASTED = 3
"""How many unknown objects are pasted into each image."""


@dataclass(frozen=True)
class HeldOutReader:
    """Reads held-out images by several candidates for the known evidence, each image through the networks once.

    lut: label value -> training id. names: of the known classes. things: what may be pasted in. distort: how much the
    pictures are changed before.
    """

    networks: Networks
    samples: Samples
    lut: NDArray[np.uint8]
    names: Sequence[str]
    things: tuple[CutOut, ...]
    distort: float
    seed: int

    def read(self, candidates: Mapping[float, KnownEvidence], image: int) -> dict[float, tuple[HeldOutRows, Trial]]:
        """What an image shows to each candidate, as it is and with things in it."""
        sample = self.samples[image]
        rows, pasted = self._rows(candidates, sample, image), self._pasted(candidates, sample, image)
        return {name: (rows[name], pasted[name]) for name in candidates}

    def pasted_picture(
        self, sample: Sample, rng: np.random.Generator
    ) -> tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"]]:
        """An image as another camera might take it with things in it, and where: 0 known, 1 pasted, 255 void."""
        view = distort(sample.image, self.distort, rng)
        return paste(view, training_label(sample, self.lut, _size(sample.image)), self.things, _PASTED, rng)

    def _rows(self, candidates: Mapping[float, KnownEvidence], sample: Sample, image: int) -> dict[float, HeldOutRows]:
        encoding = self.networks.encode(sample.image)
        label = training_label(sample, self.lut, _size(encoding.image))
        reading = read_regions(encoding, next(iter(candidates.values())))
        return {
            name: held_out_rows(encoding, known, reading, label, self.names, image_generator(self.seed, image))
            for name, known in candidates.items()
        }

    def _pasted(self, candidates: Mapping[float, KnownEvidence], sample: Sample, image: int) -> dict[float, Trial]:
        rng = image_generator(self.seed + 1, image)
        picture, target = self.pasted_picture(sample, rng)
        encoding = self.networks.encode(picture)
        reading = read_regions(encoding, next(iter(candidates.values())))
        target, state = resize_label(target, _size(encoding.image)), rng.bit_generator.state
        found = {}
        for name, known in candidates.items():
            rng.bit_generator.state = state  # the same pixels for every candidate
            found[name] = pasted_trial(encoding, known, reading, target, rng)
        return found


def _size(image: UInt8[np.ndarray, "H W 3"]) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
