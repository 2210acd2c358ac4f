"""Energy of logits from features that are clipped above a percentile of training features.

Sun, Guo and Li, "ReAct: Out-of-distribution Detection With Rectified Activations", NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ignota.scores.sampled import SampledScore, linear_head
from ignota.scores.score import State
from ignota.structures import Encoding


class RectifiedActivations(SampledScore):
    """-log Σ exp(W min(f, c) + b), c the 90th percentile of all training activations (their Eq. 2 and Section 3).

    Computed as U - W max(f - c, 0), which is the same for a linear classifier and a good guess for another.
    """

    citation = "Sun et al., NeurIPS 2021 (ReAct)"

    def __init__(self, tap: str = "decoder", per_image: int = 96, percentile: float = 90.0) -> None:
        super().__init__(tap, per_image)
        self.percentile = percentile

    def state(self, observations: Sequence[State]) -> State:
        rows = self.rows(observations)
        limit = float(np.percentile(rows.features.numpy(), self.percentile))
        return {"weight": linear_head(rows)[0].float(), "limit": torch.tensor(limit)}

    def score(self, encoding: Encoding, state: State) -> Float[Tensor, "h w"]:
        excess = (self.vectors(encoding) - state["limit"]).clamp(min=0) @ state["weight"].T
        return -(encoding.logits - self.on_logits(excess, encoding)).logsumexp(0)
