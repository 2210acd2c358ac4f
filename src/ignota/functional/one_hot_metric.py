"""DMLNet's metric space, in which every class has a fixed one-hot centre, and the anomaly scores that are read from it.

Cen, Yun, Cai, Wang and Liu, "Deep Metric Learning for Open World Semantic Segmentation", ICCV 2021. f are embeddings of
pixels with one component a class, "N C"; the centre of class c is m_c = 3·e_c.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

SCALE = 3.0
_CLIP = 400.0
_STEEP, _TURN = 50.0, 0.2


def metric_logits(f: Float[Tensor, "N C"]) -> Float[Tensor, "N C"]:
    """-‖f - m_c‖² = 6 f_c - ‖f‖² - 9, without a tensor of all differences."""
    return 2 * SCALE * f - f.square().sum(-1, keepdim=True) - SCALE**2


def variance_loss(f: Float[Tensor, "N C"], label: Int[Tensor, " N"]) -> Float[Tensor, ""]:
    """The mean of ‖f - m_y‖²: how far pixels are from the centre of their own class."""
    return -metric_logits(f).gather(1, label[:, None]).mean()


def distance_sum(f: Float[Tensor, "N C"]) -> Float[Tensor, " N"]:
    """S = Σ_c ‖f - m_c‖² = C ‖f‖² - 6 Σ f + 9 C; it is larger at a centre than between all of them."""
    classes = f.shape[1]
    return classes * f.square().sum(1) - 2 * SCALE * f.sum(1) + classes * SCALE**2


def eds(f: Float[Tensor, "N C"]) -> Float[Tensor, " N"]:
    """Euclidean distance sum: 1 - S, S cut off at 400 and then stretched to 0..1 over the pixels of one image."""
    return 1 - _stretched(distance_sum(f).clamp(max=_CLIP))


def mmsp(f: Float[Tensor, "N C"]) -> Float[Tensor, " N"]:
    """Metric-based maximum softmax probability: 1 - max_c softmax(-‖f - m_c‖²), stretched to 0..1 in the same way."""
    return 1 - _stretched((2 * SCALE * f).softmax(1).amax(1))


def mixed(f: Float[Tensor, "N C"]) -> Float[Tensor, " N"]:
    """α · EDS + (1 - α) · MMSP with α = 1 / (1 + exp(50 (S - 0.2))), S stretched: EDS decides where it is sure."""
    distant = eds(f)
    alpha = torch.sigmoid(-_STEEP * (1 - distant - _TURN))
    return alpha * distant + (1 - alpha) * mmsp(f)


def _stretched(values: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    low, high = values.aminmax()
    return (values - low) / torch.where(high > low, high - low, 1)
