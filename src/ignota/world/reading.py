"""Anomaly maps of one encoded image by every score of a world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ignota.functional import scores
from ignota.functional.regions import paint
from ignota.regions.hierarchy import Hierarchy, image_hierarchy
from ignota.structures import Encoding, InputError
from ignota.taxonomy import nearest
from ignota.world.known import KnownEvidence
from ignota.world.spaces import pool_taps

OWN, PRINTED, RELEASED = "raml", "raml_paper", "raml_released"


def score_names(known: KnownEvidence) -> tuple[str, ...]:
    """Every score that the world can compute, its own recipe first."""
    return (OWN, *(name for name, space in _SPACE_OF.items() if space in known.spaces), *known.recipe.scores())


_SPACE_OF = {PRINTED: "paper", RELEASED: "released"}


def anomaly_maps(encoding: Encoding, known: KnownEvidence, names: Sequence[str]) -> dict[str, Float[Tensor, "H W"]]:
    """The named scores on the grid of the working image, from one encoding; raises InputError for an unknown name."""
    available = score_names(known)
    for name in names:
        if name not in available:
            raise InputError(f"no score {name!r}{nearest(name, available)}")
    maps: dict[str, Tensor] = {}
    with torch.inference_mode():
        for name in names:
            if name == OWN:
                maps[name] = own_score(encoding, known, read_regions(encoding, known))
            elif name in _SPACE_OF:
                maps[name] = uncertainty(encoding, known, _SPACE_OF[name])
            else:
                raw = known.recipe.scores()[name].score(encoding, known.states[name])
                maps[name] = to_image(raw, encoding)
    return maps


def uncertainty(encoding: Encoding, known: KnownEvidence, space: str) -> Float[Tensor, "H W"]:
    """Q of Equation 5 with URS regions, as printed in the paper, in one of the metric spaces."""
    regions = known.recipe.urs(encoding.image, encoding.logits)
    metric = known.spaces[space]
    similarity = metric.known_similarity(metric.embed(pool_taps(encoding, regions, metric.taps)))
    best = to_image(encoding.logits.amax(0), encoding)
    return scores.uncertainty_intensity(best, similarity, regions, sign="printed" if space == "paper" else "safe")


@dataclass(frozen=True)
class RegionReading:
    """The regions of an image with what the features say of the finest ones.

    embeddings: "R F" in the world's own space. known: "R" their similarity to training pixels of known classes.
    """

    hierarchy: Hierarchy
    embeddings: Float[Tensor, "R F"]
    known: Float[Tensor, " R"]


def read_regions(encoding: Encoding, known: KnownEvidence) -> RegionReading:
    """Finds regions, pools every tap over the finest and looks up their nearest neighbours."""
    hierarchy, space = image_hierarchy(encoding.image), known.space
    embeddings = space.embed(pool_taps(encoding, hierarchy.finest, space.taps))
    return RegionReading(hierarchy, embeddings, space.known_similarity(embeddings))


def own_parts(
    encoding: Encoding, known: KnownEvidence, reading: RegionReading
) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W"]]:
    """The two pieces of evidence, raw, on the image's grid: -max logit, and 1 - similarity of each finest region."""
    pixel = known.recipe.scores()["max_logit"].score(encoding, known.states["max_logit"])
    return to_image(pixel, encoding), paint(1 - reading.known, reading.hierarchy.finest, 0.0)


def own_score(encoding: Encoding, known: KnownEvidence, reading: RegionReading) -> Float[Tensor, "H W"]:
    """The world's own anomaly score: what logits and features say of a pixel, averaged over its regions of all scales.

    s = (e + Σ_l mean_l e) / (1 + L) with e = z₁ + w z₂; z are standardised by held-out training images: -max logit (1),
    and how far the finest region's features are from those of labelled training pixels (2).
    """
    recipe = known.recipe
    pixel, neighbours = (
        (part - centre) / spread
        for part, centre, spread in zip(own_parts(encoding, known, reading), recipe.centre, recipe.spread, strict=True)
    )
    return reading.hierarchy.smooth(pixel + recipe.weight * neighbours)


def to_image(grid: Float[Tensor, "h w"], encoding: Encoding) -> Float[Tensor, "H W"]:
    """Bilinear, from the logits' grid to the working image's."""
    return F.interpolate(grid[None, None], size=encoding.image.shape[:2], mode="bilinear")[0, 0]
