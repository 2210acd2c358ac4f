"""From unlabelled images of one camera to a calibration: the threshold, and confident known regions as reference.

Reference is added where the recipe trusts no region of the image itself (`trusted` 0): beside those it costs more than
it gains. An image is never scored against its own regions, or the threshold would rest on what no further image shows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ignota.functional.contamination import known_tail, prior_threshold
from ignota.functional.regions import region_areas, region_majority, region_mean
from ignota.perception.calibration import Calibration
from ignota.perception.features import nearest_cosines
from ignota.perception.known import KnownEvidence, Recipe
from ignota.perception.networks import largest_class
from ignota.perception.reading import RegionReading, own_score, read_regions
from ignota.structures import Encoding, InputError

FEWEST = 2
"""Images: one to be scored against another."""
FOLDS = 5
"""Runs of neighbouring images that are scored without each other's regions: frames of a video resemble the next."""
CONFIDENT = 0.3
"""Of the area of all images, the share, least anomalous first, that may become reference. By class, more would be won
on one camera and more lost on another: an unknown thing may be all that the closed set takes for a class."""
REFERENCE = 1000
"""Vectors that a calibration adds at most."""
LARGEST_TARGET = 0.02
"""Of the default target: beyond it, whole objects drown in false ones."""
_SAMPLES = 4000
"""Pixels of each image that count."""


@dataclass(frozen=True)
class Frame:
    """An image as the world reads it, without the features that its networks gave."""

    encoding: Encoding
    reading: RegionReading

    def score(self, known: KnownEvidence, others: Float[Tensor, "N F"]) -> Float[Tensor, "H W"]:
        """The world's own score with the vectors of other images beside the coreset."""
        reading = self.reading
        beside = nearest_cosines(reading.embeddings, others, known.space.neighbours) if len(others) else None
        if beside is not None:
            both = torch.cat([reading.nearest, beside], 1)
            nearest = both.topk(reading.nearest.shape[1], dim=1).values
            reading = dataclasses.replace(reading, nearest=nearest)
        return own_score(self.encoding, known, reading)


@dataclass(frozen=True)
class Candidates:
    """Confident known regions of some frames.

    vectors: "N F" unit vectors; owner: "N" classes; fold: "N" of the frame; area: "N" pixels.
    """

    vectors: Float[Tensor, "N F"]
    owner: Int[Tensor, " N"]
    fold: Int[Tensor, " N"]
    area: Float[Tensor, " N"]


def default_target(recipe: Recipe) -> float:
    """The target false positive rate without another word: that of the recipe, LARGEST_TARGET at most."""
    return min(recipe.target_fpr, LARGEST_TARGET)


def calibration_of(known: KnownEvidence, encodings: Iterable[Encoding], target_fpr: float) -> Calibration:
    """The calibration of fitted evidence for the camera of these images; raises InputError for too few images and for
    a target outside 0..0.5."""
    if not 0 < target_fpr <= 0.5:
        raise InputError.of_argument("target_fpr", f"is a share above 0, 0.5 at most, not {target_fpr:g}")
    frames = [frame_of(encoding, known) for encoding in encodings]
    return calibration_from(known, frames, target_fpr)


def frame_of(encoding: Encoding, known: KnownEvidence) -> Frame:
    """What is kept of an image while others are read."""
    with torch.inference_mode():
        return Frame(dataclasses.replace(encoding, features={}), read_regions(encoding, known))


def calibration_from(known: KnownEvidence, frames: Sequence[Frame], target_fpr: float) -> Calibration:
    """`calibration_of` from frames that were read by the fitted evidence; raises InputError for too few."""
    if len(frames) < FEWEST:
        raise InputError(
            f"{len(frames)} image{'' if len(frames) == 1 else 's'} cannot calibrate a world: "
            f"give {FEWEST} at least, better 100"
        )
    recipe, folds = known.recipe, np.arange(len(frames)) * min(FOLDS, len(frames)) // len(frames)
    prior = prior_threshold(recipe.threshold, recipe.scale, recipe.target_fpr, target_fpr)
    with torch.inference_mode():
        reference = reference_of(known, frames, folds)
        plain = sampled_scores(known, frames, folds, _nothing(known))
        scores = sampled_scores(known, frames, folds, reference) if len(reference.owner) else plain
    tail = known_tail(scores, target_fpr, prior, plain)
    return Calibration(
        known.name, len(frames), target_fpr, tail.threshold, recipe.scale, tail.unknown,
        reference.vectors.cpu().half(), reference.owner.cpu().to(torch.uint8),
    )  # fmt: skip


def sampled_scores(
    known: KnownEvidence, frames: Sequence[Frame], folds: Int[np.ndarray, " B"], reference: Candidates
) -> Float[np.ndarray, " N"]:
    """Scores of evenly spaced pixels of all frames, each with the reference of the other folds."""
    scores = []
    for frame, fold in zip(frames, folds, strict=True):
        score = frame.score(known, reference.vectors[reference.fold != int(fold)]).flatten()
        step = max(1, score.numel() // _SAMPLES)
        scores.append(score[step // 2 :: step].double().cpu().numpy())
    return np.concatenate(scores)


def reference_of(known: KnownEvidence, frames: Sequence[Frame], folds: Int[np.ndarray, " B"]) -> Candidates:
    """What a calibration adds: nothing where the recipe already trusts regions of the image itself."""
    return _nothing(known) if known.recipe.trusted else thinned(confident_regions(known, frames, folds), REFERENCE)


def _nothing(known: KnownEvidence) -> Candidates:
    vectors, none = known.space.mean.new_zeros(0, len(known.space.mean)), torch.zeros(0, dtype=torch.long)
    return Candidates(vectors, none, none, none.float())


def confident_regions(known: KnownEvidence, frames: Sequence[Frame], folds: Int[np.ndarray, " B"]) -> Candidates:
    """The regions with the lowest mean score until they cover CONFIDENT of the area of all images."""
    rows: list[tuple[Tensor, ...]] = []
    for frame, fold in zip(frames, folds, strict=True):
        hierarchy = frame.reading.hierarchy
        regions = hierarchy.finest
        score = region_mean(own_score(frame.encoding, known, frame.reading), regions)
        closed = largest_class(frame.encoding.logits, regions.ids.shape)
        owner, _ = region_majority(closed, regions, len(known.means))
        device = score.device
        rows.append((
            frame.reading.embeddings, owner.to(device), torch.full_like(owner, int(fold)).to(device),
            region_areas(regions).to(device).float(), score,
        ))  # fmt: skip
    vectors, owner, fold, area, score = (torch.cat(column) for column in zip(*rows, strict=True))
    order = score.argsort()
    covered = area[order].cumsum(0)
    kept = order[covered <= CONFIDENT * covered[-1]]
    return Candidates(vectors[kept], owner[kept], fold[kept], area[kept])


def thinned(found: Candidates, count: int) -> Candidates:
    """At most `count` of the regions: those of each class at even steps of the root of their area."""
    if len(found.owner) <= count:
        return found
    order = torch.argsort(found.owner, stable=True)
    chance = found.area[order].double().sqrt().cumsum(0)
    steps = (torch.arange(count, device=chance.device) + 0.5) / count * chance[-1]
    chosen = order[torch.searchsorted(chance, steps).clamp(max=len(order) - 1).unique()]
    return Candidates(found.vectors[chosen], found.owner[chosen], found.fold[chosen], found.area[chosen])
