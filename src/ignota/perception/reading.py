"""Anomaly maps of one encoded image, by every score of a world."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ignota.functional import scores
from ignota.functional.regions import paint, region_areas
from ignota.perception.composing import check_name, composed
from ignota.perception.features import pool_taps
from ignota.perception.hierarchy import Hierarchy, image_hierarchy
from ignota.perception.known import KnownEvidence
from ignota.structures import Encoding, InputError, RegionSet

OWN, PRINTED, RELEASED, OBJECTNESS = "raml", "raml_paper", "raml_released", "objectness"


def score_names(known: KnownEvidence) -> tuple[str, ...]:
    """Every score that the world can compute, its own recipe first; objectness alone under the recipe `full`."""
    objects = (OBJECTNESS,) if known.name == "full" else ()
    return (
        OWN,
        *objects,
        *(name for name, space in _SPACE_OF.items() if space in known.spaces),
        *known.recipe.readable(),
    )


_SPACE_OF = {PRINTED: "paper", RELEASED: "released"}


def anomaly_maps(
    encoding: Encoding,
    known: KnownEvidence,
    names: Sequence[str],
    further: Mapping[str, Callable[[], Float[Tensor, "H W"]]] | None = None,
) -> dict[str, Float[Tensor, "H W"]]:
    """The named scores on the grid of the working image, from one encoding; raises InputError for an unknown name.

    Names are those of `score_names`, of `further`, which gives maps that other networks make, and what `composing`
    makes of them.
    """
    others = further or {}
    for name in names:
        check_name(name, (*score_names(known), *others), known.states)

    @cache
    def reading() -> RegionReading:
        return read_regions(encoding, known)

    @cache
    def read(name: str) -> Tensor:
        if name == OWN:
            return own_score(encoding, known, reading())
        if name in others:
            return others[name]()
        if name == OBJECTNESS:
            return objectness_map(encoding)
        if name in _SPACE_OF:
            return uncertainty(encoding, known, _SPACE_OF[name])
        grid = known.recipe.readable()[name].score(encoding, known.states.get(name, {}))
        if grid.ndim != 2:
            raise InputError(f"the score {name!r} gave {tuple(grid.shape)}: it must give one number for each cell, h w")
        return to_image(grid.float(), encoding)

    with torch.inference_mode():
        return {name: composed(name, read, lambda: reading().hierarchy, known.states) for name in names}


def uncertainty(
    encoding: Encoding, known: KnownEvidence, space: str, regions: RegionSet | None = None
) -> Float[Tensor, "H W"]:
    """Q of Equation 5 in one of the metric spaces. regions: by default URS's, as printed in the paper."""
    regions = known.recipe.urs(encoding.image, encoding.logits) if regions is None else regions
    metric = known.spaces[space]
    similarity = metric.known_similarity(metric.embed(pool_taps(encoding, regions, metric.taps)))
    best = to_image(encoding.logits.amax(0), encoding)
    return scores.uncertainty_intensity(best, similarity, regions, sign="printed" if space == "paper" else "safe")


@dataclass(frozen=True)
class RegionReading:
    """The regions of an image with what the features say of the finest ones.

    embeddings: "R F" in the world's own space. nearest: "R k" their cosines to the k nearest training pixels.
    """

    hierarchy: Hierarchy
    embeddings: Float[Tensor, "R F"]
    nearest: Float[Tensor, "R k"]

    @property
    def known(self) -> Float[Tensor, " R"]:
        """Similarity of the finest regions to training pixels of known classes."""
        return self.nearest.mean(1)


def read_regions(encoding: Encoding, known: KnownEvidence) -> RegionReading:
    """Finds regions, and reads the features on them."""
    return read_on(encoding, known, image_hierarchy(encoding.image, known.recipe.regions))


def read_on(encoding: Encoding, known: KnownEvidence, hierarchy: Hierarchy) -> RegionReading:
    """Pools every tap over the finest of these regions and looks up their nearest neighbours."""
    space = known.space
    embeddings = space.embed(pool_taps(encoding, hierarchy.finest, space.taps))
    return RegionReading(hierarchy, embeddings, space.nearest(embeddings))


