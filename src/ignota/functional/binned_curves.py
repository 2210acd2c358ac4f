"""AUPR, AUROC and FPR95 of any number of pixels: a histogram that merges by addition.

Scores are binned by the top 20 bits of a key that orders as they do. Labels are 1 (or True) for the anomaly and 0 for
the rest.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Int64, Num
from numpy.typing import NDArray
from torch import Tensor

from ignota.functional.curves import BinaryCurve, Labels, Scores
from ignota.functional.numbers import BIN_BITS, BINS, FINE_BITS, as_single, key_score, ordered_key
from ignota.structures import InputError

_BLOCK = 1 << 18
"""Pixels that are counted at a time: what is made of them stays in the cache."""

Pixels = Scores | Num[Tensor, "*S"]
Marks = Labels | Num[Tensor, "*S"] | Bool[Tensor, "*S"]


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
