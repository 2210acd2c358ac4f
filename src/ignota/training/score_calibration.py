"""Centre, spread and threshold of every score on held-out training images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ignota.perception.known import KnownEvidence
from ignota.perception.networks import Networks
from ignota.perception.reading import anomaly_maps
from ignota.scores.score import LEVEL
from ignota.taxonomy import IGNORE_INDEX
from ignota.training.distributed import each
from ignota.training.fitting import image_generator
from ignota.training.stream import TrainingImages
from ignota.training.training_regions import training_label

_PIXELS = 4000
"""How many labelled pixels of each image count."""


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
