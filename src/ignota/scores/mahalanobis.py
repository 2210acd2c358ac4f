"""Mahalanobis distance to the nearest class.

Lee, Lee, Lee and Shin, "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks",
NeurIPS 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ignota.scores.sampled import SampledScore
from ignota.scores.score import State
from ignota.structures import Encoding

_FLOOR = 1e-3


class Mahalanobis(SampledScore):
    """min_c √((f - μ_c)ᵀ Σ⁻¹ (f - μ_c)) with the means of the classes and one covariance for all (their Eq. 2).

    The root of their squared distance, which keeps the order. Every class weighs the same in Σ, as far as it has
    pixels. Σ's smallest eigenvalues are raised to a thousandth of their mean, so that it can be inverted. f is measured
    in units of its spread, which changes nothing but keeps the state within half precision.
    """

    citation = "Lee et al., NeurIPS 2018"

    def state(self, observations: Sequence[State]) -> State:
        rows = self.rows(observations)
        shift, spread = rows.features.mean(0), rows.features.std(0, correction=0)
        scale = spread.clamp(min=max(1e-6, 0.01 * float(spread.mean())))  # a dead channel must not decide everything
        units = (rows.features - shift) / scale
        present, owner = rows.label.unique(return_inverse=True)
        means = torch.stack([units[owner == i].mean(0) for i in range(len(present))])
        inner = units - means[owner]
        values, axes = torch.linalg.eigh(inner.T @ inner / len(inner))
        values = values.clamp(min=max(1e-6, _FLOOR * float(values.mean())))
        whitening = axes / values.sqrt()
        found = {"shift": shift, "scale": scale, "whitening": whitening, "means": means @ whitening}
        return {name: value.float() for name, value in found.items()}

    def score(self, encoding: Encoding, state: State) -> Float[Tensor, "h w"]:
        units = (self.vectors(encoding) - state["shift"]) / state["scale"]
        whitened = units @ state["whitening"]
        distances = torch.cdist(whitened, state["means"], compute_mode="donot_use_mm_for_euclid_dist")
        return self.on_logits(distances.amin(1, keepdim=True), encoding)[0]
