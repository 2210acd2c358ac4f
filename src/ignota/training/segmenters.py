"""Builds and trains whole segmenters: the closed set of stage 1 (Equation 1), and DMLNet's own network.

DMLNet: Cen, Yun, Cai, Wang and Liu, "Deep Metric Learning for Open World Semantic Segmentation", ICCV 2021.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from ignota.data.transforms import Augmentation
from ignota.functional.one_hot_metric import SCALE, variance_sum
from ignota.models.segmenter import ClosedSetSegmenter, resize_logits
from ignota.models.smp_segmenter import SmpSegmenter, SmpSpec, to_channels_last
from ignota.models.weights import imagenet_preprocessing
from ignota.taxonomy import IGNORE_INDEX, ClassSplit
from ignota.training.configuration import ClosedSetConfig, ExperimentConfig, SegmenterConfig
from ignota.training.distributed import group, loader_processes, part, total
from ignota.training.replicas import freeze_statistics, replica, shard
from ignota.training.stage_run import Pace, StageRun
from ignota.training.stream import LIMIT, STAGES, AugmentedStream, Kept, Samples, StepSampler, stream_loader
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


def build_segmenter(config: SegmenterConfig, num_classes: int, seed: int, allow_download: bool = False) -> SmpSegmenter:
    """The untrained network: ImageNet weights in the encoder, the rest drawn from `seed`."""
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        segmenter = SmpSegmenter(
            SmpSpec(
                num_classes,
                config.architecture,
                config.encoder,
                config.output_stride,
                config.decoder_channels,
                config.detail,
                preprocessing=imagenet_preprocessing(config.encoder.removeprefix("tu-")),
            )
        )
    if config.weights != "none":
        segmenter.load_imagenet(config.weights, allow_download)
    return segmenter


def crop_loader(
    stage: ClosedSetConfig, samples: Samples, split: ClassSplit, seed: int, name: str, device: torch.device
) -> DataLoader[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Random crops of training images for the stage called `name` (in `STAGES`), as stage 1 is shown them."""
    augmentation = Augmentation(stage.crop, stage.scale, jitter=stage.jitter, rare_class_probability=stage.rare)
    workers = loader_processes(device)
    kept = Kept(samples, LIMIT // (max(1, workers) * group().local_size))
    stream = AugmentedStream(kept, split.training_lut(), augmentation, seed, name)
    sampler = StepSampler(stage.batch, stage.checkpoint_every, stage.steps, part(stage.batch))
    return stream_loader(stream, sampler, workers, device.type == "cuda")


def train_closed_set(
    config: ExperimentConfig, samples: Samples, run: StageRun, allow_download: bool = False
) -> SmpSegmenter:
    """Stage 1 of `config` on `samples`; returns the segmenter in evaluation mode."""
    split, stage = config.data.class_split, config.closed_set
    finished = run.folder.finished() is not None
    start = dataclasses.replace(config.segmenter, weights="none") if finished else config.segmenter
    # in one memory layout whether it was trained just now or long ago: another one rounds differently
    segmenter = to_channels_last(build_segmenter(start, len(split.known), run.seed, allow_download))

    def begin() -> tuple[ClosedSetStage, DataLoader]:
        loader = crop_loader(stage, samples, split, run.seed, "closed_set", run.device)
        return ClosedSetStage(replica(segmenter, stage.batch, run.device), stage, run.seed), loader

    pace = Pace("closed set", "closed_set", stage.steps, stage.batch, stage.checkpoint_every)
    return run.trained(segmenter, pace, begin, {"configuration": dataclasses.asdict(stage)})


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
