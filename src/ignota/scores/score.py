"""The contract of every pixel anomaly score, and what scores of sampled training pixels share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ignota.data.images import resize_label
from ignota.structures import Encoding, InputError
from ignota.taxonomy import IGNORE_INDEX, UNKNOWN_INDEX

State = dict[str, Tensor]

OUTLIER = UNKNOWN_INDEX
"""In the labels that `observe` is given where a score is `pasted`: a pixel of a thing that belongs to no class."""

LEVEL = "level"
"""In the state of any score, "3": centre, spread and threshold on labelled pixels of held-out training images."""
_LIMIT = 1e6
"""Features beyond it, as of a diverged network, would overflow when squared."""


class AnomalyScore(ABC):
    """A score of each pixel: higher = more anomalous, on the grid of the logits.

    `observe` takes what the score needs from one training image, `state` joins the observations of all (their order
    does not matter beyond rounding), `score` reads a new image. A score that needs no training has an empty state.
    """

    citation: str
    pasted: bool = False
    """Whether `observe` sees the training images with unknown objects pasted in."""

    @property
    def ready(self) -> bool:
        """Whether it reads images of any world, without a state from training images."""
        return type(self).state is AnomalyScore.state

    def settings(self) -> dict[str, Any]:
        """What its state depends on beside its code and the training images, as values that JSON has."""
        return vars(self)

    def observe(self, encoding: Encoding, label: UInt8[np.ndarray, "h w"], rng: np.random.Generator) -> State:
        """The contribution of one training image.

        label: training ids on the grid of the logits. Void pixels (255) must not be learnt from: void pixels
        include the held-out novel classes.
        """
        return {}

    def state(self, observations: Sequence[State]) -> State:
        """Everything `score` needs, from the contributions of all training images."""
        return {}

    def learns_like(self, other: AnomalyScore) -> bool:
        """Whether the state of `other` is this one's too, so that it need not be made twice."""
        return False

    @abstractmethod
    def score(self, encoding: Encoding, state: State) -> Float[Tensor, "h w"]: ...


def stacked(observations: Sequence[State], name: str) -> Tensor:
    """The observations called `name`, one under the other."""
    return torch.cat([observation[name] for observation in observations])


@dataclass(frozen=True)
class Rows:
    """Training pixels: features "N F" and logits "N C" in float64, label "N"."""

    features: Float[Tensor, "N F"]
    logits: Float[Tensor, "N C"]
    label: Int[Tensor, " N"]


class SampledScore(AnomalyScore):
    """A score of one tap that learns from at most `per_image` labelled pixels of each training image."""

    def __init__(self, tap: str = "decoder", per_image: int = 96) -> None:
        self.tap, self.per_image = tap, per_image

    def observe(self, encoding: Encoding, label: UInt8[np.ndarray, "h w"], rng: np.random.Generator) -> State:
        grid = encoding.features[self.tap]
        size = (grid.shape[-2], grid.shape[-1])
        flat = resize_label(label, size).ravel()
        chosen = spread_over_classes(flat, self.per_image, rng)
        at = torch.from_numpy(chosen).to(grid.device)
        logits = F.interpolate(encoding.logits[None], size=size, mode="bilinear")[0]
        found = {"features": grid.float().flatten(1).T[at].cpu(), "logits": logits.flatten(1).T[at].cpu()}
        return found | {"label": torch.from_numpy(flat[chosen].astype(np.int64))}

    def rows(self, observations: Sequence[State]) -> Rows:
        """All training pixels; raises InputError where there is none."""
        features, logits, label = (stacked(observations, name) for name in ("features", "logits", "label"))
        if not len(label):
            raise InputError("no labelled pixel in the training images: check the labels and the split")
        return Rows(bounded(features).double(), logits.double(), label)

    def vectors(self, encoding: Encoding) -> Float[Tensor, "N F"]:
        """The tap's features, one row a cell."""
        return bounded(encoding.features[self.tap].float()).flatten(1).T

    def on_logits(self, values: Float[Tensor, "N K"], encoding: Encoding) -> Float[Tensor, "K h w"]:
        """Values of the tap's cells on the grid of the logits, bilinear."""
        grid = values.T.reshape(1, -1, *encoding.features[self.tap].shape[-2:])
        return F.interpolate(grid, size=encoding.logits.shape[-2:], mode="bilinear")[0]


def bounded(features: Tensor) -> Tensor:
    """Features kept from overflowing."""
    return features.clamp(-_LIMIT, _LIMIT)


def spread_over_classes(label: UInt8[np.ndarray, " N"], most: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """Places of at most `most` labelled pixels, equally many of each class as far as it has them."""
    classes = np.unique(label[label != IGNORE_INDEX])
    found = [np.zeros(0, np.int64)]
    for value in classes:
        places = np.flatnonzero(label == value)
        found.append(rng.choice(places, min(len(places), max(1, most // len(classes))), replace=False))
    return np.concatenate(found)


def linear_head(rows: Rows) -> tuple[Float[Tensor, "C F"], Float[Tensor, " C"]]:
    """W, b of least squares, U ≈ W f + b: the classifier itself where it is linear in this tap, as the paper's G is.

    So no score needs to know a network's layers. Of many solutions the one of the smallest norm.
    """
    centre, level = rows.features.mean(0), rows.logits.mean(0)
    weight = torch.linalg.lstsq(rows.features - centre, rows.logits - level, driver="gelsd").solution.T
    return weight, level - weight @ centre
