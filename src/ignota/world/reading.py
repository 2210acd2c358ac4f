"""Anomaly maps of one encoded image by every score of a world."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ignota.functional import scores
from ignota.functional.regions import paint, region_mean
from ignota.structures import Encoding, RegionSet
from ignota.world.composing import check_name, composed
from ignota.world.known import KnownEvidence
from ignota.world.spaces import pool_taps

OWN, PRINTED, RELEASED = "raml", "raml_paper", "raml_released"


def score_names(known: KnownEvidence) -> tuple[str, ...]:
    """Every score that the world can compute, its own recipe first."""
    own = [OWN] if "ignota" in known.spaces else []
    return (*own, *(name for name, space in _SPACE_OF.items() if space in known.spaces), *known.recipe.scores())


_SPACE_OF = {PRINTED: "paper", RELEASED: "released"}


def anomaly_maps(encoding: Encoding, known: KnownEvidence, names: Sequence[str]) -> dict[str, Float[Tensor, "H W"]]:
    """The named scores on the grid of the working image, from one encoding; raises InputError for an unknown name.

    Names are those of `score_names` and what `composing` makes of them.
    """
    for name in names:
        check_name(name, score_names(known), known.states)

    @cache
    def regions() -> RegionSet:
        return known.recipe.whole(encoding.image, encoding.logits)

    @cache
    def read(name: str) -> Tensor:
        if name == OWN:
            return own_score(encoding, known, regions())
        if name in _SPACE_OF:
            return uncertainty(encoding, known, _SPACE_OF[name])
        return to_image(known.recipe.scores()[name].score(encoding, known.states[name]), encoding)

    with torch.inference_mode():
        return {name: composed(name, read, regions, known.states) for name in names}


def uncertainty(encoding: Encoding, known: KnownEvidence, space: str) -> Float[Tensor, "H W"]:
    """Q of Equation 5 with URS regions, as printed in the paper, in one of the metric spaces."""
    regions = known.recipe.urs(encoding.image, encoding.logits)
    metric = known.spaces[space]
    similarity = metric.known_similarity(metric.embed(pool_taps(encoding, regions, metric.taps)))
    best = to_image(encoding.logits.amax(0), encoding)
    return scores.uncertainty_intensity(best, similarity, regions, sign="printed" if space == "paper" else "safe")


def own_parts(
    encoding: Encoding, known: KnownEvidence, regions: RegionSet
) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W"], Float[Tensor, " R"]]:
    """The pieces of the world's own score, raw: pixel evidence, nearest neighbours, and 1 - similarity of regions."""
    catalogue, states = known.recipe.scores(), known.states
    pixel = to_image(catalogue["max_logit"].score(encoding, states["max_logit"]), encoding)
    if "knn" in catalogue:
        neighbours = to_image(catalogue["knn"].score(encoding, states["knn"]), encoding)
    else:
        neighbours = torch.zeros_like(pixel)
    metric = known.spaces["ignota"]
    embeddings = metric.embed(pool_taps(encoding, regions, metric.taps))
    return pixel, neighbours, 1 - metric.reference_similarity(embeddings)


def own_score(encoding: Encoding, known: KnownEvidence, regions: RegionSet) -> Float[Tensor, "H W"]:
    """The world's own anomaly score: pixel evidence and its mean over each region, plus the region's strangeness to D.

    s = ½ (e + mean_R e) + w₃ z₃ with e = w₁ z₁ + w₂ z₂; z are standardised by held-out training images: the largest
    logit (1), the distance to training features of the frozen encoder (2), the distance of the region to training
    regions in D's space (3).
    """
    return join_parts(*own_parts(encoding, known, regions), regions, known)


def join_parts(
    pixel: Float[Tensor, "H W"],
    neighbours: Float[Tensor, "H W"],
    strangeness: Float[Tensor, " R"],
    regions: RegionSet,
    known: KnownEvidence,
) -> Float[Tensor, "H W"]:
    """The weighted sum of `own_score`."""
    recipe = known.recipe
    z = [
        weight * (part - centre) / spread
        for part, weight, centre, spread in zip(
            (pixel, neighbours, strangeness), recipe.weights, recipe.centre, recipe.spread, strict=True
        )
    ]
    evidence = z[0] + z[1]
    return 0.5 * (evidence + paint(region_mean(evidence, regions), regions, 0.0)) + paint(z[2], regions, 0.0)


def to_image(grid: Float[Tensor, "h w"], encoding: Encoding) -> Float[Tensor, "H W"]:
    """Bilinear, from the logits' grid to the working image's."""
    return F.interpolate(grid[None, None], size=encoding.image.shape[:2], mode="bilinear")[0, 0]
