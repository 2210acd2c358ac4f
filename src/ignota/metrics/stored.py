"""Metric states in stored form, checked when read: a JSON document and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ignota.functional.numbers import BINS
from ignota.metrics.anomaly import METRICS, AnomalyMetrics, ImageMean, ScoreState
from ignota.metrics.components import F1_THRESHOLDS, SIZES_OF_TRUE, ComponentMetrics, Sizes
from ignota.metrics.exact import ExactSum
from ignota.metrics.segmentation import SegmentationMetrics
from ignota.taxonomy import ClassLabel, Taxonomy

Arrays = dict[str, NDArray[np.int64]]


def anomaly_document(state: AnomalyMetrics) -> tuple[dict[str, Any], Arrays]:
    """The state without the histograms, and of these the bins in use with their counts, "2 U"."""
    scores: list[dict[str, Any]] = []
    arrays: Arrays = {}
    for number, (name, score) in enumerate(state.states.items()):
        used = np.flatnonzero(score.pooled.any(0))
        arrays |= {f"{number}.bins": used, f"{number}.counts": np.ascontiguousarray(score.pooled[:, used])}
        scores.append({"name": name, "per_image": _mean(score.per_image), "dmlnet": _mean(score.dmlnet)})
    return {"protocol": state.protocol, "images": state.images, "scores": scores}, arrays


def anomaly_state(document: Mapping[str, Any], arrays: Mapping[str, NDArray]) -> AnomalyMetrics:
    """The state again. Raises KeyError, TypeError or ValueError for what cannot be one."""
    state = AnomalyMetrics(document["protocol"])
    state.images = _count(document["images"])
    for number, score in enumerate(document["scores"]):
        bins, counts = arrays[f"{number}.bins"], arrays[f"{number}.counts"]
        if bins.ndim != 1 or counts.shape != (2, len(bins)) or counts.dtype != np.int64 or bins.dtype != np.int64:
            raise ValueError("a histogram has another form")
        if len(bins) and (bins[0] < 0 or bins[-1] >= BINS or (np.diff(bins) <= 0).any() or (counts < 0).any()):
            raise ValueError("a histogram holds what none can hold")
        pooled = np.zeros((2, BINS), np.int64)
        pooled[:, bins] = counts
        state.states[str(score["name"])] = ScoreState(
            pooled, _mean_again(score["per_image"]), _mean_again(score["dmlnet"])
        )
    return state


def components_document(state: ComponentMetrics) -> dict[str, Any]:
    return {
        "predicted": state.predicted, "true": state.true.tolist(), "siou": [hex(each.units) for each in state.siou],
        "ppv": hex(state.ppv.units), "found": state.found.tolist(), "false": state.false.tolist(),
    }  # fmt: skip


def components_state(document: Mapping[str, Any], sizes: Sizes) -> ComponentMetrics:
    """The state again. Raises KeyError, TypeError or ValueError for what cannot be one."""
    bands, levels = len(SIZES_OF_TRUE), len(F1_THRESHOLDS)
    siou = tuple(ExactSum(int(document["siou"][i], 16)) for i in range(bands))
    found, false = _counts(document["found"], (bands, levels)), _counts(document["false"], (levels,))
    true, ppv = _counts(document["true"], (bands,)), ExactSum(int(document["ppv"], 16))
    return ComponentMetrics(sizes, true, _count(document["predicted"]), siou, ppv, found, false)


def segmentation_document(state: SegmentationMetrics) -> dict[str, Any]:
    return {
        "taxonomy": state.taxonomy.name,
        "classes": [[label.name, list(label.colour)] for label in state.taxonomy.classes],
        "known": state.known,
        "confusion": state.confusion.tolist(),
    }


def segmentation_state(document: Mapping[str, Any]) -> SegmentationMetrics:
    """The state again. Raises KeyError, TypeError or ValueError for what cannot be one."""
    labels = [ClassLabel(i, str(name), tuple(colour)) for i, (name, colour) in enumerate(document["classes"])]
    state = SegmentationMetrics(Taxonomy(str(document["taxonomy"]), tuple(labels)), _count(document["known"]))
    state.confusion = torch.from_numpy(_counts(document["confusion"], tuple(state.confusion.shape)))
    return state


def _mean(mean: ImageMean) -> dict[str, Any]:
    return {"sums": [hex(total.units) for total in mean.sums], "images": mean.images}


def _mean_again(document: Mapping[str, Any]) -> ImageMean:
    sums = tuple(ExactSum(int(text, 16)) for text in document["sums"])
    if len(sums) != len(METRICS):
        raise ValueError(f"{len(sums)} sums of {len(METRICS)} metrics")
    return ImageMean(sums, _count(document["images"]))


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} counts nothing")
    return value


def _counts(values: Any, shape: tuple[int, ...]) -> NDArray[np.int64]:
    array = np.array(values)
    if array.shape != shape or array.dtype != np.int64 or (array < 0).any():
        raise ValueError(f"counts of the form {array.shape}, not {shape}")
    return array
