"""Stage 1: the closed-set segmenter, Equation 1."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ignota.models.segmenter import ClosedSetSegmenter, resize_logits
from ignota.taxonomy import IGNORE_INDEX
from ignota.training.configuration import ClosedSetConfig
from ignota.training.distributed import total
from ignota.training.replicas import freeze_statistics, shard
from ignota.training.stream import STAGES
from ignota.training.training import Stage, normalise_images


def segmentation_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """L_seg, Equation 1: cross entropy over labelled pixels, logits "B C h w" resized to labels "B H W".

    The batch is that of all processes together. One without a labelled pixel gives 0 with a gradient of 0, where the
    plain mean would be NaN.
    """
    logits = resize_logits(logits.float(), (labels.shape[-2], labels.shape[-1]))
    entropy = F.cross_entropy(logits, labels.long(), ignore_index=IGNORE_INDEX, reduction="sum")
    return total(entropy) / total((labels != IGNORE_INDEX).sum()).clamp(min=1)


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """1 - Dice: 1/C Σ_c [1 - (Σ p_c t_c + 1) / (½ Σ p_c + ½ Σ t_c + 1)], p the softmax, Σ over all labelled pixels.

    After Milletari et al. 2016, so a pole counts as much as the road; a class without a labelled pixel counts 0.
    logits "B C h w" are resized to labels "B H W"; the sums are those of all processes together.
    """
    logits = resize_logits(logits.float(), (labels.shape[-2], labels.shape[-1]))
    labelled = (labels != IGNORE_INDEX).flatten(1)[:, None]
    share = logits.log_softmax(1).exp().flatten(2) * labelled
    classes = torch.arange(logits.shape[1], device=labels.device)[:, None]
    true = (labels.flatten(1)[:, None] == classes).to(share.dtype)  # void is no class
    size_share, size_true = total(share.sum((0, 2))), total(true.sum((0, 2)))
    unlike = total(torch.linalg.vector_norm(share - true, ord=1, dim=(0, 2)))
    both = (size_share + size_true - unlike) / 2
    missed, invented = size_true - both, size_share - both
    score = (both + 1) / (both + 0.5 * invented + 0.5 * missed + 1)
    return ((1 - score) * (size_true > 0)).mean()


class ClosedSetStage(Stage):
    """Trains a segmenter with the encoder at its own learning rate."""

    shardable = True
    idle_weights = True  # of some backbones: layers whose output nobody reads

    def __init__(self, segmenter: ClosedSetSegmenter, config: ClosedSetConfig, seed: int) -> None:
        super().__init__(seed, STAGES["closed_set"], config.steps, config.warmup, config.power)
        self.segmenter, self.config = segmenter, config

    def configure_model(self) -> None:
        if self.device_mesh is not None:  # it is there where `parallel_options` chose FSDP
            shard(self.segmenter, self.device_mesh["data_parallel"])

    def on_train_start(self) -> None:
        super().on_train_start()
        if self.config.frozen_norm:
            freeze_statistics(self.segmenter)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> dict[str, Any]:
        images, labels = batch
        preprocessing = self.segmenter.preprocessing
        output = self.segmenter(normalise_images(images, preprocessing.mean, preprocessing.std))
        logits = resize_logits(output.logits.float(), (labels.shape[-2], labels.shape[-1]))  # once for both losses
        loss = segmentation_loss(logits, labels)
        if self.config.dice:
            loss = loss + self.config.dice * dice_loss(logits, labels)
        return {"loss": loss}

    def parameter_groups(self) -> list[dict[str, Any]]:
        shared = {"momentum": self.config.momentum, "weight_decay": self.config.weight_decay}
        return [
            {"params": self.segmenter.encoder_parameters(), "lr": self.config.encoder_lr, **shared},
            {"params": self.segmenter.head_parameters(), "lr": self.config.head_lr, **shared},
        ]
