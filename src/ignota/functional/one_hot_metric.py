"""DMLNet's metric space, where every class has a fixed one-hot centre, and the anomaly scores computed from it.

Cen, Yun, Cai, Wang and Liu, "Deep Metric Learning for Open World Semantic Segmentation", ICCV 2021. f are embeddings of
pixels with one component a class; the centre of class c is m_c = 3·e_c. The metric logit of a class is
score_c = -‖f - m_c‖² = 6 f_c - ‖f‖² - 9, so softmax(score) = softmax(6 f). Anomaly scores read metric logits rather
than f, so that logits that were averaged over image scales can be read as well.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from ignota.taxonomy import IGNORE_INDEX

SCALE = 3.0
_CLIP = 400.0
_STEEP, _TURN = 50.0, 0.2


def metric_logits(f: Float[Tensor, "*S"], dim: int = -1) -> Float[Tensor, "*S"]:
    """-‖f - m_c‖² = 6 f_c - ‖f‖² - 9, without a tensor of all differences. dim: the axis of the classes."""
    return 2 * SCALE * f - f.square().sum(dim, keepdim=True) - SCALE**2


def variance_loss(f: Float[Tensor, "N C"], label: Int[Tensor, " N"]) -> Float[Tensor, ""]:
    """The mean of ‖f - m_y‖²: how far pixels are from the centre of their own class."""
    return -metric_logits(f).gather(1, label[:, None]).mean()


def variance_sum(f: Float[Tensor, "B C H W"], label: Integer[Tensor, "B H W"]) -> Float[Tensor, ""]:
    """Σ ‖f - m_y‖² over labelled pixels: DMLNet's variance loss before it is divided by the number of all pixels."""
    labelled = label != IGNORE_INDEX
    own = f.gather(1, torch.where(labelled, label, 0).long()[:, None])[:, 0]
    return ((f.square().sum(1) - 2 * SCALE * own + SCALE**2) * labelled).sum()


def distance_sum(logits: Float[Tensor, "N C"]) -> Float[Tensor, " N"]:
    """S = Σ_c ‖f - m_c‖² from metric logits; it is larger at a centre than between all of them."""
    return -logits.sum(1)


def eds(logits: Float[Tensor, "N C"]) -> Float[Tensor, " N"]:
    """Euclidean distance sum: 1 - S, S cut off at 400 and then stretched to 0..1 over the pixels of one image."""
    return 1 - _stretched(distance_sum(logits).clamp(max=_CLIP))


def mmsp(logits: Float[Tensor, "N C"]) -> Float[Tensor, " N"]:
    """Metric-based maximum softmax probability: 1 - max_c softmax(-‖f - m_c‖²), stretched to 0..1 in the same way."""
    return 1 - _stretched(logits.softmax(1).amax(1))


def mixed(logits: Float[Tensor, "N C"]) -> Float[Tensor, " N"]:
    """α · EDS + (1 - α) · MMSP with α = 1 / (1 + exp(50 (S - 0.2))), S stretched: EDS decides where it is sure."""
    distant = eds(logits)
    alpha = torch.sigmoid(-_STEEP * (1 - distant - _TURN))
    return alpha * distant + (1 - alpha) * mmsp(logits)


def _stretched(values: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    low, high = values.amin(0), values.amax(0)  # aminmax is no operator of ONNX
    return (values - low) / torch.where(high > low, high - low, 1)
