"""The confusion matrix and its figures: IoU, harmonic mean, pixels taken from known classes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor

from ignota.structures import InputError
from ignota.taxonomy import IGNORE_INDEX

_BLOCK = 1 << 18
"""Pixels that are counted at a time: they stay in the cache from the first pass over them to the last."""
_CODES = 1 << 16


def confusion_matrix(
    target: Integer[Tensor, "*S"], prediction: Integer[Tensor, "*S"], num_classes: int, ignore: int = IGNORE_INDEX
) -> Int64[Tensor, "C C+1"]:
    """Pixels by true class (row) and predicted class (column), in one count; matrices of parts of a set add up.

    Pixels whose target is `ignore` do not count. The last column, "other", counts predictions that are no class, as
    254 for unknown: they stay errors of the true class. Raises InputError for a target that is neither.
    """
    # Two more rows, for labels that are no class and for void, keep all checks inside the one count.
    bad = num_classes
    counts = None
    if _fits_blocks(target, prediction, num_classes, ignore):
        counts = _counted_blockwise(target, prediction, num_classes)
    if counts is None:
        counts = _counted_at_once(target, prediction, num_classes, ignore)
    if counts[bad].any():
        worst = int(target[(target != ignore) & ((target < 0) | (target >= num_classes))].max())
        raise InputError(f"labels run to {worst}, the classes are 0..{num_classes - 1}; map all others to {ignore}")
    return counts[:num_classes]


def _counted_at_once(target: Tensor, prediction: Tensor, classes: int, ignore: int) -> Int64[Tensor, "rows J"]:
    """For any device, label and number of classes."""
    bad, void = classes, classes + 1
    truth, guess = (x if x.dtype == torch.int64 else x.to(torch.int32) for x in (target, prediction))
    truth = truth.masked_fill(truth < 0, bad).clamp_max_(bad).masked_fill_(target == ignore, void)
    guess = guess.masked_fill(guess < 0, classes).clamp_max_(classes)
    code = truth.mul_(classes + 1).add_(guess).flatten()
    return torch.bincount(code, minlength=(classes + 2) * (classes + 1)).view(classes + 2, -1)


def _fits_blocks(target: Tensor, prediction: Tensor, classes: int, ignore: int) -> bool:
    """Whether `_counted_blockwise` may be asked."""
    return (
        target.device.type == prediction.device.type == "cpu"
        and ignore == 255
        and (classes + 2) * (classes + 1) <= _CODES
        and target.numel() > 0
    )


def _counted_blockwise(target: Tensor, prediction: Tensor, classes: int) -> Int64[Tensor, "rows J"] | None:
    """The same for labels in 0..255, void being 255, on a CPU; None where a label is none of these.

    Each block is brought to 16 bits and counted by OpenCV, which is five times faster than a bincount of int64.
    Neighbours are counted in tables of their own: equal ones, as they mostly are, would wait for one another.
    """
    size = (classes + 2) * (classes + 1)
    tables = min(8, _CODES // size)
    truth, guess = target.flatten(), prediction.flatten()
    block = min(_BLOCK, len(truth))
    table = (torch.arange(block) % tables * size).to(torch.int16)  # beyond 2^15 it wraps, and is unsigned to OpenCV
    room_t, room_p = torch.empty_like(table), torch.empty_like(table)
    counts = np.zeros(tables * size, np.int64)
    for start in range(0, len(truth), block):
        t, p = truth[start : start + block], guess[start : start + block]
        if any(x.dtype != torch.uint8 and int(np.bitwise_or.reduce(x.numpy())) >> 8 for x in (t, p)):
            return None
        n = len(t)
        row = room_t[:n].copy_(t).add_(1).bitwise_and_(255).clamp_max_(classes + 1)  # void is row 0
        code = row.mul_(classes + 1).add_(room_p[:n].copy_(p).clamp_max_(classes)).add_(table[:n])
        counted = cv2.calcHist([code.numpy().view(np.uint16)[None]], [0], None, [tables * size], [0, tables * size])
        counts += np.asarray(counted).ravel().astype(np.int64)
    return torch.from_numpy(counts.reshape(tables, classes + 2, classes + 1).sum(0)).roll(-1, 0)


def iou(confusion: Int64[Tensor, "C J"]) -> Float[Tensor, " C"]:
    """Intersection over union of each class, TP / (TP + FP + FN), in 0..1, float64.

    NaN for a class that is neither in the truth nor predicted. confusion: "C C+1", or "C C" without "other".
    """
    classes = len(confusion)
    hits = confusion[:, :classes].diagonal()
    union = confusion.sum(1) + confusion[:, :classes].sum(0) - hits
    return hits.double() / union  # 0 / 0 is the NaN


def mean_iou(confusion: Int64[Tensor, "C J"], classes: Sequence[int] | None = None) -> float:
    """Mean IoU over `classes` (None: all) without those absent from truth and prediction; NaN if all are absent."""
    values = iou(confusion)
    return float((values if classes is None else values[list(classes)]).nanmean())


def harmonic_mean(old: float, novel: float) -> float:
    """2·old·novel / (old + novel), the paper's mIoU_harm; 0 when both are 0, NaN when either is."""
    return 2 * old * novel / (old + novel) if old + novel != 0 else 0.0


def stolen_pixels(
    confusion: Int64[Tensor, "C J"], known: Sequence[int], novel: Sequence[int]
) -> Int64[Tensor, "K known"]:
    """Pixels of each known class that each novel class took: row = novel class, column = known class."""
    return confusion[list(known)][:, list(novel)].T
