"""Figures of many pixels: the confusion matrix, and AUPR, AUROC and FPR95 by streaming; `make bench`."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from benchmarks.memory import peak
from benchmarks.racing import OURS, Bar
from benchmarks.references import confusion_by_rows, metrics_by_three_sorts
from sklearn.metrics import confusion_matrix as sklearn_confusion
from torchmetrics.functional.classification import (
    binary_auroc,
    binary_average_precision,
    multiclass_confusion_matrix,
)

from ignota.functional.confusion import confusion_matrix
from ignota.functional.curves import add_scores, curve_from_histogram, curve_metrics, empty_histogram
from ignota.synthetic.scene import draw_scene

CLASSES = 19
READ = "one read of both maps"


def label_maps(count: int, device: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Drawn streets and a prediction that errs in patches, int64, 2048×1024."""
    pairs = []
    for seed in range(count):
        label = torch.from_numpy(draw_scene(seed, 1024, 2048, 0).label.astype(np.int64))
        patches = torch.rand(1, 1, 64, 128, generator=torch.Generator().manual_seed(seed))
        wrong = torch.nn.functional.interpolate(patches, size=label.shape, mode="bilinear")[0, 0] > 0.7
        guess = torch.where(label == 255, 7, label)
        pairs.append((label.to(device), torch.where(wrong, (guess + 1) % CLASSES, guess).to(device)))
    return pairs


def test_confusion_matrix(race, device: str) -> None:
    pairs = label_maps(6, device)
    for target, prediction in pairs[:2]:
        expected = confusion_by_rows(target.cpu(), prediction.cpu(), CLASSES)
        np.testing.assert_array_equal(confusion_matrix(target, prediction, CLASSES)[:, :-1].cpu().numpy(), expected)
    # Always another image, so that none is in the cache.
    walk = {name: itertools.cycle(pairs) for name in ("ours", "read", "rows", "sklearn", "torchmetrics", "bincount")}

    def by_sklearn() -> np.ndarray:
        target, prediction = (x.cpu().numpy().ravel() for x in next(walk["sklearn"]))
        return sklearn_confusion(target, prediction, labels=range(CLASSES))

    def by_torchmetrics() -> torch.Tensor:
        return multiclass_confusion_matrix(*next(walk["torchmetrics"])[::-1], CLASSES, ignore_index=255)

    def by_bincount() -> torch.Tensor:
        target, prediction = next(walk["bincount"])
        seen = target != 255
        return torch.bincount(target[seen] * CLASSES + prediction[seen], minlength=CLASSES**2)

    race(
        "confusion",
        "confusion matrix of an image of 2048×1024, 19 classes, int64 (500 take 500 times as long)",
        {
            OURS: lambda: confusion_matrix(*next(walk["ours"]), CLASSES),
            READ: lambda: [x.sum() for x in next(walk["read"])],
            "row by row": lambda: confusion_by_rows(*(x.cpu() for x in next(walk["rows"])), CLASSES),
            "one bincount": by_bincount,
            "scikit-learn": by_sklearn,
            "torchmetrics": by_torchmetrics,
        },
        [Bar("row by row", OURS, least=10), Bar(OURS, READ, most=4)],
        device,
        READ,
        rounds=24,
    )


def streamed(scores: np.ndarray, labels: np.ndarray, device: str) -> dict[str, float]:
    """All three figures, image by image of a million pixels."""
    counts = empty_histogram(device)
    for start in range(0, len(scores), 1 << 20):
        add_scores(counts, scores[start : start + (1 << 20)], labels[start : start + (1 << 20)])
    return curve_metrics(curve_from_histogram(counts.cpu().numpy()))


def test_curves(race, device: str, request) -> None:
    pixels = 10**8 if request.config.getoption("--full") else 3 * 10**7
    rng = np.random.default_rng(0)
    labels = rng.random(pixels, np.float32) < 0.05
    scores = rng.standard_normal(pixels, np.float32)
    scores += 2 * labels.astype(np.float32)
    found = streamed(scores, labels, device)
    exact = metrics_by_three_sorts(scores, labels)
    errors = {f"error of {name}": abs(found[name] - value) for name, value in exact.items()}
    few = 10**6
    references = {
        "scikit-learn": lambda: metrics_by_three_sorts(scores, labels),
        "torchmetrics, AUPR and AUROC of a million of them": lambda: _torchmetrics(scores[:few], labels[:few]),
        "pytorch-ood, of a million of them": lambda: _pytorch_ood(scores[:few], labels[:few]),
    }
    race(
        "curves",
        f"AUPR, AUROC and FPR95 of {pixels:,} pixels",
        {
            OURS: lambda: streamed(scores, labels, device),
            "reading scores and labels once": lambda: (scores.max(), labels.any(), labels.all()),
            **references,
        },
        [Bar("scikit-learn", OURS, least=5)],
        device,
        "reading scores and labels once",
        rounds=3,
        notes={"memory in MB": peak("curves"), **errors},
    )


def _torchmetrics(scores: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    values, truth = torch.from_numpy(scores), torch.from_numpy(labels).long()
    return binary_average_precision(values, truth), binary_auroc(values, truth)


def _pytorch_ood(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    from pytorch_ood.metrics import OODMetrics

    metrics = OODMetrics()
    metrics.update(torch.from_numpy(scores), -torch.from_numpy(labels).long())
    return metrics.compute()
