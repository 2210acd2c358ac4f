"""Trains DMLNet's own network: a segmenter whose outputs are embeddings with one-hot centres.

Cen, Yun, Cai, Wang and Liu, "Deep Metric Learning for Open World Semantic Segmentation", ICCV 2021.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor
from torch.utils.data import DataLoader

from ignota.functional.one_hot_metric import SCALE, variance_sum
from ignota.models.segmenter import ClosedSetSegmenter, resize_logits
from ignota.models.smp_segmenter import to_channels_last
from ignota.training.closed_set import ClosedSetStage, build_segmenter, crop_loader, segmentation_loss
from ignota.training.configuration import ClosedSetConfig, ExperimentConfig
from ignota.training.distributed import total
from ignota.training.replicas import replica
from ignota.training.stage_run import Pace, StageRun
from ignota.training.stream import STAGES, Samples
from ignota.training.training import Stage, normalise_images


def metric_loss(f: Float[Tensor, "B C h w"], labels: Integer[Tensor, "B H W"], variance: float) -> Float[Tensor, ""]:
    """DMLNet's loss: cross entropy of softmax(6 f) over labelled pixels + variance · Σ ‖f - m_y‖² / all pixels.

    f "B C h w" is resized to labels "B H W", 255 void. The batch is that of all processes together.
    """
    f = resize_logits(f.float(), (labels.shape[-2], labels.shape[-1]))
    loss = segmentation_loss(2 * SCALE * f, labels)
    if variance:
        pixels = torch.tensor(labels.numel(), device=f.device)
        loss = loss + variance * total(variance_sum(f, labels)) / total(pixels)
    return loss


class MetricNetworkStage(ClosedSetStage):
    """The closed set's training with DMLNet's loss."""

    def __init__(self, segmenter: ClosedSetSegmenter, config: ClosedSetConfig, variance: float, seed: int) -> None:
        Stage.__init__(self, seed, STAGES["metric_network"], config.steps, config.warmup, config.power)
        self.segmenter, self.config, self.variance = segmenter, config, variance

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> dict[str, Any]:
        images, labels = batch
        preprocessing = self.segmenter.preprocessing
        output = self.segmenter(normalise_images(images, preprocessing.mean, preprocessing.std))
        return {"loss": metric_loss(output.logits, labels, self.variance)}


def starting_network(start: ClosedSetSegmenter) -> ClosedSetSegmenter:
    """A copy of a closed set whose outputs are embeddings f.

    Its last layer is divided by 6, so that softmax(6 f) starts as the closed set's softmax(U). A segmenter that does
    not name its last layers starts with f = U.
    """
    network = copy.deepcopy(start).train().requires_grad_(True)
    with torch.no_grad():
        for layer in network.output_layers():
            for parameter in layer.parameters():
                parameter.div_(2 * SCALE)
    return network


def train_metric_network(
    config: ExperimentConfig, samples: Samples, run: StageRun, start: ClosedSetSegmenter | None = None
) -> ClosedSetSegmenter:
    """DMLNet's network for `config` on `samples`, in evaluation mode: its logits "B N h w" are embeddings f.

    start: the closed set that is fine-tuned; it stays as it is. None trains from ImageNet weights.
    """
    split, stage = config.data.class_split, metric_stage(config, start is not None)
    network = (
        build_segmenter(config.segmenter, len(split.known), run.seed) if start is None else (starting_network(start))
    )
    network = to_channels_last(network)

    def begin() -> tuple[MetricNetworkStage, DataLoader]:
        loader = crop_loader(stage, samples, split, run.seed, "metric_network", run.device)
        learner = replica(network, stage.batch, run.device)
        return MetricNetworkStage(learner, stage, config.metric_network.variance, run.seed), loader

    pace = Pace("DMLNet's network", "closed_set", stage.steps, stage.batch, stage.checkpoint_every)
    return run.trained(
        network, pace, begin, {"fine_tuned": start is not None, "configuration": dataclasses.asdict(stage)}
    )


def metric_stage(config: ExperimentConfig, fine_tune: bool) -> ClosedSetConfig:
    """The closed set's training as DMLNet's network takes it: shorter and slower where it is fine-tuned."""
    stage, own = config.closed_set, config.metric_network
    if not fine_tune:
        return stage
    return dataclasses.replace(
        stage, steps=own.steps, encoder_lr=stage.encoder_lr * own.rate, head_lr=stage.head_lr * own.rate
    )
