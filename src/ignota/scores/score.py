"""The contract of every pixel anomaly score: what it observes on training images, and how it reads a new one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ignota.structures import Encoding
from ignota.taxonomy import UNKNOWN_INDEX

State = dict[str, Tensor]

OUTLIER = UNKNOWN_INDEX
"""In the labels that `observe` is given where a score is `pasted`: a pixel of a thing that belongs to no class."""

LEVEL = "level"
"""In the state of any score, "3": centre, spread and threshold on labelled pixels of held-out training images."""


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
