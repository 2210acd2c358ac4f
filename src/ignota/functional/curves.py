"""AUPR, AUROC and FPR95 of anomaly scores: exact by one shared sort, or from a histogram that merges by addition.

Labels are 1 (or True) for the anomaly and 0 for the rest; the caller leaves void pixels out. All metrics are fractions
in 0..1, and NaN where one of the two kinds of pixels is missing. Equal scores share one threshold, as in scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int64, Num, UInt32
from numpy.typing import NDArray

from ignota.structures import InputError

BIN_BITS = 20
BINS = 1 << BIN_BITS
_DROPPED_BITS = 32 - BIN_BITS
_SIGN = np.uint32(1 << 31)

Rule = Literal["first", "nearest"]
Scores = Num[np.ndarray, "*S"]
Labels = Num[np.ndarray, "*S"] | Bool[np.ndarray, "*S"]


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


@dataclass(frozen=True)
class Bounded:
    """A value of the binned scores, and limits between which that of the exact scores lies for certain."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class HistogramMetrics:
    aupr: Bounded
    auroc: Bounded
    fpr95: Bounded


def binary_curve(scores: Scores, labels: Labels) -> BinaryCurve:
    """The threshold curve of some scores, by one sort. Raises InputError for NaN scores or labels beyond 0 and 1."""
    flat, positive = _checked(scores, labels)
    if flat.dtype == np.float32:
        # Key and label in one integer: sorting plain numbers is several times faster than sorting indices.
        packed = np.sort((_key(flat).astype(np.uint64) << np.uint64(1)) | positive)[::-1]
        ordered, hits = packed >> np.uint64(1), (packed & np.uint64(1)).astype(np.int64)
    else:
        order = np.argsort(flat)[::-1]
        ordered, hits = flat[order], positive[order].astype(np.int64)
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], np.ones(min(flat.size, 1), np.bool_)))
    tp = np.cumsum(hits)[ends]
    values = _score(ordered[ends].astype(np.uint32)) if flat.dtype == np.float32 else ordered[ends]
    return BinaryCurve(values.astype(np.float64), tp, ends + 1 - tp)


def _checked(scores: NDArray, labels: NDArray) -> tuple[NDArray, NDArray[np.bool_]]:
    flat, marks = np.ravel(scores), np.ravel(labels)
    flat = flat.astype(np.float32 if flat.dtype in (np.float32, np.float16) else np.float64, copy=False)
    if np.isnan(flat).any():
        raise InputError(f"scores hold {int(np.isnan(flat).sum())} NaN of {flat.size}; no order is possible, mend them")
    positive = marks == 1
    if not (positive | (marks == 0)).all():
        other = marks[~positive & (marks != 0)][0]
        raise InputError(f"labels hold {other}, but they are 0 or 1; leave void pixels out first")
    return flat, positive


# --- exact metrics


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


def best_f1_threshold(curve: BinaryCurve) -> float:
    """The threshold at which taking all that score at least so much for positive has the best F1, the highest of equal
    ones: max 2 TP / (TP + FP + P). NaN where one of the two kinds is missing."""
    if not curve.defined:
        return float("nan")
    tp, fp = curve.true_positives, curve.false_positives
    return float(curve.thresholds[np.argmax(2 * tp / (tp + fp + curve.positives))])


def average_precision(scores: Scores, labels: Labels) -> float:
    """AUPR of some scores, see `curve_average_precision`."""
    return curve_average_precision(binary_curve(scores, labels))


def auroc(scores: Scores, labels: Labels) -> float:
    """AUROC of some scores, see `curve_auroc`."""
    return curve_auroc(binary_curve(scores, labels))


def fpr_at_tpr(scores: Scores, labels: Labels, tpr: float = 0.95, rule: Rule = "first") -> float:
    """False positive rate of some scores at a true positive rate, see `curve_fpr_at_tpr`."""
    return curve_fpr_at_tpr(binary_curve(scores, labels), tpr, rule)


def curve_metrics(curve: BinaryCurve, rule: Rule = "first") -> dict[str, float]:
    """{"aupr", "auroc", "fpr95"} of one curve."""
    return {
        "aupr": curve_average_precision(curve),
        "auroc": curve_auroc(curve),
        "fpr95": curve_fpr_at_tpr(curve, 0.95, rule),
    }


# --- streaming


