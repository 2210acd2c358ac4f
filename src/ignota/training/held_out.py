"""Scores on held-out training images, with and without pasted objects: their centre, spread and threshold."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import Tensor

from ignota.data.images import resize_label
from ignota.data.transforms import distort
from ignota.perception.known import KnownEvidence
from ignota.perception.networks import Networks
from ignota.perception.reading import anomaly_maps, read_regions
from ignota.scores.score import LEVEL
from ignota.structures import Sample
from ignota.synthetic.pasting import CutOut, paste
from ignota.taxonomy import IGNORE_INDEX
from ignota.training.distributed import each
from ignota.training.embedder_run import training_label
from ignota.training.fitting import HeldOutRows, held_out_rows, image_generator
from ignota.training.stream import Samples, TrainingImages
from ignota.training.weighing import Trial, pasted_trial

_PASTED = 3
"""How many unknown objects are pasted into each image."""
_PIXELS = 4000
"""How many labelled pixels of each image count."""


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


def calibrate_scores(
    networks: Networks,
    known: KnownEvidence,
    data: TrainingImages,
    tick: Callable[[], object],
    names: Sequence[str] | None = None,
) -> KnownEvidence:
    """The same evidence with the level of every pixel score in its state: fusions and fixed thresholds stand on it.

    names: of those scores alone, the others keep theirs. The threshold is exceeded by a share `target_fpr` of the
    labelled pixels of `data`. tick: called once an image.
    """
    names = list(known.recipe.scores()) if names is None else list(names)

    def read(image: int) -> dict[str, Tensor]:
        sample = data.samples[image]
        encoding = networks.encode(sample.image)
        label = training_label(sample, data.lut, (encoding.image.shape[0], encoding.image.shape[1]))
        seen = np.flatnonzero(label.ravel() != IGNORE_INDEX)
        rng = image_generator(data.seed, image)
        picked = torch.from_numpy(rng.choice(seen, min(_PIXELS, len(seen)), replace=False))
        maps = anomaly_maps(encoding, known, names)
        return {name: found.flatten()[picked.to(found.device)].cpu() for name, found in maps.items()}

    values: dict[str, list[Tensor]] = {name: [] for name in names}
    for seen in each(data.images, read):
        for name, found in seen.items():
            values[name].append(found)
        tick()
    states = {
        name: {**known.states[name], LEVEL: level(torch.cat(values[name]), known.recipe.target_fpr, networks.device)}
        for name in names
    }
    return dataclasses.replace(known, states=known.states | states)


def level(values: Tensor, target_fpr: float, device: torch.device) -> Tensor:
    """Centre, spread (positive) and the threshold that a share `target_fpr` of the values exceeds."""
    wide = values.double()
    threshold = float(np.quantile(wide.numpy(), 1 - target_fpr)) if len(wide) else 0.0
    centre, spread = (float(wide.mean()), float(wide.std(correction=0))) if len(wide) else (0.0, 1.0)
    return torch.tensor([centre, max(spread, 1e-6), threshold], device=device)
