"""How well anomaly scores separate anomalous from normal pixels, over a data set of any length."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray

from ignota.functional.curves import (
    BinaryCurve,
    Rule,
    add_scores,
    binary_curve,
    curve_from_histogram,
    curve_metrics,
    curve_tpr_at_fpr,
)
from ignota.functional.numbers import BINS
from ignota.metrics.exact import ExactSum
from ignota.structures import InputError
from ignota.taxonomy import IGNORE_INDEX

NORMAL, ANOMALY = 0, 1

METRICS = ("aupr", "auroc", "fpr95")

Protocol = Literal["standard", "dmlnet"]


@dataclass
class ImageMean:
    """Sums of the metrics of single images, from which their means come, and the number of images."""

    sums: tuple[ExactSum, ...] = (ExactSum(),) * len(METRICS)
    images: int = 0

    def update(self, scores: NDArray[np.float32], anomalous: NDArray[np.bool_], rule: Rule) -> None:
        """Adds one image, unless one of the two kinds of pixels is missing."""
        if anomalous.any() and not anomalous.all():
            found = curve_metrics(binary_curve(scores, anomalous), rule)
            self.sums = tuple(total.plus([found[name]]) for total, name in zip(self.sums, METRICS, strict=True))
            self.images += 1

    def merge(self, other: ImageMean) -> None:
        self.sums = tuple(ours + theirs for ours, theirs in zip(self.sums, other.sums, strict=True))
        self.images += other.images

    def compute(self) -> dict[str, float | int | None]:
        means = [total.value / self.images if self.images else None for total in self.sums]
        return {**dict(zip(METRICS, means, strict=True)), "images": self.images}


@dataclass
class ScoreState:
    """What one score has shown so far: 16 MB, however many images."""

    pooled: NDArray[np.int64] = field(default_factory=lambda: np.zeros((2, BINS), np.int64))
    per_image: ImageMean = field(default_factory=ImageMean)
    dmlnet: ImageMean = field(default_factory=ImageMean)

    def merge(self, other: ScoreState) -> None:
        self.pooled = self.pooled + other.pooled
        self.per_image.merge(other.per_image)
        self.dmlnet.merge(other.dmlnet)


class AnomalyMetrics:
    """AUPR, AUROC and FPR95 of several scores at once, in fractions, higher score = more anomalous.

    pooled: all pixels on one scale, void left out, FPR95 at the first threshold with TPR ≥ 0.95, from a histogram
    whose bins are 1/2048 of the score wide; also "tpr5", the TPR at an FPR of 5 %. per_image: the former three measured
    exactly for every image that holds both kinds of pixels, then the mean. With protocol "dmlnet" each score has a
    third reading under that name, after DMLNet and anomaly-seg: of scores from five image scales, image by image, void
    counts as normal, FPR95 at the TPR nearest to 0.95. Images without anomalous or without other pixels are left out.

    States that saw different images add up: `merge` equals one state that saw them all.
    """

    def __init__(self, protocol: Protocol = "standard") -> None:
        if protocol not in ("standard", "dmlnet"):
            raise InputError(f"there is no anomaly protocol {protocol!r}; use 'standard' or 'dmlnet'")
        self.protocol: Protocol = protocol
        self.images = 0
        self.states: dict[str, ScoreState] = {}

    def update(
        self,
        key: str,
        scores: Mapping[str, Float[np.ndarray, "H W"]],
        label: UInt8[np.ndarray, "H W"],
        scaled: Mapping[str, Float[np.ndarray, "H W"]] | None = None,
    ) -> None:
        """Adds one image: its scores by name and its label, 0 normal, 1 anomaly, 255 void; key names it in errors.

        scaled: the same scores from five image scales, which the protocol "dmlnet" reads and no other. Raises
        ValueError for NaN, a wrong shape, other names than before, or `scaled` where it does not belong or is missing,
        InputError for other label values; then nothing is added.
        """
        self._check(key, scores, label)
        if (scaled is not None) != (self.protocol == "dmlnet") or set(scaled or scores) != set(scores):
            raise ValueError(f"{key}: the protocol dmlnet, and it alone, reads every score from five scales, too")
        for name, score in (scaled or {}).items():
            check_score(key, name, score, label)
        seen, anomalous = label != IGNORE_INDEX, label == ANOMALY
        for name, score in scores.items():
            if name not in self.states:
                self.states[name] = ScoreState()
            self._add(self.states[name], np.asarray(score, np.float32), seen, anomalous)
            if scaled is not None:
                values = np.asarray(scaled[name], np.float32)
                self.states[name].dmlnet.update(values.ravel(), anomalous.ravel(), "nearest")
        self.images += 1

    def merge(self, other: AnomalyMetrics) -> None:
        """Adds what another state saw. Raises ValueError where it has other scores or another protocol."""
        if other.protocol != self.protocol:
            raise ValueError(f"cannot merge metrics by the {other.protocol} protocol into {self.protocol}")
        if self.images and other.images:
            self._check_names("merge", other.names)
        for name, state in other.states.items():
            self.states.setdefault(name, ScoreState()).merge(state)
        self.images += other.images

    def compute(self) -> dict[str, Any]:
        """{"images": n, "scores": {NAME: {"pooled": {...}, "per_image": {..., "images": counted}}}}, fractions.

        Means over no image are None. Raises InputError for a data set without anomalous or without normal pixels.
        """
        self._check_both_kinds()
        return {"images": self.images, "scores": {name: self._read(state) for name, state in self.states.items()}}

    def curve(self, name: str) -> BinaryCurve:
        """The pooled threshold curve of a score, for precision-recall and ROC figures."""
        return curve_from_histogram(self.states[name].pooled)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.states)

    def _add(
        self,
        state: ScoreState,
        score: Float[np.ndarray, "H W"],
        seen: Bool[np.ndarray, "H W"],
        anomalous: Bool[np.ndarray, "H W"],
    ) -> None:
        add_scores(torch.from_numpy(state.pooled), score[seen], anomalous[seen])
        state.per_image.update(score[seen], anomalous[seen], "first")

    def _read(self, state: ScoreState) -> dict[str, Any]:
        curve = curve_from_histogram(state.pooled)
        found: dict[str, Any] = {
            "pooled": curve_metrics(curve) | {"tpr5": curve_tpr_at_fpr(curve)},
            "per_image": state.per_image.compute(),
        }
        return found | {"dmlnet": state.dmlnet.compute()} if self.protocol == "dmlnet" else found

    def _check(self, key: str, scores: Mapping[str, NDArray], label: NDArray[np.uint8]) -> None:
        if self.states:
            self._check_names(key, tuple(scores))
        for name, score in scores.items():
            check_score(key, name, score, label)
        check_label(key, label)

    def _check_names(self, where: str, names: tuple[str, ...]) -> None:
        if set(names) != set(self.states):
            raise ValueError(f"{where}: scores {sorted(names)}, but until now {sorted(self.states)}; give the same")

    def _check_both_kinds(self) -> None:
        if not self.images or not self.states:
            raise InputError("no image was measured; check the data set's folder and split")
        normal, anomalous = next(iter(self.states.values())).pooled.sum(1).tolist()
        if not anomalous:
            raise InputError(
                f"no anomalous pixel in {self.images} images; choose a data set or split that has anomalies"
            )
        if not normal:
            raise InputError(f"no normal pixel in {self.images} images; check that label 0 is normal and 1 anomaly")


def check_score(key: str, name: str, score: NDArray, label: NDArray) -> None:
    """Raises ValueError, naming score and image, for another shape than the label's and for NaN."""
    if score.shape != label.shape:
        raise ValueError(f"score {name!r} of {key} is {score.shape}, its label {label.shape}; make them one size")
    holes = int(np.isnan(score).sum())
    if holes:
        raise ValueError(
            f"score {name!r} of {key} is NaN at {holes} of {score.size} pixels; every pixel needs a number"
        )


def check_label(key: str, label: NDArray) -> None:
    """Raises InputError for label values other than 0, 1 and 255."""
    wrong = label[(label != NORMAL) & (label != ANOMALY) & (label != IGNORE_INDEX)]
    if wrong.size:
        raise InputError(f"label of {key} holds {wrong.flat[0]}; anomaly labels are 0 normal, 1 anomaly, 255 void")
