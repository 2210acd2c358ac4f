"""Scores of new label predictors, trained on the frozen features of one tap, pixel by pixel: one, or many of them.

Maximised entropy: Chan, Rottmann and Gottschalk, ICCV 2021. Deep ensembles: Lakshminarayanan, Pritzel and Blundell,
NeurIPS 2017. Dropout at inference: Gal and Ghahramani, ICML 2016; Mukhoti and Gal, 2018, for segmentation.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from ignota.data.images import resize_label
from ignota.functional.scores import mutual_information, predictive_entropy
from ignota.scores.score import OUTLIER, SampledScore, State, bounded, spread_over_classes, stacked
from ignota.scores.trained import Tick, TrainedScore, descend, ordered
from ignota.structures import Encoding, InputError

_BATCH, _LR = 1024, 3e-3
_FARTHEST = 30.0
"""Features are cut off so many spreads from their mean: nothing in training tells what lies beyond."""
_HALF_MAX = 6e4
_OUTLIERS = 0.9
"""λ: how much outliers weigh against known pixels; theirs."""


@dataclass(frozen=True)
class Heads:
    """M label predictors side by side, each of two layers: U = W₂ max(W₁ x + b₁, 0) + b₂."""

    first: Float[Tensor, "M F H"]
    first_bias: Float[Tensor, "M 1 H"]
    second: Float[Tensor, "M H C"]
    second_bias: Float[Tensor, "M 1 C"]

    @classmethod
    def drawn(cls, members: int, features: int, hidden: int, classes: int, generator: torch.Generator) -> Heads:
        """Before any training: random weights, each member its own."""
        first = torch.randn(members, features, hidden, generator=generator) * (2 / features) ** 0.5
        second = torch.randn(members, hidden, classes, generator=generator) / hidden**0.5
        found = cls(first, torch.zeros(members, 1, hidden), second, torch.zeros(members, 1, classes))
        for value in found.tensors().values():
            value.requires_grad_()
        return found

    @classmethod
    def of(cls, state: State) -> Heads:
        return cls(state["first"], state["first_bias"], state["second"], state["second_bias"])

    def tensors(self) -> State:
        names = ("first", "first_bias", "second", "second_bias")
        return {name: getattr(self, name) for name in names}

    def hidden(self, units: Float[Tensor, "m N F"]) -> Float[Tensor, "M N H"]:
        """The hidden layer; m is M, or 1 where all members see the same pixels."""
        return (units @ self.first + self.first_bias).relu()

    def logits(self, hidden: Float[Tensor, "k N H"]) -> Float[Tensor, "k N C"]:
        return hidden @ self.second + self.second_bias

    def __call__(self, units: Float[Tensor, "m N F"]) -> Float[Tensor, "M N C"]:
        return self.logits(self.hidden(units))


class HeadScore(TrainedScore, SampledScore):
    """Trains `members` heads on labelled pixels of a tap; a subclass has the loss and reads the heads' outputs.

    The encoder stays as it is. The same number of pixels of each class of an image is learnt from.
    """

    members = 1

    def __init__(self, tap: str = "decoder", per_image: int = 192, hidden: int = 128, steps: int = 1000) -> None:
        super().__init__(tap, per_image)
        self.hidden, self.steps = hidden, steps

    @abstractmethod
    def loss(
        self,
        heads: Heads,
        units: Float[Tensor, "M N F"],
        label: Int[Tensor, "M N"],
        generator: torch.Generator,
    ) -> Float[Tensor, ""]: ...

    @abstractmethod
    def read(self, heads: Heads, units: Float[Tensor, "1 N F"], state: State) -> Float[Tensor, " N"]:
        """The score of each pixel of one image."""

    def observe(self, encoding: Encoding, label: UInt8[np.ndarray, "h w"], rng: np.random.Generator) -> State:
        grid = encoding.features[self.tap]
        flat = resize_label(label, (grid.shape[-2], grid.shape[-1])).ravel()
        chosen = spread_over_classes(flat, self.per_image, rng)
        features = grid.flatten(1).T[torch.from_numpy(chosen).to(grid.device)].clamp(-_HALF_MAX, _HALF_MAX).half()
        classes = torch.full((len(chosen),), len(encoding.logits), dtype=torch.int16)
        return {"features": features.cpu(), "label": torch.from_numpy(flat[chosen]), "classes": classes}

    def train(self, observations: Sequence[State], seed: int, tick: Tick) -> State:
        seen = ordered(observations)
        features, label = stacked(seen, "features").float(), stacked(seen, "label").long()
        if not len(label):
            raise InputError("no labelled pixel in the training images: check the labels and the split")
        shift, spread = features.mean(0), features.std(0, correction=0)
        scale = spread.clamp(min=max(1e-6, 0.01 * float(spread.mean())))  # a dead channel must not decide everything
        units = in_units(features, shift, scale)
        generator = torch.Generator().manual_seed(seed)
        classes = int(stacked(seen, "classes")[0])
        heads = Heads.drawn(self.members, units.shape[1], self.hidden, classes, generator)

        def loss() -> Tensor:
            picked = torch.randint(len(label), (self.members, min(_BATCH, len(label))), generator=generator)
            return self.loss(heads, units[picked], label[picked], generator)

        descend(list(heads.tensors().values()), loss, self.steps, _LR, tick)
        trained = {name: value.detach() for name, value in heads.tensors().items()}
        return {"shift": shift, "scale": scale, "seed": torch.tensor(seed), **trained}

    def score(self, encoding: Encoding, state: State) -> Float[Tensor, "h w"]:
        units = in_units(self.vectors(encoding), state["shift"], state["scale"])
        return self.on_logits(self.read(Heads.of(state), units[None], state)[:, None], encoding)[0]


def in_units(
    features: Float[Tensor, "N F"], shift: Float[Tensor, " F"], scale: Float[Tensor, " F"]
) -> Float[Tensor, "N F"]:
    """Features from their mean in units of their spread."""
    return ((bounded(features) - shift) / scale).clamp(-_FARTHEST, _FARTHEST)


class MaximisedEntropy(HeadScore):
    """Entropy of a head trained by (1 - λ) cross entropy on known pixels + λ times that to the uniform distribution on
    pixels of things that are pasted into training images."""

    citation = "Chan et al., ICCV 2021"
    pasted = True

    def loss(
        self, heads: Heads, units: Float[Tensor, "M N F"], label: Int[Tensor, "M N"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        return entropy_loss(heads(units).flatten(0, 1), label.flatten(), label.flatten() == OUTLIER)

    def read(self, heads: Heads, units: Float[Tensor, "1 N F"], state: State) -> Float[Tensor, " N"]:
        return predictive_entropy(heads(units))


def entropy_loss(
    logits: Float[Tensor, "N C"], label: Int[Tensor, " N"], outlier: Bool[Tensor, " N"]
) -> Float[Tensor, ""]:
    """(1 - λ) mean over known pixels of -log p_y + λ mean over outliers of -1/C Σ_c log p_c; an empty mean is 0."""
    log_p = logits.log_softmax(1)
    known = F.nll_loss(log_p[~outlier], label[~outlier], reduction="sum") / (~outlier).sum().clamp(min=1)
    uniform = -log_p[outlier].mean(1).sum() / outlier.sum().clamp(min=1)
    return (1 - _OUTLIERS) * known + _OUTLIERS * uniform


class Ensemble(HeadScore):
    """Predictive entropy of five heads that differ in their first weights and in the pixels that each step shows them.

    All stand on one frozen encoder, so they agree more than networks do that were trained apart from the first layer.
    """

    citation = "Lakshminarayanan et al., NeurIPS 2017"
    members = 5

    def loss(
        self, heads: Heads, units: Float[Tensor, "M N F"], label: Int[Tensor, "M N"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        return F.cross_entropy(heads(units).flatten(0, 1), label.flatten())

    def read(self, heads: Heads, units: Float[Tensor, "1 N F"], state: State) -> Float[Tensor, " N"]:
        return predictive_entropy(heads(units))


class MonteCarloDropout(HeadScore):
    """Mutual information of `passes` predictions of one head, each with half of its hidden units switched off.

    In training every pixel has units of its own switched off. At test time the units of a pass are the same for all
    pixels, so that a pass is one drawing of the weights; they are drawn from the seed of the training.
    """

    citation = "Gal and Ghahramani, ICML 2016; Mukhoti and Gal 2018"

    def __init__(
        self,
        tap: str = "decoder",
        per_image: int = 192,
        hidden: int = 128,
        steps: int = 1000,
        passes: int = 20,
        rate: float = 0.5,
    ) -> None:
        super().__init__(tap, per_image, hidden, steps)
        self.passes, self.rate = passes, rate

    def loss(
        self, heads: Heads, units: Float[Tensor, "M N F"], label: Int[Tensor, "M N"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        hidden = heads.hidden(units)
        logits = heads.logits(hidden * self.kept(tuple(hidden.shape), generator))
        return F.cross_entropy(logits.flatten(0, 1), label.flatten())

    def read(self, heads: Heads, units: Float[Tensor, "1 N F"], state: State) -> Float[Tensor, " N"]:
        hidden = heads.hidden(units)
        generator = torch.Generator().manual_seed(int(state["seed"]))
        kept = self.kept((self.passes, 1, hidden.shape[2]), generator).to(hidden.device)
        return mutual_information(torch.cat([heads.logits(hidden * mask) for mask in kept]))

    def kept(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """1 / (1 - rate) for units that stay, 0 for the others."""
        return torch.bernoulli(torch.full(shape, 1 - self.rate), generator=generator) / (1 - self.rate)