def likeness(known: KnownEvidence, reading: RegionReading, without: int | None = None) -> Float[Tensor, " R"]:
    """Similarity of the finest regions to the nearest known pixels, or half to these and half to the nearest class.

    Confidently known regions of the same image serve as extra reference, because appearance shifts between cameras:
    those with the largest similarity, averaged over scales, until they cover the share τ of the image (the recipe's
    `trusted`). τ = 0 uses training pixels alone.
    """
    space, recipe, embeddings, hierarchy = known.space, known.recipe, reading.embeddings, reading.hierarchy
    closest = reading.nearest if without is None else space.nearest(embeddings, without)
    nearest = closest.mean(1)
    by_class = space.class_similarity(embeddings, without) if recipe.by_class else None
    if recipe.trusted > 0 and len(nearest):
        first = nearest if by_class is None else nearest + by_class
        order = hierarchy.blend(first[:, None])[:, 0].argsort(descending=True)
        area = region_areas(hierarchy.finest).to(nearest)
        sure = torch.zeros(len(nearest), dtype=torch.bool, device=nearest.device)
        sure[order] = area[order].cumsum(0) <= recipe.trusted * area.sum()
        nearest = space.vouched_similarity(embeddings, sure, closest)
    return nearest if by_class is None else (nearest + by_class) / 2


def own_parts(
    encoding: Encoding, known: KnownEvidence, reading: RegionReading, without: int | None = None
) -> Float[Tensor, "3 H W"]:
    """The three pixel scores, raw, on the image's grid: -max logit, the same in units of its class, 1 - similarity.

    without: a known class that is left out of logits and training pixels, as if it had never been known.
    """
    logits, sml = encoding.logits, known.states["sml"]
    kept = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    if without is not None:
        kept[without] = False
    one = logits[None, kept]
    pixel = (scores.max_logit(one)[0], scores.standardized_max_logits(one, sml["mean"][kept], sml["std"][kept])[0])
    strange = paint(1 - likeness(known, reading, without), reading.hierarchy.finest, 0.0)
    return torch.stack([*(to_image(part, encoding) for part in pixel), strange])


def own_score(encoding: Encoding, known: KnownEvidence, reading: RegionReading) -> Float[Tensor, "H W"]:
    """The world's own anomaly score: what logits and features say of a pixel, averaged over its regions of all scales.

    s = (e + Σ_l mean_l e) / (1 + L) with e = w₁ z₁ + w₂ z₂ + w₃ z₃; z are standardised by held-out training images:
    -max logit (1), -max logit in units of its class (2), and how far the finest region's features are from those of
    labelled training pixels and of what in the image is sure to be known (3). The recipe `full` gives s - μ m + w p,
    with the objectness p in 0..1 and the image's median m of s, which another camera lifts as a whole. Raises
    InputError where that recipe meets an encoding without objectness.
    """
    score, recipe = joined_score(own_parts(encoding, known, reading), reading.hierarchy, known), known.recipe
    if known.name == "light":
        return score
    return score - recipe.level * image_level(score) + recipe.objectness * objectness_map(encoding)


def image_level(score: Float[Tensor, "H W"]) -> float:
    """The median score of an image, of every fourth pixel of every fourth row."""
    return float(score[::4, ::4].median())


def objectness_map(encoding: Encoding) -> Float[Tensor, "H W"]:
    """The objectness in 0..1 on the working image's grid; raises InputError where the encoding has none."""
    if encoding.objectness is None:
        raise InputError("this world holds no objectness network", "open it with recipe='light'")
    return to_image(encoding.objectness, encoding)


def joined_score(parts: Float[Tensor, "3 H W"], hierarchy: Hierarchy, known: KnownEvidence) -> Float[Tensor, "H W"]:
    """s of `own_score` from its raw pixel scores."""
    return hierarchy.smooth(joined_parts(parts, known))


def joined_parts(parts: Float[Tensor, 3 * shape], known: KnownEvidence) -> Float[Tensor, "*shape"]:
    """e of `own_score` from its raw pixel scores."""
    recipe = known.recipe
    centre, spread, weights = (
        torch.tensor(v, dtype=parts.dtype, device=parts.device).view(-1, *[1] * (parts.ndim - 1))
        for v in (recipe.centre, recipe.spread, recipe.weights)
    )
    return ((parts - centre) / spread * weights).sum(0)


def to_image(grid: Float[Tensor, "h w"], encoding: Encoding) -> Float[Tensor, "H W"]:
    """Bilinear, from the logits' grid to the working image's."""
    return F.interpolate(grid[None, None], size=encoding.image.shape[:2], mode="bilinear")[0, 0]
