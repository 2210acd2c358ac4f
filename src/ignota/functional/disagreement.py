"""The uncertainty of several predictions of one pixel, and their disagreement.

Lakshminarayanan et al. 2017 (ensembles), Gal and Ghahramani 2016 (dropout), Mukhoti and Gal 2018 (for segmentation).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def predictive_entropy(logits: Float[Tensor, "M N C"]) -> Float[Tensor, " N"]:
    """Entropy of the mean of M predictions, -Σ p̄ log p̄ / log C with p̄ = mean_m softmax U_m, in 0..1."""
    return _entropy(logits.softmax(-1).mean(0))


def mutual_information(logits: Float[Tensor, "M N C"]) -> Float[Tensor, " N"]:
    """What M predictions disagree about: entropy of their mean minus the mean of their entropies, in 0..1.

    It vanishes where all say the same, however unsure they are.
    """
    p = logits.softmax(-1)
    return _entropy(p.mean(0)) - _entropy(p).mean(0)


def _entropy(p: Tensor) -> Tensor:
    return torch.special.entr(p).sum(-1) / math.log(max(p.shape[-1], 2))
