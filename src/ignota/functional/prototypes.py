"""Prototypes and cosine similarity, which decide whether a region is known or novel (RAML, Eq. 4 and 10-12)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from ignota.functional.numbers import widened
from ignota.structures import InputError
from ignota.taxonomy import IGNORE_INDEX


def cosine_similarity(a: Float[Tensor, "R D"], b: Float[Tensor, "C D"]) -> Float[Tensor, "R C"]:
    """Cosine of every row of a with every row of b: a·b / (‖a‖ ‖b‖), in -1..1 up to rounding.

    A zero vector has similarity 0 to everything, with a finite gradient. float32 (float64 stays float64),
    under autocast too: thresholds as fine as 0.8 against 0.85 are compared with it.
    """
    with torch.autocast(a.device.type, enabled=False):
        return unit_rows(a) @ unit_rows(b).T


def unit_rows(vectors: Float[Tensor, "R D"]) -> Float[Tensor, "R D"]:
    """Each row over its length; a zero row stays zero, with a finite gradient. float32 (float64 stays float64)."""
    values = widened(vectors)
    if values.shape[1] == 0:
        return values
    # The direction does not depend on the scale, so a detached one keeps the gradient and avoids over- and underflow.
    largest = values.detach().abs().amax(1, keepdim=True)
    scaled = values / torch.where(largest > 0, largest, 1)
    square = scaled.square().sum(1, keepdim=True)
    return scaled * torch.where(square > 0, square, 1).rsqrt()


def known_similarity(embeddings: Float[Tensor, "R D"], prototypes: Float[Tensor, "C D"]) -> Float[Tensor, " R"]:
    """Similarity to the nearest known class: P(R_i) = max_l cos(f, f_l) (RAML, Eq. 4), in -1..1.

    A similarity, although the paper calls it an anomaly probability: high means known. Raises InputError if there is
    no prototype.
    """
    if len(prototypes) == 0:
        raise InputError("known_similarity: there is no prototype to compare with; fit the known classes first")
    return cosine_similarity(embeddings, prototypes).amax(1)


def class_prototypes(
    embeddings: Float[Tensor, "N D"], labels: Integer[Tensor, " N"], num_classes: int
) -> Float[Tensor, "C D"]:
    """Mean embedding of each class: c_i = 1/L Σ_j f_i^(j) (RAML, Eq. 10), not renormalised.

    Rows labelled 255 do not count; a class without rows gets zeros, and so similarity 0. Differentiable in embeddings;
    float32 (float64 stays float64). Raises InputError for a label that is neither a class nor 255.
    """
    values = widened(embeddings)
    rows = labels.long()
    kept = rows != IGNORE_INDEX
    if (kept & ((rows < 0) | (rows >= num_classes))).any():
        worst = int(rows[kept].max())
        raise InputError(f"class_prototypes: labels run to {worst}, the classes are 0..{num_classes - 1}; void is 255")
    values, rows = values[kept], rows[kept]
    sums = values.new_zeros(num_classes, values.shape[1]).index_add(0, rows, values)
    return sums / torch.bincount(rows, minlength=num_classes).clamp_min(1)[:, None]


def novel_similarity(embeddings: Float[Tensor, "R D"], prototypes: Float[Tensor, "K D"]) -> Float[Tensor, "R K"]:
    """Similarity of each region to each novel class: s_i = cos(f, c_i) (RAML, Eq. 11), in -1..1; K may be 0."""
    return cosine_similarity(embeddings, prototypes)


def assign_novel(similarity: Float[Tensor, "R K"], threshold: float, inclusive: bool = False) -> Integer[Tensor, " R"]:
    """The novel class of each region, -1 where there is none: s_i > θ and s_i > s_i' for all i' ≠ i (RAML, Eq. 12).

    inclusive: s_i ≥ θ, as in the released code. Two classes that share the largest similarity give -1 either way.
    threshold: cosine, 0.8 in the paper. Returns int64.
    """
    if similarity.shape[1] == 0:
        return torch.full(similarity.shape[:1], -1, device=similarity.device)
    best, winner = similarity.max(1)
    passed = best >= threshold if inclusive else best > threshold
    alone = (similarity == best[:, None]).sum(1) == 1
    return torch.where(passed & alone, winner, -1)
