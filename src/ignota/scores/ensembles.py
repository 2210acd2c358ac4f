"""Uncertainty by many predictions of one pixel: a deep ensemble, and dropout at inference.

Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
NeurIPS 2017. Gal and Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016; Mukhoti and Gal, "Evaluating
Bayesian Deep Learning Methods for Semantic Segmentation", 2018.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ignota.functional.scores import mutual_information, predictive_entropy
from ignota.scores.heads import Heads, HeadScore
from ignota.scores.score import State


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