def _key(scores: NDArray[np.float32]) -> NDArray[np.uint32]:
    """An unsigned integer that orders as the float32 does; -0 and 0 are the same."""
    bits = (scores + np.float32(0)).view(np.uint32)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _score(key: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Undoes `_key`."""
    return np.where(key & _SIGN, key ^ _SIGN, ~key).astype(np.uint32).view(np.float32)


def score_key(scores: Scores) -> UInt32[np.ndarray, "*S"]:
    """Bin of each score, 0..2^20 - 1: the top 20 bits of an integer that orders as the float32 score does.

    Needs no range of scores; a bin is at most 1/2048 of the score wide. A higher score is never in a lower bin.
    Infinities have bins. Raises InputError for NaN.
    """
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, which keeps the order
        single = np.asarray(scores).astype(np.float32)
    if np.isnan(single).any():
        raise InputError(f"scores hold {int(np.isnan(single).sum())} NaN of {single.size}; no order is possible")
    return _key(single) >> np.uint32(_DROPPED_BITS)


def histogram(scores: Scores, labels: Labels) -> Int64[np.ndarray, "2 bins"]:
    """How many pixels of label 0 (first row) and 1 (second) fall in each of the 2^20 bins of `score_key`.

    Histograms of parts of a data set add up to that of the whole.
    """
    _, positive = _checked(scores, labels)
    code = score_key(scores).ravel().astype(np.int64) + positive * BINS
    return np.bincount(code, minlength=2 * BINS).reshape(2, BINS)


def curve_from_histogram(hist: Int64[np.ndarray, "2 bins"]) -> BinaryCurve:
    """The curve of the binned scores, one threshold for each bin in use: the lowest score that falls in it."""
    used = np.flatnonzero(hist.any(0))[::-1]
    lowest = np.maximum(used.astype(np.uint32) << np.uint32(_DROPPED_BITS), _key(np.array([-np.inf], np.float32)))
    return BinaryCurve(
        _score(lowest).astype(np.float64),
        np.cumsum(hist[1, used], dtype=np.int64),
        np.cumsum(hist[0, used], dtype=np.int64),
    )


def metrics_from_histogram(hist: Int64[np.ndarray, "2 bins"]) -> HistogramMetrics:
    """AUPR, AUROC and FPR95 (rule "first") of the binned scores, with limits for the exact ones.

    The limits hold for every order and every tie of the scores within each bin; all are NaN without both kinds.
    """
    curve = curve_from_histogram(hist)
    if not curve.defined:
        undefined = Bounded(float("nan"), float("nan"), float("nan"))
        return HistogramMetrics(undefined, undefined, undefined)
    return HistogramMetrics(_bounded_aupr(curve), _bounded_auroc(curve), _bounded_fpr(curve, 0.95))


def _bounded_aupr(curve: BinaryCurve) -> Bounded:
    """Limits of the precision at the threshold of each positive of a bin.

    With a positives and b negatives before the bin and p, n in it, the precision at the i-th of its positives is at
    least (a+i) / (a+i+b+n), all its negatives before, and at most (a+p) / (a+p+b), its positives alone and tied. The
    sum of the former is p - (b+n) Σ 1/(a+b+n+i), and each 1/x is at most the integral of 1/t over x ± 1/2.
    """
    tp, fp = curve.true_positives.astype(np.float64), curve.false_positives.astype(np.float64)
    p, before = np.diff(tp, prepend=0), fp - np.diff(fp, prepend=0)
    lower = p - fp * np.log1p(p / (tp - p + fp + 0.5))
    upper = p * tp / np.maximum(tp + before, 1)
    value = curve_average_precision(curve)
    # Rounding must not put the value, which is one of the possible orders, outside.
    return Bounded(value, min(float(lower.sum() / tp[-1]), value), max(float(upper.sum() / tp[-1]), value))


def _bounded_auroc(curve: BinaryCurve) -> Bounded:
    """A bin's pairs of a positive and a negative count half in the value, not at all or wholly in the limits."""
    p, n = np.diff(curve.true_positives, prepend=0), np.diff(curve.false_positives, prepend=0)
    slack = float((p.astype(np.float64) * n).sum() / 2 / curve.positives / curve.negatives)
    value = curve_auroc(curve)
    return Bounded(value, max(value - slack, 0.0), min(value + slack, 1.0))


def _bounded_fpr(curve: BinaryCurve, tpr: float) -> Bounded:
    """The exact threshold lies in the bin in which the binned one does: before or after its negatives."""
    reached = int(np.argmax(curve.true_positives / curve.positives >= tpr))
    below = curve.false_positives[reached - 1] if reached else 0
    value = float(curve.false_positives[reached] / curve.negatives)
    return Bounded(value, float(below / curve.negatives), value)
