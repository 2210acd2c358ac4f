"""Entropy of a head trained to be maximally uncertain on outliers.

Chan, Rottmann and Gottschalk, "Entropy Maximization and Meta Classification for Out-Of-Distribution Detection in
Semantic Segmentation", ICCV 2021.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ignota.functional.disagreement import predictive_entropy
from ignota.scores.heads import Heads, HeadScore
from ignota.scores.score import OUTLIER, State

_OUTLIERS = 0.9
"""λ: how much outliers weigh against known pixels; theirs."""


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
