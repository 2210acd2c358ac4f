"""Virtual-logit matching: the part of features outside the principal subspace of training features.

Wang, Li, Feng and Zhang, "ViM: Out-Of-Distribution with Virtual-logit Matching", CVPR 2022.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ignota.scores.sampled import SampledScore, linear_head
from ignota.scores.score import State
from ignota.structures import Encoding


class VirtualLogit(SampledScore):
    """α ‖x^P⊥‖ - log Σ exp U (their Eq. 4 to 6, as a logarithm), x = f - o.

    o = -(Wᵀ)⁺ b is the origin where all logits vanish, P the span of the D largest principal axes of training
    features about o, α the sum of the training pixels' largest logits over that of their residuals ‖x^P⊥‖. D as in
    their Section 5: 1000 of 2048 features and more, 512 of 768 and more, else half of them.
    """

    citation = "Wang et al., CVPR 2022 (ViM)"

    def state(self, observations: Sequence[State]) -> State:
        rows = self.rows(observations)
        weight, bias = linear_head(rows)
        origin = -torch.linalg.pinv(weight) @ bias
        moved = rows.features - origin
        _, axes = torch.linalg.eigh(moved.T @ moved / len(moved))  # the smallest first
        features = moved.shape[1]
        principal = 1000 if features >= 2048 else 512 if features >= 768 else features // 2
        rest = axes[:, : features - principal]
        residual = (moved @ rest).norm(dim=1).mean()
        alpha = rows.logits.amax(1).mean() / residual if residual > 1e-9 else torch.zeros(())
        return {"origin": origin.float(), "rest": rest.float(), "alpha": alpha.clamp(min=0).float()}

    def score(self, encoding: Encoding, state: State) -> Float[Tensor, "h w"]:
        residual = ((self.vectors(encoding) - state["origin"]) @ state["rest"]).norm(dim=1, keepdim=True)
        return state["alpha"] * self.on_logits(residual, encoding)[0] - encoding.logits.logsumexp(0)
