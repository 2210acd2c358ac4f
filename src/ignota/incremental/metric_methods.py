"""NPM, PLM and FT on DMLNet's own metric network, as pure functions of its output.

Cen, Yun, Cai, Wang and Liu, "Deep Metric Learning for Open World Semantic Segmentation", ICCV 2021. N: the known
classes. The network gives an embedding f with one component a class, at full resolution by bilinear interpolation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from ignota.functional.one_hot_metric import SCALE, metric_logits, variance_loss
from ignota.incremental.methods import Head, Shot, pseudo_label_heads, trained_head
from ignota.structures import InputError
from ignota.taxonomy import IGNORE_INDEX

VARIANCE = 0.01
"""The weight of the variance loss, as released."""
THRESHOLD = -1.5
"""NPM assigns a novel class where its score is larger, as released."""
LARGE = 0.05
"""A shot of NPM should show its class on a larger share of the image, as released."""


@dataclass(frozen=True)
class MetricEncoding:
    """What DMLNet's network gives for one image: the embedding f "N h w", the decoder's features "F h w", and the size
    (H, W) of the working image."""

    embedding: Float[Tensor, "N h w"]
    features: Float[Tensor, "F fh fw"]
    size: tuple[int, int]

    @cached_property
    def full(self) -> Float[Tensor, "N H W"]:
        """f at full resolution, that of the working image."""
        return at_size(self.embedding, self.size)

    @property
    def known(self) -> UInt8[np.ndarray, "H W"]:
        """The known class with the nearest centre: arg-max of f."""
        return np.asarray(self.full.argmax(0).to(torch.uint8).cpu().numpy())

    @property
    def logits(self) -> Float[Tensor, "N H W"]:
        """score_c = -‖f - 3 e_c‖² at full resolution."""
        return metric_logits(self.full, dim=0)


def at_size(grid: Float[Tensor, "N h w"], size: tuple[int, int]) -> Float[Tensor, "N H W"]:
    """A grid at full resolution, bilinear."""
    return grid if grid.shape[1:] == torch.Size(size) else F.interpolate(grid[None], size=size, mode="bilinear")[0]


# --- NPM


@dataclass(frozen=True)
class MetricShot:
    """An exemplar of NPM: f of its image "N h w", and the mask "H W" of its class at the label's own size."""

    embedding: Float[Tensor, "N h w"]
    mask: Bool[Tensor, "H W"]


def novel_prototype(shots: Sequence[MetricShot]) -> Float[Tensor, " N"]:
    """The prototype of a novel class: mean of f at full resolution over the mask, then the mean over shots.

    Only shots whose mask covers more than 5 % of the image count, or all where none does. Raises InputError where no
    mask has a pixel.
    """
    seen = [shot for shot in shots if shot.mask.any()]
    if not seen:
        raise InputError("no pixel of the novel class in its shots: NPM has no prototype")
    large = [shot for shot in seen if shot.mask.float().mean() > LARGE] or seen
    return torch.stack([_mean_embedding(shot) for shot in large]).mean(0)


def _mean_embedding(shot: MetricShot) -> Float[Tensor, " N"]:
    size = (shot.mask.shape[0], shot.mask.shape[1])
    return at_size(shot.embedding, size)[:, shot.mask].mean(1)


def novel_scores(embedding: Float[Tensor, "N h w"], prototypes: Float[Tensor, "K N"]) -> Float[Tensor, "K h w"]:
    """-‖f - p‖² of each pixel to each novel prototype."""
    vectors = embedding.flatten(1).T
    return (
        -torch.cdist(vectors, prototypes, compute_mode="donot_use_mm_for_euclid_dist")
        .square()
        .T.reshape(len(prototypes), *embedding.shape[1:])
    )


def npm_labels(embedding: Float[Tensor, "N H W"], prototypes: Float[Tensor, "K N"]) -> Int[Tensor, "H W"]:
    """NPM: the nearest novel class (N + k) where -‖f - p‖² > -1.5, else the known class with the largest score.

    With one novel class its score must also be above the best known one; with several the released code does not ask.
    """
    known, closed = metric_logits(embedding, dim=0).max(0)
    if len(prototypes) == 0:
        return closed
    best, winner = novel_scores(embedding, prototypes).max(0)
    novel = best > THRESHOLD
    if len(prototypes) == 1:
        novel &= best > known
    return torch.where(novel, winner + len(embedding), closed)


# --- PLM and FT


def metric_head_loss(raw: Float[Tensor, "P C"], label: Int[Tensor, " P"]) -> Float[Tensor, ""]:
    """Cross entropy of softmax(6 f) plus 0.01 of the variance loss; raw is 6 f, so that the step size of a plain label
    predictor fits."""
    return F.cross_entropy(raw, label) + VARIANCE * variance_loss(raw / (2 * SCALE), label)


def metric_pseudo_label_heads(shots: Sequence[Shot], known: int, novel: int, seed: int = 0) -> list[Head]:
    """PLM: for the t-th novel class a head of N + t outputs with centres of its own, see `pseudo_label_heads`.

    Network and base head stay as they are. A head is one 1×1 convolution on the decoder's features, trained on their
    grid. Its outputs are 6 f: the centres are at 3 e_c in f.
    """
    return pseudo_label_heads(shots, known, novel, seed, metric_head_loss)


def metric_fine_tuned(shots: Sequence[Shot], known: int, novel: int, seed: int = 0) -> Head:
    """FT: the last of PLM's heads, trained without pseudo labels: on pixels of its own class alone, as all others are
    void. It says that class almost everywhere: what came before is forgotten."""
    own = [shot for shot in shots if shot.owner == novel - 1]
    targets = [torch.where(shot.mask, known + shot.owner, IGNORE_INDEX) for shot in own]
    return trained_head([shot.features for shot in own], targets, known + novel, seed + novel - 1, metric_head_loss)


def latest_labels(heads: Sequence[Head], encoding: MetricEncoding) -> Int[Tensor, "H W"]:
    """PLM latest, and FT: arg max of the last head at full resolution."""
    return at_size(heads[-1].outputs(encoding.features), encoding.size).argmax(0)


def composed_labels(heads: Sequence[Head], encoding: MetricEncoding) -> Int[Tensor, "H W"]:
    """PLM all: the base head's labels, overwritten where head t says its own class, later heads over earlier ones."""
    found = encoding.full.argmax(0)
    for t in range(len(heads)):
        own = len(encoding.embedding) + t
        found = torch.where(latest_labels(heads[: t + 1], encoding) == own, own, found)
    return found
