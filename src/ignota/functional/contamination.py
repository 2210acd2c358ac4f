"""The upper end of the scores of known pixels, estimated from a sample that contains unknown pixels as well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

USUAL = 0.05
"""Share of unknown scores in a sample, until more is known; all of them are taken to lie above the known ones."""
MOVED = 1 / 3
"""Of the way from the threshold that training images gave to the one that the sample gives."""
STEEPNESS = 0.6
"""By how many scales of the score the threshold rises where the target is e times smaller."""


@dataclass(frozen=True)
class KnownTail:
    """threshold: what a share of the known scores exceeds. unknown: the estimated share of scores that are unknown."""

    threshold: float
    unknown: float


def prior_threshold(threshold: float, scale: float, target: float, other: float) -> float:
    """The threshold for the target `other` from the one for `target`: the tail falls exponentially, by STEEPNESS."""
    return threshold + STEEPNESS * scale * float(np.log(target / other))


def contaminated_quantile(scores: Float[np.ndarray, " N"], target_fpr: float) -> float:
    """What `target_fpr` of the known scores exceeds if the largest USUAL of all are unknown (Huber's contamination).

    Raises ValueError for no scores.
    """
    if not len(scores):
        raise ValueError("no score to set a threshold on")
    return float(np.quantile(scores, (1 - USUAL) * (1 - target_fpr)))


def known_tail(
    scores: Float[np.ndarray, " N"],
    target_fpr: float,
    prior: float,
    plain: Float[np.ndarray, " N"] | None = None,
) -> KnownTail:
    """The threshold that `target_fpr` of the known scores exceeds, among scores of which some are unknown.

    It is q + (1 - MOVED) (t - q₀): q, q₀ the contaminated quantiles of `scores` and `plain`, t the `prior` threshold,
    which is for `plain` (by default `scores`). The share of unknown scores is what exceeds the threshold beyond the
    target. Raises ValueError for no scores.
    """
    found = contaminated_quantile(scores, target_fpr)
    before = found if plain is None else contaminated_quantile(plain, target_fpr)
    threshold = found + (1 - MOVED) * (prior - before)
    above = float((scores > threshold).mean())
    return KnownTail(threshold, max(0.0, (above - target_fpr) / (1 - target_fpr)))
