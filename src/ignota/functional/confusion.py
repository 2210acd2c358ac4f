"""The confusion matrix and what is read from it: IoU, harmonic mean, stolen pixels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64, Integer
from torch import Tensor

from ignota.structures import InputError
from ignota.taxonomy import IGNORE_INDEX


def confusion_matrix(
    target: Integer[Tensor, "*S"], prediction: Integer[Tensor, "*S"], num_classes: int, ignore: int = IGNORE_INDEX
) -> Int64[Tensor, "C C+1"]:
    """Pixels by true class (row) and predicted class (column), in one count; matrices of parts of a set add up.

    Pixels whose target is `ignore` do not count. The last column, "other", counts predictions that are no class, as
    254 for unknown: they stay errors of the true class. Raises InputError for a target that is neither.
    """
    # Two more rows, for labels that are no class and for void, keep all checks inside the one count.
    bad, void = num_classes, num_classes + 1
    truth, guess = (x if x.dtype == torch.int64 else x.to(torch.int32) for x in (target, prediction))
    truth = truth.masked_fill(truth < 0, bad).clamp_max_(bad).masked_fill_(target == ignore, void)
    guess = guess.masked_fill(guess < 0, num_classes).clamp_max_(num_classes)
    code = truth.mul_(num_classes + 1).add_(guess).flatten()
    counts = torch.bincount(code, minlength=(num_classes + 2) * (num_classes + 1)).view(num_classes + 2, -1)
    if counts[bad].any():
        worst = int(target[(target != ignore) & ((target < 0) | (target >= num_classes))].max())
        raise InputError(f"labels run to {worst}, the classes are 0..{num_classes - 1}; map all others to {ignore}")
    return counts[:num_classes]


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
