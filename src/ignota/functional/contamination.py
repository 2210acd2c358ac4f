"""Where the scores of known pixels end, told from a sample that holds unknown pixels as well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class KnownTail:
    """threshold: what a share of the known scores exceeds. spread: their standard deviation, by quantiles. unknown: the
    share of scores that are unknown, as far as these exceed the threshold."""

    threshold: float
    spread: float
    unknown: float


def known_tail(scores: Float[np.ndarray, " N"], target_fpr: float) -> KnownTail:
    return KnownTail(float(np.quantile(scores, 1 - target_fpr)), float(scores.std()), 0.0)
