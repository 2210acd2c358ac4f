"""Circle loss: pulls embeddings of a class together and pushes classes apart (RAML, Eq. 16; Sun et al. 2020)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor
from torch.nn import functional as F

from ignota.functional.prototypes import cosine_similarity


def circle_loss(
    sp: Float[Tensor, " P"], sn: Float[Tensor, " Q"], gamma: float = 8.0, margin: float = 0.25
) -> Float[Tensor, ""]:
    """log[1 + Σ_j exp(γ(s_n^j + m)) Σ_i exp(-γ s_p^i)] (RAML, Eq. 16), for one anchor.

    sp, sn: cosine similarities to its own class and to others. Computed as softplus(logsumexp + logsumexp), so no
    power overflows. Zero, with a gradient of zero, if either is empty: the sums of Eq. 16 are then empty.
    """
    return _from_pair_logits(-gamma * sp, gamma * (sn + margin))


def self_paced_circle_loss(
    sp: Float[Tensor, " P"], sn: Float[Tensor, " Q"], gamma: float = 8.0, margin: float = 0.25
) -> Float[Tensor, ""]:
    """Circle loss whose pairs weigh more the further they are from their goal (Sun et al. 2020; released code).

    log[1 + Σ_j exp(γ α_n (s_n^j - m)) Σ_i exp(-γ α_p (s_p^i - 1 + m))], with α_p = [1 + m - s_p]₊ and
    α_n = [s_n + m]₊, both detached. Zero, with a gradient of zero, if either is empty.
    """
    return _from_pair_logits(*_pair_logits(sp, sn, gamma, margin, self_paced=True))


def batch_circle_loss(
    embeddings: Float[Tensor, "N D"],
    labels: Integer[Tensor, " N"],
    gamma: float = 8.0,
    margin: float = 0.25,
    self_paced: bool = False,
) -> Float[Tensor, ""]:
    """One circle loss over all unordered pairs of the batch, equal labels being positive pairs (released code).

    embeddings need not have unit length. self_paced chooses the loss of Sun et al. (released) over Eq. 16 (paper).
    Zero, with a gradient of zero, if there is no positive or no negative pair.
    """
    similarity, same = _pairs(embeddings, labels)
    upper = torch.ones_like(same).triu(1)
    positive, negative = similarity[same & upper], similarity[~same & upper]
    return _from_pair_logits(*_pair_logits(positive, negative, gamma, margin, self_paced))


def anchor_circle_loss(
    embeddings: Float[Tensor, "N D"],
    labels: Integer[Tensor, " N"],
    gamma: float = 8.0,
    margin: float = 0.25,
    self_paced: bool = False,
) -> Float[Tensor, ""]:
    """The mean over anchors of their own circle loss against the rest of the batch (RAML, Eq. 16, as printed).

    Anchors without a positive or without a negative pair do not count. Otherwise as `batch_circle_loss`.
    """
    similarity, same = _pairs(embeddings, labels)
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=same.device)
    usable = positive.any(1) & ~same.all(1)
    if not usable.any():
        return similarity.sum() * 0
    similarity, same, positive = similarity[usable], same[usable], positive[usable]
    logits_p, logits_n = _pair_logits(similarity, similarity, gamma, margin, self_paced)
    pull = logits_p.masked_fill(~positive, -torch.inf).logsumexp(1)
    push = logits_n.masked_fill(same, -torch.inf).logsumexp(1)
    return F.softplus(pull + push).mean()


def _pairs(embeddings: Tensor, labels: Tensor) -> tuple[Float[Tensor, "N N"], Bool[Tensor, "N N"]]:
    return cosine_similarity(embeddings, embeddings), labels[:, None] == labels[None, :]


def _pair_logits(sp: Tensor, sn: Tensor, gamma: float, margin: float, self_paced: bool) -> tuple[Tensor, Tensor]:
    if not self_paced:
        return -gamma * sp, gamma * (sn + margin)
    weight_p = (1 + margin - sp.detach()).clamp_min(0)
    weight_n = (sn.detach() + margin).clamp_min(0)
    return -gamma * weight_p * (sp - (1 - margin)), gamma * weight_n * (sn - margin)


def _from_pair_logits(logits_p: Tensor, logits_n: Tensor) -> Tensor:
    if logits_p.numel() == 0 or logits_n.numel() == 0:
        return (logits_p.sum() + logits_n.sum()) * 0
    return F.softplus(logits_p.logsumexp(0) + logits_n.logsumexp(0))
