"""Pixel anomaly scores, higher = more anomalous: logit baselines, RAML's Eq. 5, post-processing, nearest neighbours.

Scores of logits return float32 (float64 stays float64) and have no fixed range unless one is named.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torch.nn import functional as F

from ignota.functional.numbers import widened
from ignota.functional.prototypes import unit_rows
from ignota.functional.regions import paint, region_areas
from ignota.structures import InputError, RegionSet


def msp(logits: Float[Tensor, "B C h w"]) -> Float[Tensor, "B h w"]:
    """Maximum softmax probability: 1 - max p (Hendrycks and Gimpel 2017), in 0..1 - 1/C."""
    values = widened(logits)
    return 1 - torch.exp(values.amax(1) - values.logsumexp(1))


def max_logit(logits: Float[Tensor, "B C h w"]) -> Float[Tensor, "B h w"]:
    """Maximum logit: -max U (Hendrycks et al. 2019)."""
    return -widened(logits).amax(1)


def entropy(logits: Float[Tensor, "B C h w"]) -> Float[Tensor, "B h w"]:
    """Entropy of the softmax over its largest value: -Σ p log p / log C, in 0..1; 0 for a single class."""
    probabilities = widened(logits).softmax(1)
    return torch.special.entr(probabilities).sum(1) / math.log(max(logits.shape[1], 2))


def energy(logits: Float[Tensor, "B C h w"], temperature: float = 1.0) -> Float[Tensor, "B h w"]:
    """Free energy: -T·logsumexp(U / T) (Liu et al. 2020)."""
    return -temperature * (widened(logits) / temperature).logsumexp(1)


def sum_logits(logits: Float[Tensor, "B C h w"]) -> Float[Tensor, "B h w"]:
    """Negative sum of the logits: -Σ U."""
    return -widened(logits).sum(1)


def rba(logits: Float[Tensor, "B C h w"]) -> Float[Tensor, "B h w"]:
    """Rejected by all: -Σ tanh U (Nayal et al. 2023), in -C..C."""
    return -widened(logits).tanh().sum(1)


def standardized_max_logits(
    logits: Float[Tensor, "B C h w"], mean: Float[Tensor, " C"], std: Float[Tensor, " C"]
) -> Float[Tensor, "B h w"]:
    """Max logit in units of its class: -(max U - μ_ĉ) / σ_ĉ (Jung et al. 2021), ĉ the predicted class.

    mean, std: of the max logit over the training pixels predicted as each class. A std of 0 counts as 1e-6.
    """
    best, winner = widened(logits).max(1)
    return (mean.to(best)[winner] - best) / std.to(best).clamp_min(1e-6)[winner]


def uncertainty_intensity(
    max_logit: Float[Tensor, "H W"],
    similarity: Float[Tensor, " R"],
    regions: RegionSet,
    outside: float | None = None,
    sign: Literal["printed", "safe"] = "safe",
) -> Float[Tensor, "H W"]:
    """Uncertainty intensity Q = -max U · P (RAML, Eq. 5), on the region map's grid.

    max_logit: the largest logit itself, max U, not its negative. similarity: P of Eq. 4, in -1..1.
    The printed product has a sign trap: it should fall as U or P rises, but where one of them is negative it rises
    with the other, so a pixel that fits no class can come out as known. "safe" first maps both to positive numbers
    in the same order, U to softplus(U) and P to (1 + P) / 2; "printed" is the equation as it stands.

    outside: P of pixels in no region (edges, dropped regions), about which the paper says nothing. None takes the
    mean P of the image's regions, weighted by area, so that they neither stand out nor vanish; with no region at all
    it is 1, and Q keeps the order of the max logit.
    """
    logit, similar = widened(max_logit), widened(similarity)
    if outside is None:
        areas = region_areas(regions).to(similar)
        outside = float((similar * areas).sum() / areas.sum()) if regions.count else 1.0
    if sign == "printed":
        return -logit * paint(similar, regions, outside)
    return -_softplus(logit) * paint((1 + similar) / 2, regions, (1 + outside) / 2)


def _softplus(x: Tensor) -> Tensor:
    """log(1 + exp x), to the last bits. torch's takes ten times as long on the CPU: its log1p is not vectorised.

    Instead log1p(y) = y · log(u) / (u - 1) with u = 1 + y as rounded, which makes up for the rounding (Kahan).
    """
    y = (-x.abs()).exp()
    u = 1 + y
    lost = u == 1
    return x.clamp_min(0) + torch.where(lost, y, y * u.log() / torch.where(lost, 1, u - 1))


def normalise(q: Float[Tensor, "H W"]) -> Float[Tensor, "H W"]:
    """Min-max of one image's score to 0..1 (RAML, after Eq. 5); a constant map becomes 0.

    For pictures and the paper's own protocol only: it erases the scale between images. Raises InputError for NaN or
    infinite scores.
    """
    if not q.isfinite().all():
        raise InputError("normalise: the score map holds NaN or infinity; look for them in the segmenter's logits")
    low, high = q.aminmax()
    return (q - low) / torch.where(high > low, high - low, 1)


def suppress_boundaries(
    score: Float[Tensor, "B H W"], labels: Integer[Tensor, "B H W"], width: int = 4, rounds: int = 4
) -> Float[Tensor, "B H W"]:
    """Replaces the score near class boundaries, where every segmenter is unsure, by the interior's (Jung et al. 2021).

    labels: the predicted classes. A boundary of some width is where dilation and erosion of the labels by that many
    pixels differ. Each of `rounds` rounds replaces boundary pixels by the mean of their non-boundary 3×3 neighbours,
    where there are any, and then narrows the boundary by width / rounds, so the interior grows inwards.
    """
    near = _near_boundaries(labels, width)
    for i in range(rounds):
        inside = ~near[width - i * width // rounds]
        # Box sums of the values and of how many count.
        total, number = _box(torch.where(inside, score, 0)), _box(inside.to(score.dtype))
        score = torch.where(inside | (number == 0), score, total / number.clamp_min(1))
    return score


def _near_boundaries(labels: Tensor, width: int) -> list[Tensor]:
    """Where a square of 2·i + 1 pixels holds two classes, for i = 0..width: each from the last by a 3×3 dilation."""
    maps = [torch.zeros_like(labels, dtype=torch.bool)]
    across, down = labels[..., 1:] != labels[..., :-1], labels[..., 1:, :] != labels[..., :-1, :]
    first = _spread(F.pad(across, (0, 1)) | F.pad(across, (1, 0)), -2)
    first |= _spread(F.pad(down, (0, 0, 0, 1)) | F.pad(down, (0, 0, 1, 0)), -1)
    maps.append(first)
    for _ in range(width - 1):
        maps.append(_spread(_spread(maps[-1], -1), -2))
    return maps


def _spread(mask: Tensor, dim: int) -> Tensor:
    """The mask with the neighbours of its pixels along one axis."""
    out, size = mask.clone(), mask.shape[dim] - 1
    out.narrow(dim, 1, size).logical_or_(mask.narrow(dim, 0, size))
    out.narrow(dim, 0, size).logical_or_(mask.narrow(dim, 1, size))
    return out


def _box(values: Tensor) -> Tensor:
    """Sum over the 3×3 neighbourhood, zeros outside."""
    padded = F.pad(values, (1, 1, 1, 1))
    rows = padded[..., :-2, :] + padded[..., 1:-1, :] + padded[..., 2:, :]
    return rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]


def smooth(
    score: Float[Tensor, "B H W"], sigma: float = 1.0, size: int = 7, dilation: int = 6
) -> Float[Tensor, "B H W"]:
    """Gaussian smoothing with a size×size kernel whose taps are `dilation` pixels apart (Jung et al. 2021).

    size is odd; the border is replicated. sigma: in taps, not pixels. The kernel is separable and sums to 1.
    """
    reach, (height, width) = size // 2, score.shape[1:]
    weights = [math.exp(-((i - reach) ** 2) / (2 * sigma**2)) for i in range(size)]
    taps = [weight / sum(weights) for weight in weights]
    padded = F.pad(score[:, None], (reach * dilation,) * 4, mode="replicate")[:, 0]
    # A sum of shifted views is several times faster on the CPU than a dilated convolution of one channel.
    rows = sum((tap * padded.narrow(1, i * dilation, height) for i, tap in enumerate(taps)), torch.zeros(()))
    return sum((tap * rows.narrow(2, i * dilation, width) for i, tap in enumerate(taps)), torch.zeros(()))


def knn_dissimilarity(
    vectors: Float[Tensor, "R F"], coreset: Float[Tensor, "N F"], k: int = 3, chunk: int = 1024
) -> Float[Tensor, " R"]:
    """How far each vector is from its k nearest in the coreset: 1 - mean of the k largest cosines, in 0..2.

    After cDNP (Galesso et al. 2023). k is at most N. `chunk` rows are compared at a time, which bounds memory at
    chunk × N. Raises InputError for an empty coreset or a k below 1.
    """
    if len(coreset) == 0 or k < 1:
        raise InputError(f"knn_dissimilarity: k={k} neighbours of {len(coreset)} vectors; fit a coreset, and k ≥ 1")
    known = unit_rows(coreset).T
    with torch.autocast(vectors.device.type, enabled=False):
        nearest = [
            (part @ known).topk(min(k, len(coreset)), dim=1, sorted=False).values
            for part in unit_rows(vectors).split(chunk)
        ]
    return 1 - torch.cat(nearest).mean(1)


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
