"""Which score is best on a user's data, with the uncertainty of the ranking."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ignota.data.datasets import LabelledImages
from ignota.evaluation.component_reading import component_reading
from ignota.evaluation.evaluation import AnomalyState, fixed_thresholds, measured_images
from ignota.formats.score_maps import MapFolder
from ignota.metrics.anomaly import AnomalyMetrics
from ignota.metrics.bootstrap import (
    ImageHistograms,
    drawn_weights,
    interval,
    weighted_aupr,
    weighted_auroc,
    weighted_fpr95,
)
from ignota.metrics.components import track_sizes
from ignota.perception.composing import REGION
from ignota.perception.known import KnownEvidence
from ignota.perception.reading import score_names
from ignota.scores.fitted_scores import FITTED_SCORES
from ignota.world.model import OpenWorldModel

BLOCKS = 128
"""More images than this share entries, so that memory stays flat; then it is blocks of images that are drawn."""


def held_scores(known: KnownEvidence) -> list[str]:
    """Every score that the world can compute, and the mean over regions of each one that is read pixel by pixel."""
    return [*score_names(known), *(f"{REGION}{name}" for name in known.recipe.readable())]


def missing_scores(known: KnownEvidence) -> list[str]:
    """The scores that could be fitted and are not held."""
    return [name for name in FITTED_SCORES if name not in known.recipe.readable()]


def compare_scores(
    world: OpenWorldModel,
    dataset: LabelledImages,
    scores: Sequence[str],
    draws: int = 1000,
    seed: int = 0,
    tick: Callable[[], object] = lambda: None,
    outside: Sequence[MapFolder] = (),
) -> dict[str, Any]:
    """{"dataset", "images", "scores": [{"name", "aupr", "auroc", "fpr95", "tpr5", "component", "behind"}]}, best AUPR
    first.

    aupr, auroc and fpr95 are {"value", "low", "high"}: the figure of `evaluate_anomaly` to the last digit, and the
    limits of the middle 95 % of a bootstrap over images; tpr5 and component are as there, so is open_miou where known
    classes are labelled. behind is by how much the AUPR falls
    short of the best one's, {"mean", "low", "high"} from the same draws for both: where `low` is not above 0, the score
    may be as good as the best. Draws are read at bfloat16's resolution. outside: maps of other methods, ranked with the
    scores. Raises InputError where there is nothing to rank by.
    """
    histograms = ImageHistograms()
    with component_reading(track_sizes(dataset.name), fixed_thresholds(world, scores)) as reading:
        state = AnomalyState(dataset.name, AnomalyMetrics(), reading)
        images = measured_images(world, dataset, scores, state, lambda *_: tick(), outside)
        for i, (sample, maps, label) in enumerate(images):
            one = ImageHistograms()
            one.update(sample.key, maps, label)
            histograms.fold(f"{i % BLOCKS:03}", one)
        figures = state.figures()
    return {**figures, "scores": ranked(figures["scores"], histograms, draws, seed)}


def ranked(
    figures: Mapping[str, Mapping[str, Any]], histograms: ImageHistograms, draws: int, seed: int
) -> list[dict[str, Any]]:
    """The rows of `compare_scores`. figures: by score, as `evaluate_anomaly` gives them."""
    weights = drawn_weights(len(histograms.by_key), draws, seed)
    drawn = {
        name: {metric: weighted(histograms.of(name), weights) for metric, weighted in _DRAWN.items()}
        for name in figures
    }
    order = sorted(figures, key=lambda name: -figures[name]["pooled"]["aupr"])
    best = drawn[order[0]]["aupr"]
    return [
        {
            "name": name,
            **{metric: {"value": figures[name]["pooled"][metric], **_limits(drawn[name][metric])} for metric in _DRAWN},
            "tpr5": figures[name]["pooled"]["tpr5"],
            "component": figures[name].get("component", {}),
            **{key: figures[name][key] for key in ("open_miou",) if key in figures[name]},
            "behind": dataclasses.asdict(interval(best - drawn[name]["aupr"])),
        }
        for name in order
    ]


_DRAWN = {"aupr": weighted_aupr, "auroc": weighted_auroc, "fpr95": weighted_fpr95}


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
