"""AUPR, AUROC and FPR95 of any number of pixels: a histogram that merges by addition, and limits for the exact values.

Scores are binned by the top 20 bits of a key that orders as they do. A second pass over the same pixels may resolve
the bins that leave most open down to single float32 values. Labels are 1 (or True) for the anomaly and 0 for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int64, Num
from numpy.typing import NDArray
from torch import Tensor

from ignota.functional.curves import BinaryCurve, Labels, Scores, curve_auroc, curve_average_precision
from ignota.functional.float_keys import BIN_BITS, BINS, FINE_BITS, as_single, key_score, ordered_key
from ignota.structures import InputError

FINE = 1 << FINE_BITS
_BLOCK = 1 << 18
"""Pixels that are counted at a time: what is made of them stays in the cache."""

Pixels = Scores | Num[Tensor, "*S"]
Marks = Labels | Num[Tensor, "*S"] | Bool[Tensor, "*S"]


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


@dataclass(frozen=True)
class FineHistogram:
    """Some bins, resolved down to single float32 scores: the second pass of `metrics_from_histogram`.

    bins: "K" rising. counts: "2 K 4096" int64, normal pixels, then anomalous ones.
    """

    bins: Int64[np.ndarray, " K"]
    counts: Int64[Tensor, "2 K fine"]


def empty_histogram(device: torch.device | str = "cpu") -> Int64[Tensor, "2 bins"]:
    """Room for the counts of `add_scores`, 16 MB."""
    return torch.zeros(2, BINS, dtype=torch.int64, device=device)


def empty_fine(bins: Int64[np.ndarray, " K"], device: torch.device | str = "cpu") -> FineHistogram:
    """Room for the counts of `add_fine_scores`, 64 kB a bin."""
    chosen = np.unique(bins)
    return FineHistogram(chosen, torch.zeros(2, len(chosen), FINE, dtype=torch.int64, device=device))


def add_scores(counts: Int64[Tensor, "2 bins"], scores: Pixels, labels: Marks) -> None:
    """Adds pixels to a histogram in place, on its device; histograms of parts of a data set add up.

    Raises InputError for NaN scores and for labels beyond 0 and 1; earlier blocks of the pixels may then be counted.
    """
    for key, positive in _blocks(scores, labels, counts.device):
        code = (key >> FINE_BITS).add_(BINS // 2).add_(positive.to(torch.int32) << BIN_BITS)
        _count(counts, code.long())


def add_fine_scores(fine: FineHistogram, scores: Pixels, labels: Marks) -> None:
    """Adds the pixels that lie in its bins, otherwise as `add_scores`."""
    device, number = fine.counts.device, len(fine.bins)
    slot = torch.full((BINS,), -1, dtype=torch.int32, device=device)
    slot[torch.from_numpy(fine.bins).to(device)] = torch.arange(number, dtype=torch.int32, device=device)
    for key, positive in _blocks(scores, labels, device):
        place = slot[(key >> FINE_BITS) + BINS // 2]
        inside = place >= 0
        place = place[inside] + positive[inside].to(torch.int32) * number
        _count(fine.counts, place.long() * FINE + (key[inside] & (FINE - 1)))


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
            raise InputError(f"scores hold {holes} NaN of {len(part)}; no order is possible, mend them")
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


# --- reading


@dataclass(frozen=True)
class _Steps:
    """A curve, and at which of its thresholds all scores are surely equal."""

    curve: BinaryCurve
    tied: NDArray[np.bool_]


def curve_from_histogram(hist: Int64[np.ndarray, "2 bins"]) -> BinaryCurve:
    """The curve of the binned scores, one threshold for each bin in use: the lowest score that falls in it."""
    return _steps(hist, None).curve


def metrics_from_histogram(hist: Int64[np.ndarray, "2 bins"], fine: FineHistogram | None = None) -> HistogramMetrics:
    """AUPR, AUROC and FPR95 (rule "first") of the binned scores, with limits for the exact ones.

    The limits hold for every order and every tie of the scores within each bin that is not resolved; all are NaN
    without both kinds. Scores count as float32. fine: bins that a second pass over the same pixels resolved, see
    `critical_bins`; raises InputError where it saw others.
    """
    steps = _steps(hist, fine)
    if not steps.curve.defined:
        undefined = Bounded(float("nan"), float("nan"), float("nan"))
        return HistogramMetrics(undefined, undefined, undefined)
    return HistogramMetrics(_bounded_aupr(steps), _bounded_auroc(steps), _bounded_fpr(steps, 0.95))


def critical_bins(hist: Int64[np.ndarray, "2 bins"], most: int = 256) -> Int64[np.ndarray, " K"]:
    """The bins, rising, whose order leaves AUPR, AUROC and FPR95 most open: at most `most`, FPR95's own among them.

    Resolved, that one makes FPR95 exact. Without both kinds there is none.
    """
    steps = _steps(hist, None)
    curve = steps.curve
    if not curve.defined or most < 1:
        return np.zeros(0, np.int64)
    lower, upper = _aupr_limits(curve)
    open_ = (upper - lower) / curve.positives + 2 * _auroc_slack(curve)
    open_[_reached(curve, 0.95)] = np.inf
    falling = np.flatnonzero(hist.any(0))[::-1]
    widest = np.argsort(-open_, kind="stable")[:most]
    return np.sort(falling[widest[open_[widest] > 0]]).astype(np.int64)


def _steps(hist: NDArray[np.int64], fine: FineHistogram | None) -> _Steps:
    used = np.flatnonzero(hist.any(0))
    key, counts = used << FINE_BITS, hist[:, used]
    tied = np.zeros(len(used), np.bool_)
    if fine is not None:
        resolved = fine.counts.cpu().numpy()
        if not np.array_equal(resolved.sum(2), hist[:, fine.bins]):
            raise InputError("the second pass saw other pixels than the first; give both the same images")
        whole = ~np.isin(used, fine.bins)
        slot, low = np.nonzero(resolved.any(0))
        single = (fine.bins[slot] << FINE_BITS) + low
        key, counts = np.append(key[whole], single), np.append(counts[:, whole], resolved[:, slot, low], axis=1)
        tied = np.append(tied[whole], np.ones(len(single), np.bool_))
    order = np.argsort(key)[::-1]
    lowest = np.maximum(key[order].astype(np.uint32), ordered_key(np.array([-np.inf], np.float32)))
    falling = np.cumsum(counts[:, order], axis=1, dtype=np.int64)
    return _Steps(BinaryCurve(key_score(lowest).astype(np.float64), falling[1], falling[0]), tied[order])


def _bounded_aupr(steps: _Steps) -> Bounded:
    curve = steps.curve
    tp, fp = curve.true_positives, curve.false_positives
    exact = np.diff(tp, prepend=0) * (tp / (tp + fp))
    lower, upper = (np.where(steps.tied, exact, limit).sum() / curve.positives for limit in _aupr_limits(curve))
    value = curve_average_precision(curve)
    # Rounding must not put the value, which is one of the possible orders, outside.
    return Bounded(value, min(float(lower), value), max(float(upper), value))


def _aupr_limits(curve: BinaryCurve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Limits of the sum, over the positives of a bin, of the precision at their thresholds.

    With a positives and b negatives before the bin and p, n in it, the precision at the i-th of its positives is at
    least (a+i) / (a+i+b+n), all its negatives before, and at most (a+p) / (a+p+b), its positives alone and tied. The
    sum of the former is p - (b+n) Σ 1/(a+b+n+i), and each 1/x is at most the integral of 1/t over x ± 1/2.
    """
    tp, fp = curve.true_positives.astype(np.float64), curve.false_positives.astype(np.float64)
    p, before = np.diff(tp, prepend=0), fp - np.diff(fp, prepend=0)
    lower = p - fp * np.log1p(p / (tp - p + fp + 0.5))
    return lower, p * tp / np.maximum(tp + before, 1)


def _bounded_auroc(steps: _Steps) -> Bounded:
    """A bin's pairs of a positive and a negative count half in the value, not at all or wholly in the limits."""
    value, slack = curve_auroc(steps.curve), float(_auroc_slack(steps.curve)[~steps.tied].sum())
    return Bounded(value, max(value - slack, 0.0), min(value + slack, 1.0))


def _auroc_slack(curve: BinaryCurve) -> NDArray[np.float64]:
    p, n = np.diff(curve.true_positives, prepend=0), np.diff(curve.false_positives, prepend=0)
    return p.astype(np.float64) * n / 2 / curve.positives / curve.negatives


def _bounded_fpr(steps: _Steps, tpr: float) -> Bounded:
    """The exact threshold lies in the bin in which the binned one does: before or after its negatives."""
    curve, reached = steps.curve, _reached(steps.curve, tpr)
    below = curve.false_positives[reached - 1] if reached else 0
    value = float(curve.false_positives[reached] / curve.negatives)
    return Bounded(value, value if steps.tied[reached] else float(below / curve.negatives), value)


def _reached(curve: BinaryCurve, tpr: float) -> int:
    return int(np.argmax(curve.true_positives / curve.positives >= tpr))
