"""NPM, PLM and FT on DMLNet's own network: learning from shots, then labelling an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ignota.incremental.methods import Head, Shot
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
from ignota.perception.metric_network import METRIC_METHODS, MetricNetwork
from ignota.perception.scene import resize_mask
from ignota.structures import Sample


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
    shots = [_shot(*one) for one in seen] if set(methods) & {"plm_latest", "plm_all", "ft"} else []
    heads = metric_pseudo_label_heads(shots, known, novel, seed) if {"plm_latest", "plm_all"} & set(methods) else []
    tuned = metric_fine_tuned(shots, known, novel, seed) if "ft" in methods else None
    return MetricLesson(prototypes, tuple(heads), tuned)


def _metric_shot(encoding: MetricEncoding, mask: np.ndarray) -> MetricShot:
    return MetricShot(encoding.embedding, torch.from_numpy(mask).to(encoding.embedding.device))


def _shot(owner: int, encoding: MetricEncoding, mask: np.ndarray) -> Shot:
    """A shot on the decoder's grid."""
    grid = (encoding.features.shape[1], encoding.features.shape[2])
    small = torch.from_numpy(resize_mask(mask, grid)).to(encoding.features.device)
    return Shot(encoding.features.clone(), at_size(encoding.embedding, grid).argmax(0), small, owner)
