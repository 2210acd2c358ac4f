"""Scores that read the logits alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ignota.functional import scores
from ignota.scores.score import AnomalyScore, State, stacked
from ignota.structures import Encoding
from ignota.taxonomy import IGNORE_INDEX


class LogitScore(AnomalyScore):
    """Any function of the logits: "B C h w" -> "B h w"."""

    def __init__(self, function: Callable[[Tensor], Tensor], citation: str) -> None:
        self.function, self.citation = function, citation

    def score(self, encoding: Encoding, state: State) -> Float[Tensor, "h w"]:
        return self.function(encoding.logits[None])[0]


class StandardizedMaxLogits(AnomalyScore):
    """-(max U - μ_ĉ) / σ_ĉ, then boundary suppression and smoothing.

    μ and σ are of the labelled training pixels that are taken for class ĉ.

    Jung et al., "Standardized Max Logits", ICCV 2021.
    """

    citation = "Jung et al., ICCV 2021"

    def observe(self, encoding: Encoding, label: UInt8[np.ndarray, "h w"], rng: np.random.Generator) -> State:
        labelled = torch.from_numpy(label.ravel() != IGNORE_INDEX).to(encoding.logits.device)
        best, winner = encoding.logits.double().flatten(1)[:, labelled].max(0)
        classes = len(encoding.logits)
        rows = [torch.ones_like(best), best, best.square()]
        return {"sums": torch.stack([torch.bincount(winner, row, classes) for row in rows])[None]}

    def state(self, observations: Sequence[State]) -> State:
        count, first, second = stacked(observations, "sums").sum(0)
        mean = first / count.clamp(min=1)
        variance = (second / count.clamp(min=1) - mean**2).clamp(min=0)
        std = torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance))
        return {"mean": mean.float(), "std": std.float()}

    def score(self, encoding: Encoding, state: State) -> Float[Tensor, "h w"]:
        logits = encoding.logits[None]
        raw = scores.standardized_max_logits(logits, state["mean"], state["std"])
        return scores.smooth(scores.suppress_boundaries(raw, logits.argmax(1)))[0]


LOGIT_SCORES: dict[str, AnomalyScore] = {
    "msp": LogitScore(scores.msp, "Hendrycks and Gimpel, ICLR 2017"),
    "max_logit": LogitScore(scores.max_logit, "Hendrycks et al., ICML 2022"),
    "entropy": LogitScore(scores.entropy, "Shannon 1948; Chan et al., ICCV 2021"),
    "energy": LogitScore(scores.energy, "Liu et al., NeurIPS 2020"),
    "sml": StandardizedMaxLogits(),
    "sum_logits": LogitScore(scores.sum_logits, "Grcić et al., ECCV 2022"),
    "rba": LogitScore(scores.rba, "Nayal et al., ICCV 2023"),
}
