"""Which score is best on somebody's data, and how sure that is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ignota.data.datasets import LabelledImages
from ignota.evaluation.component_reading import to_size
from ignota.evaluation.evaluation import anomaly_label_lut, scored_images
from ignota.metrics.bootstrap import ImageHistograms, drawn_weights, interval, weighted_aupr, weighted_fpr95
from ignota.perception.composing import REGION
from ignota.perception.known import KnownEvidence
from ignota.perception.reading import score_names
from ignota.scores.fitted_scores import FITTED_SCORES
from ignota.structures import InputError
from ignota.world.model import OpenWorldModel

BLOCKS = 128
"""More images than this share entries, so that memory stays flat; then it is blocks of images that are drawn."""


def held_scores(known: KnownEvidence) -> list[str]:
    """Every score that the world can compute, and the mean over regions of each one that is read pixel by pixel."""
    return [*score_names(known), *(f"{REGION}{name}" for name in known.recipe.scores())]


def missing_scores(known: KnownEvidence) -> list[str]:
    """The scores that could be fitted and are not held."""
    return [name for name in FITTED_SCORES if name not in known.recipe.extra]


def compare_scores(
    world: OpenWorldModel,
    dataset: LabelledImages,
    scores: Sequence[str],
    draws: int = 1000,
    seed: int = 0,
    tick: Callable[[], object] | None = None,
) -> dict[str, Any]:
    """{"dataset", "images", "scores": [{"name", "aupr", "fpr95", "behind"}]}, the best pooled AUPR first.

    aupr and fpr95 are {"value", "low", "high"}, fractions over all pixels of the set with the limits of the middle 95 %
    of a bootstrap over images; behind is by how much the AUPR falls short of the best one's, {"mean", "low", "high"}
    from the same draws for both: where `low` is not above 0, the score may be as good as the best. Scores are read at
    bfloat16's resolution. Raises InputError where there is nothing to rank by.
    """
    lut = anomaly_label_lut(world, dataset)
    histograms = ImageHistograms()
    for i, (sample, label, _, raw) in enumerate(scored_images(world, dataset, scores, lut)):
        one = ImageHistograms()
        one.update(sample.key, {name: to_size(value, label.shape) for name, value in raw.items()}, label)
        histograms.fold(f"{i % BLOCKS:03}", one)
        if tick is not None:
            tick()
    return {"dataset": dataset.name, "images": len(dataset), "scores": ranked(histograms, scores, draws, seed)}


def ranked(histograms: ImageHistograms, scores: Sequence[str], draws: int, seed: int) -> list[dict[str, Any]]:
    """The rows of `compare_scores`."""
    entries = len(histograms.by_key)
    first = histograms.of(scores[0])
    for row, kind in enumerate(("normal", "anomalous")):
        if not any(one.counts[row].any() for one in first):
            raise InputError(f"no {kind} pixel in the images: there is nothing to rank scores by")
    weights, once = drawn_weights(entries, draws, seed), np.ones((1, entries), np.int64)
    values, drawn, rows = {}, {}, {}
    for name in scores:
        mine = histograms.of(name)
        values[name], drawn[name] = float(weighted_aupr(mine, once)[0]), weighted_aupr(mine, weights)
        rows[name] = {
            "name": name,
            "aupr": {"value": values[name], **_limits(drawn[name])},
            "fpr95": {"value": float(weighted_fpr95(mine, once)[0]), **_limits(weighted_fpr95(mine, weights))},
        }
    order = sorted(scores, key=lambda name: -values[name])
    behind = {name: dataclasses.asdict(interval(drawn[order[0]] - drawn[name])) for name in order}
    return [{**rows[name], "behind": behind[name]} for name in order]


def _limits(values: np.ndarray) -> dict[str, float]:
    found = interval(values)
    return {"low": found.low, "high": found.high}


def mean_ranks(comparisons: Sequence[dict[str, Any]]) -> list[tuple[str, float]]:
    """Each score with its mean place over several data sets, the best first."""
    places: dict[str, list[int]] = {}
    for comparison in comparisons:
        for place, row in enumerate(comparison["scores"], 1):
            places.setdefault(row["name"], []).append(place)
    return sorted(((name, sum(found) / len(found)) for name, found in places.items()), key=lambda pair: pair[1])
