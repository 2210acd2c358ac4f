"""Slow references: what research code does, one loop where one pass would do. They are what we are measured against.

Each is of our own writing and gives what its counterpart in the package gives; `tests/benchmarks` holds them to it.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor

from ignota.structures import RegionSet


def pool_by_multiplication(features: Float[Tensor, "F h w"], regions: RegionSet) -> Float[Tensor, "R F"]:
    """Mean feature of each region: a multiplication of the whole tensor by its mask for every region."""
    ids = torch.from_numpy(regions.ids).to(features.device)
    rows = []
    for region in range(1, regions.count + 1):
        mask = (ids == region).to(features.dtype)
        rows.append((features * mask).sum((1, 2)) / mask.sum())
    return torch.stack(rows)


def pool_by_index_add(features: Float[Tensor, "F h w"], regions: RegionSet) -> Float[Tensor, "R F"]:
    """The same by one `index_add_` over cells."""
    ids = torch.from_numpy(regions.ids).to(features.device, torch.int64).flatten()
    rows = features.permute(1, 2, 0).reshape(-1, len(features))
    sums = torch.zeros(regions.count + 1, len(features), device=features.device).index_add_(0, ids, rows)
    return sums[1:] / torch.bincount(ids, minlength=regions.count + 1)[1:, None]


def components_by_compare(edges: Bool[np.ndarray, "H W"], smallest: float) -> RegionSet:
    """Connected pixels between edges: the whole image is compared with the number of every component."""
    number, ids = cv2.connectedComponents((~edges).astype(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    kept, count = np.zeros(ids.shape, np.int32), 0
    for component in range(1, number):
        mask = ids == component
        if mask.sum() >= smallest:
            count += 1
            kept[mask] = count
    return RegionSet(kept, count)


def uncertainty_by_region(
    max_logit: Float[Tensor, "H W"], similarity: Float[Tensor, " R"], regions: RegionSet, outside: float
) -> Float[Tensor, "H W"]:
    """Q of Eq. 5 as printed, painted region by region."""
    ids = torch.from_numpy(regions.ids).to(max_logit.device)
    painted = torch.full_like(max_logit, outside)
    for region in range(1, regions.count + 1):
        painted = torch.where(ids == region, similarity[region - 1], painted)
    return -max_logit * painted


def overlap_by_pairs(channels: Float[Tensor, "B M H W"]) -> Float[Tensor, ""]:
    """Eq. 7 as printed: a Dice coefficient of two maps for every pair of channels and every image."""
    total = channels.new_zeros(())
    for image in channels:
        for i in range(len(image)):
            for j in range(i + 1, len(image)):
                p, q = image[i], image[j]
                total = total + (2 * (p * q).sum() + 1) / (p.sum() + q.sum() + 1)
    return total / len(channels)


def split_by_channel(channels: Float[Tensor, "B M H W"], known: int, eta: float = 0.02) -> Float[Tensor, ""]:
    """Eq. 8 as printed, channel by channel."""
    total = channels.new_zeros(())
    for image in channels:
        for channel in image[known:]:
            total = total - (eta * channel.sum()).clamp_min(1).log()
    return total / len(channels)


def reconstruction_by_copies(channels: Float[Tensor, "B M H W"], image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, ""]:
    """Eq. 9 as printed, from the image times every channel, "B M 3 H W"."""
    copies = channels[:, :, None] * image[:, None]
    return (copies.sum(1) - image).square().sum() / len(image)


def losses_by_loops(
    channels: Float[Tensor, "B M H W"], image: Float[Tensor, "B 3 H W"], known: int
) -> Float[Tensor, ""]:
    """0.1 × Eq. 7 + 0.1 × Eq. 8 + 0.01 × Eq. 9."""
    return (
        0.1 * overlap_by_pairs(channels)
        + 0.1 * split_by_channel(channels, known)
        + 0.01 * reconstruction_by_copies(channels, image)
    )


def select_by_loops(
    channels: Float[Tensor, "N K H W"], masks: Bool[Tensor, "N H W"], kappa: float
) -> Bool[Tensor, " K"]:
    """Eq. 13 and 14, channel by channel and exemplar by exemplar."""
    selected = torch.zeros(channels.shape[1], dtype=torch.bool, device=channels.device)
    for exemplar, mask in zip(channels, masks, strict=True):
        for j, channel in enumerate(exemplar):
            if float((channel >= 0.5).sum()) / float(mask.sum()) > kappa:
                selected[j] = True
    return selected


def confusion_by_rows(
    target: Integer[Tensor, "H W"], prediction: Integer[Tensor, "H W"], classes: int
) -> Int64[np.ndarray, "C C"]:
    """A confusion matrix that is updated with every row of the image."""
    matrix = np.zeros((classes, classes), np.int64)
    for t, p in zip(target.numpy(), prediction.numpy(), strict=True):
        seen = (t >= 0) & (t < classes)
        code = classes * t[seen].astype(int) + p[seen]
        matrix += np.bincount(code, minlength=classes**2).reshape(classes, classes)
    return matrix


def metrics_by_three_sorts(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """AUPR, AUROC and FPR95, each by scikit-learn and so by a sort of its own."""
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    aupr, auroc = average_precision_score(labels, scores), roc_auc_score(labels, scores)
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    return {"aupr": float(aupr), "auroc": float(auroc), "fpr95": float(fpr[np.argmax(tpr >= 0.95)])}


def novel_labels_by_region(
    logits: Float[Tensor, "C h w"],
    union: Bool[Tensor, "h w"],
    features: Float[Tensor, "F h w"],
    embed: Any,
    prototypes: Float[Tensor, "K D"],
    theta: float,
    smallest: float,
    size: tuple[int, int],
) -> Integer[Tensor, "H W"]:
    """The incremental stage region by region: softmax, features and masks at full resolution, a product for each."""
    classes = len(logits)
    probability = F.interpolate(logits[None], size=size, mode="bilinear")[0].softmax(0)
    labels = probability.argmax(0)
    number, ids = cv2.connectedComponents(union.numpy().astype(np.uint8), connectivity=8)
    grid = torch.from_numpy(ids)
    for region in range(1, number):
        mask = (grid == region).to(features.dtype)
        if mask.sum() < smallest * mask.numel():
            continue
        pooled = (features * mask).sum((1, 2)) / mask.sum()
        cosine = F.cosine_similarity(embed(pooled[None]), prototypes)
        best = int(cosine.argmax())
        if cosine[best] > theta:
            full = F.interpolate(mask[None, None], size=size, mode="nearest")[0, 0] > 0.5
            labels = torch.where(full, classes + best, labels)
    return labels
