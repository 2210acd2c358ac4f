"""NPM, PLM and FT: label predictors on the closed set's frozen features, and on DMLNet's own network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from ignota.data.images import resize_label
from ignota.incremental.methods import Head, Shot, every_head, fine_tuned, pseudo_label_heads
from ignota.incremental.metric_methods import (
    MetricEncoding,
    MetricShot,
    at_size,
    composed_labels,
    latest_labels,
    metric_fine_tuned,
    metric_pseudo_label_heads,
    novel_prototype,
    npm_labels,
)
from ignota.perception.branch import METRIC_METHODS, MetricNetwork
from ignota.perception.scene import resize_mask
from ignota.structures import Encoding, Sample
from ignota.world.model import OpenWorldModel

HEAD_METHODS = ("ft_frozen", "plm_latest_frozen", "plm_all_frozen")


@dataclass(frozen=True)
class TrainedHeads:
    """What the named methods have learnt from the shots. known: C."""

    known: int
    fine_tuned: Head | None
    pseudo: tuple[Head, ...]

    def label_maps(self, encoding: Encoding, methods: Sequence[str]) -> dict[str, UInt8[np.ndarray, "H W"]]:
        """World ids on the working grid by those of `methods` that are trained here."""
        features, closed = _grids(encoding)
        size = (encoding.image.shape[0], encoding.image.shape[1])
        maps = {}
        for name in methods:
            if name == "ft_frozen" and self.fine_tuned is not None:
                found = self.fine_tuned.labels(features)
            elif name == "plm_latest_frozen":
                found = self.pseudo[-1].labels(features)
            elif name == "plm_all_frozen":
                found = every_head(self.pseudo, features, closed, self.known)
            else:
                continue
            maps[name] = resize_label(found.to(torch.uint8).cpu().numpy(), size)
        return maps


def train_heads(
    world: OpenWorldModel, support: Mapping[int, Sequence[Sample]], methods: Sequence[str], seed: int = 0
) -> TrainedHeads:
    """FT and PLM from shots; support: {class id of the data set: its shots}, in the order in which they are taught."""
    known = len(world.taxonomy)
    shots = [
        _shot(world, sample, class_id, owner)
        for owner, (class_id, samples) in enumerate(support.items())
        for sample in samples
    ]
    tuned = fine_tuned(shots, known, len(support), seed) if "ft_frozen" in methods else None
    wanted = {"plm_latest_frozen", "plm_all_frozen"} & set(methods)
    pseudo = pseudo_label_heads(shots, known, len(support), seed) if wanted else []
    return TrainedHeads(known, tuned, tuple(pseudo))


def _shot(world: OpenWorldModel, sample: Sample, class_id: int, owner: int) -> Shot:
    encoding = world.encode(sample.image)
    features, closed = _grids(encoding)
    mask = resize_mask(np.asarray(sample.label == class_id), (features.shape[1], features.shape[2]))
    return Shot(features, closed, torch.from_numpy(mask).to(features.device), owner)


def _grids(encoding: Encoding) -> tuple[Tensor, Tensor]:
    """The decoder's features, and the closed set's labels on their grid."""
    features = encoding.features["decoder"].float()
    logits = F.interpolate(encoding.logits[None], size=features.shape[-2:], mode="bilinear")[0]
    return features.clone(), logits.argmax(0)


@dataclass(frozen=True)
class MetricLesson:
    """What the named methods have learnt from the shots. prototypes: "K N" of NPM."""

    prototypes: Tensor
    heads: tuple[Head, ...]
    fine_tuned: Head | None

    @torch.inference_mode()
    def label_maps(self, encoding: MetricEncoding, methods: Sequence[str]) -> dict[str, UInt8[np.ndarray, "H W"]]:
        """World ids on the working grid by those of `methods` that run on this network."""
        found = {}
        for name in methods:
            if name in METRIC_METHODS:
                found[name] = np.asarray(self._labels(encoding, name).to(torch.uint8).cpu().numpy())
        return found

    def _labels(self, encoding: MetricEncoding, method: str) -> Tensor:
        if method == "npm":
            return npm_labels(encoding.full, self.prototypes)
        if method == "plm_all":
            return composed_labels(self.heads, encoding)
        if method == "plm_latest":
            return latest_labels(self.heads, encoding)
        assert self.fine_tuned is not None
        return latest_labels([self.fine_tuned], encoding)


def learn_metric_methods(
    network: MetricNetwork, support: Mapping[int, Sequence[Sample]], methods: Sequence[str], seed: int = 0
) -> MetricLesson:
    """NPM, PLM and FT from shots; support: {class id of the data set: its shots}, in the order in which they are
    taught. Raises InputError for a class without a pixel in its shots."""
    seen = [
        (owner, network.encode(sample.image), np.asarray(sample.label == class_id))
        for owner, (class_id, samples) in enumerate(support.items())
        for sample in samples
    ]
    novel, known = len(support), len(seen[0][1].embedding)
    prototypes = torch.zeros(0, known)
    if "npm" in methods:
        grouped = [[_metric_shot(e, mask) for owner, e, mask in seen if owner == k] for k in range(novel)]
        prototypes = torch.stack([novel_prototype(shots) for shots in grouped])
    shots = [_pixel_shot(*one) for one in seen] if set(methods) & {"plm_latest", "plm_all", "ft"} else []
    heads = metric_pseudo_label_heads(shots, known, novel, seed) if {"plm_latest", "plm_all"} & set(methods) else []
    tuned = metric_fine_tuned(shots, known, novel, seed) if "ft" in methods else None
    return MetricLesson(prototypes, tuple(heads), tuned)


def _metric_shot(encoding: MetricEncoding, mask: np.ndarray) -> MetricShot:
    return MetricShot(encoding.embedding, torch.from_numpy(mask).to(encoding.embedding.device))


def _pixel_shot(owner: int, encoding: MetricEncoding, mask: np.ndarray) -> Shot:
    """A shot on the decoder's grid."""
    grid = (encoding.features.shape[1], encoding.features.shape[2])
    small = torch.from_numpy(resize_mask(mask, grid)).to(encoding.features.device)
    return Shot(encoding.features.clone(), at_size(encoding.embedding, grid).argmax(0), small, owner)
