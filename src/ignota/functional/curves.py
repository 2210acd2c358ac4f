"""AUPR, AUROC and FPR95 of anomaly scores: exact by one shared sort, and of any number of pixels by a histogram.

Labels are 1 (or True) for the anomaly and 0 for the rest; the caller leaves void pixels out. All metrics are fractions
in 0..1, and NaN where one of the two kinds of pixels is missing. Equal scores share one threshold, as in scikit-learn.
Histograms merge by addition; their bins are the top 20 bits of a key that orders as the scores do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Int64, Num
from numpy.typing import NDArray
from torch import Tensor

from ignota.functional.numbers import BIN_BITS, BINS, FINE_BITS, as_single, key_score, ordered_key
from ignota.structures import InputError

Rule = Literal["first", "nearest"]
Scores = Num[np.ndarray, "*S"]
Labels = Num[np.ndarray, "*S"] | Bool[np.ndarray, "*S"]
_BLOCK = 1 << 18
"""Pixels that are counted at a time: what is made of them stays in the cache."""

Pixels = Scores | Num[Tensor, "*S"]
Marks = Labels | Num[Tensor, "*S"] | Bool[Tensor, "*S"]


@dataclass(frozen=True)
class BinaryCurve:
    """Counts at each distinct threshold, falling: how many positives and negatives score at least that much."""

    thresholds: NDArray[np.float64]
    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]

    @property
    def positives(self) -> int:
        return int(self.true_positives[-1]) if self.true_positives.size else 0

    @property
    def negatives(self) -> int:
        return int(self.false_positives[-1]) if self.false_positives.size else 0

    @property
    def defined(self) -> bool:
        """Whether there are positives as well as negatives."""
        return self.positives > 0 and self.negatives > 0


def binary_curve(scores: Scores, labels: Labels) -> BinaryCurve:
    """The threshold curve of some scores, by one sort. Raises InputError for NaN scores or labels beyond 0 and 1."""
    flat, positive = checked(scores, labels)
    if flat.dtype == np.float32:
        # Key and label in one integer: sorting plain numbers is several times faster than sorting indices.
        packed = np.sort((ordered_key(flat).astype(np.uint64) << np.uint64(1)) | positive)[::-1]
        ordered, hits = packed >> np.uint64(1), (packed & np.uint64(1)).astype(np.int64)
    else:
        order = np.argsort(flat)[::-1]
        ordered, hits = flat[order], positive[order].astype(np.int64)
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], np.ones(min(flat.size, 1), np.bool_)))
    tp = np.cumsum(hits)[ends]
    values = key_score(ordered[ends].astype(np.uint32)) if flat.dtype == np.float32 else ordered[ends]
    return BinaryCurve(values.astype(np.float64), tp, ends + 1 - tp)


def checked(scores: NDArray, labels: NDArray) -> tuple[NDArray, NDArray[np.bool_]]:
    """Both in one dimension: scores as float32 or float64, labels as bool. Raises InputError as `binary_curve`."""
    flat, marks = np.ravel(scores), np.ravel(labels)
    flat = flat.astype(np.float32 if flat.dtype in (np.float32, np.float16) else np.float64, copy=False)
    if np.isnan(flat).any():
        raise InputError(f"scores hold {int(np.isnan(flat).sum())} NaN of {flat.size} and cannot be ordered")
    positive = marks == 1
    if not (positive | (marks == 0)).all():
        other = marks[~positive & (marks != 0)][0]
        raise InputError(f"labels hold {other}, but they are 0 or 1; leave void pixels out first")
    return flat, positive


def curve_average_precision(curve: BinaryCurve) -> float:
    """AUPR as the step-wise sum Σ (R_n - R_{n-1}) P_n."""
    if not curve.defined:
        return float("nan")
    tp, fp = curve.true_positives, curve.false_positives
    return float((np.diff(tp, prepend=0) * (tp / (tp + fp))).sum() / curve.positives)


def curve_auroc(curve: BinaryCurve) -> float:
    """Area under the ROC curve by trapezoids: the chance that a positive outranks a negative, equal scores half."""
    if not curve.defined:
        return float("nan")
    tp, fp = curve.true_positives.astype(np.float64), curve.false_positives
    middle = tp - np.diff(tp, prepend=0) / 2
    return float((np.diff(fp, prepend=0) * middle).sum() / curve.positives / curve.negatives)


def curve_fpr_at_tpr(curve: BinaryCurve, tpr: float = 0.95, rule: Rule = "first") -> float:
    """False positive rate at the true positive rate `tpr`.

    first: at the first threshold, from above, that reaches it (the SMIYC benchmark). nearest: at the threshold whose
    rate is nearest to it, above or below, the lower threshold of equally near ones (anomaly-seg and DMLNet).
    """
    if not curve.defined:
        return float("nan")
    recall = curve.true_positives / curve.positives
    reached = int(np.argmax(recall >= tpr))
    if rule == "nearest":
        full = int(np.argmax(recall >= 1))  # beyond it only false positives are left to come
        reached = full - int(np.argmin(np.abs(recall[full::-1] - tpr)))
    return float(curve.false_positives[reached] / curve.negatives)


def curve_tpr_at_fpr(curve: BinaryCurve, fpr: float = 0.05) -> float:
    """The largest true positive rate whose false positive rate is at most `fpr`; 0 where already the highest score has
    more (Laskar et al., ISSU, CVPR 2025, who take the first threshold that reaches it)."""
    if not curve.defined:
        return float("nan")
    allowed = curve.true_positives[curve.false_positives <= fpr * curve.negatives]
    return float(allowed[-1] / curve.positives) if len(allowed) else 0.0


def tpr_threshold(curve: BinaryCurve, tpr: float = 0.95) -> float:
    """The highest threshold with a true positive rate of `tpr` or more; NaN where one of the two kinds is missing."""
    if not curve.defined:
        return float("nan")
    return float(curve.thresholds[np.argmax(curve.true_positives >= tpr * curve.positives)])


def fpr_threshold(curve: BinaryCurve, fpr: float = 0.05) -> float:
    """The lowest threshold with a false positive rate of at most `fpr`, infinite where there is none; NaN as above."""
    if not curve.defined:
        return float("nan")
    allowed = curve.thresholds[curve.false_positives <= fpr * curve.negatives]
    return float(allowed[-1]) if len(allowed) else float("inf")


def best_f1_threshold(curve: BinaryCurve) -> float:
    """The threshold at which taking all that score at least so much for positive has the best F1, the highest of equal
    ones: max 2 TP / (TP + FP + P). NaN where one of the two kinds is missing."""
    if not curve.defined:
        return float("nan")
    tp, fp = curve.true_positives, curve.false_positives
    return float(curve.thresholds[np.argmax(2 * tp / (tp + fp + curve.positives))])


def curve_metrics(curve: BinaryCurve, rule: Rule = "first") -> dict[str, float]:
    """{"aupr", "auroc", "fpr95"} of one curve."""
    return {
        "aupr": curve_average_precision(curve),
        "auroc": curve_auroc(curve),
        "fpr95": curve_fpr_at_tpr(curve, 0.95, rule),
    }


def empty_histogram(device: torch.device | str = "cpu") -> Int64[Tensor, "2 bins"]:
    """Room for the counts of `add_scores`, 16 MB."""
    return torch.zeros(2, BINS, dtype=torch.int64, device=device)


def add_scores(counts: Int64[Tensor, "2 bins"], scores: Pixels, labels: Marks) -> None:
    """Adds pixels to a histogram in place, on its device; histograms of parts of a data set add up.

    Raises InputError for NaN scores and for labels beyond 0 and 1; earlier blocks of the pixels may then be counted.
    """
    for key, positive in _blocks(scores, labels, counts.device):
        code = (key >> FINE_BITS).add_(BINS // 2).add_(positive.to(torch.int32) << BIN_BITS)
        _count(counts, code.long())


def histogram(scores: Scores, labels: Labels) -> Int64[np.ndarray, "2 bins"]:
    """How many pixels of label 0 (first row) and 1 (second) fall in each of the 2^20 bins of `score_key`."""
    counts = empty_histogram()
    add_scores(counts, scores, labels)
    return counts.numpy()


def _blocks(scores: Pixels, labels: Marks, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Signed keys that order as the scores, and which pixels are positive, some at a time."""
    flat, marks = scores.reshape(-1), labels.reshape(-1)
    step = _BLOCK if device.type == "cpu" else max(len(flat), 1)
    for start in range(0, len(flat), step):
        mark = marks[start : start + step]
        positive = mark == 1
        if mark.dtype not in (np.bool_, torch.bool) and not (positive | (mark == 0)).all():
            raise InputError(
                f"labels hold {mark[~positive & (mark != 0)][0]}, but they are 0 or 1; leave void out first"
            )
        part = _on(flat[start : start + step], device).to(torch.float32)
        if not part.sum().isfinite() and part.isnan().any():
            holes = int(part.isnan().sum())
            raise InputError(f"scores hold {holes} NaN of {len(part)} and cannot be ordered")
        bits = (part + 0.0).view(torch.int32)  # -0 becomes 0
        yield bits ^ ((bits >> 31) & 0x7FFFFFFF), _on(positive, device)


def _on(part: NDArray | Tensor, device: torch.device) -> Tensor:
    if isinstance(part, Tensor):
        return part.to(device)
    plain = as_single(part) if part.dtype != np.bool_ else part
    return torch.from_numpy(plain if plain.flags.writeable else plain.copy()).to(device)


def _count(counts: Tensor, code: Tensor) -> None:
    if counts.device.type == "cpu":
        np.add.at(counts.view(-1).numpy(), code.numpy(), 1)
    else:
        counts += torch.bincount(code, minlength=counts.numel()).view_as(counts)


def curve_from_histogram(hist: Int64[np.ndarray, "2 bins"]) -> BinaryCurve:
    """The curve of the binned scores, one threshold for each bin in use: the lowest score that falls in it."""
    used = np.flatnonzero(hist.any(0))[::-1]
    lowest = np.maximum((used << FINE_BITS).astype(np.uint32), ordered_key(np.array([-np.inf], np.float32)))
    falling = np.cumsum(hist[:, used], axis=1, dtype=np.int64)
    return BinaryCurve(key_score(lowest).astype(np.float64), falling[1], falling[0])
