"""Edges that separate regions: Sobel magnitude or classifier uncertainty (RAML, Eq. 2 and Appendix B.2)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor
from torch.nn import functional as F

from ignota.functional.numbers import widened
from ignota.structures import InputError

EDGE_THRESHOLDS = {"lost_and_found": (50.0, 0.7), "road_anomaly": (150.0, 0.4)}
"""(alpha, beta) of Eq. 2 by data set, RAML Appendix B.2."""
_SAME_KIND = {
    "fishyscapes_lost_and_found": "lost_and_found",
    "road_obstacle_21": "lost_and_found",
    "road_anomaly_21": "road_anomaly",
}
"""Data sets of the same kind as one of the paper's: small obstacles on a road, or large things anywhere."""

_REC_601 = (0.299, 0.587, 0.114)


def paper_edges(dataset: str) -> tuple[float, float]:
    """(alpha, beta) of Eq. 2 that RAML sets by hand for a test set, or for the one of the same kind (Appendix B.2).

    Raises InputError for a data set that is like neither.
    """
    name = _SAME_KIND.get(dataset, dataset)
    if name not in EDGE_THRESHOLDS:
        known = ", ".join((*EDGE_THRESHOLDS, *_SAME_KIND))
        raise InputError(f"the paper sets no α and β for {dataset}, only for {known}: give them as numbers, ALPHA,BETA")
    return EDGE_THRESHOLDS[name]


def luminance(image: Num[Tensor, "B 3 H W"]) -> Float[Tensor, "B H W"]:
    """Brightness of an R, G, B image after Rec. 601: 0.299 R + 0.587 G + 0.114 B.

    image: uint8, or floating point in 0..255. Returns the same range, float32 (float64 stays float64).
    """
    dtype = torch.promote_types(image.dtype, torch.float32)
    red, green, blue = (image[:, i].to(dtype, copy=True).mul_(weight) for i, weight in enumerate(_REC_601))
    return red.add_(green).add_(blue)


def sobel_magnitude(image: Num[Tensor, "B 3 H W"]) -> Float[Tensor, "B H W"]:
    """Length of the 3×3 Sobel gradient of the luminance: sqrt(Gx² + Gy²), the border replicated.

    image: uint8, or floating point in 0..255; the thresholds of Appendix B.2 (50, 150) fit only this range.
    The kernels are not normalised, so values lie in 0..255·4·sqrt(2).
    """
    grey = F.pad(luminance(image)[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    # Both kernels are separable: [1 2 1] across, then a central difference along.
    down = (2 * grey[:, 1:-1]).add_(grey[:, :-2]).add_(grey[:, 2:])
    across = (2 * grey[:, :, 1:-1]).add_(grey[:, :, :-2]).add_(grey[:, :, 2:])
    return (down[:, :, 2:] - down[:, :, :-2]).hypot_(across[:, 2:] - across[:, :-2])


def softmax_uncertainty(logits: Float[Tensor, "B C h w"]) -> Float[Tensor, "B h w"]:
    """How unsure the classifier is: 1 - max softmax(U), in 0..1 - 1/C.

    Eq. 2 of RAML writes MSP(U) ≥ beta, which marks edges only if MSP stands for this uncertainty. Computed as
    1 - exp(max U - logsumexp U), without the softmax over all classes. float32 (float64 stays float64).
    """
    values = widened(logits)
    return 1 - torch.exp(values.amax(1) - values.logsumexp(1))


def edge_map(
    sobel: Float[Tensor, "B H W"] | None,
    uncertainty: Float[Tensor, "B H W"] | None,
    alpha: float | None,
    beta: float | None,
) -> Bool[Tensor, "B H W"]:
    """Edge pixels: Sobel(X) ≥ alpha or MSP(U) ≥ beta (RAML, Eq. 2).

    sobel in 0..255 luminance units, uncertainty in 0..1. A threshold of None turns its term off, and the term's map
    may then be None too. Raises ValueError when both are off, or when a term is on and its map is missing.
    """
    terms = []
    for name, values, threshold in (("alpha", sobel, alpha), ("beta", uncertainty, beta)):
        if threshold is None:
            continue
        if values is None:
            raise ValueError(f"edge_map: {name}={threshold} needs its map; pass the map, or {name}=None")
        terms.append(values >= threshold)
    if not terms:
        raise ValueError("edge_map: alpha and beta are both None, so nothing can be an edge; set at least one")
    return terms[0] if len(terms) == 1 else terms[0] | terms[1]
