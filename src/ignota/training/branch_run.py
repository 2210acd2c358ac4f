"""Stage 2: a copy of the closed set is fine-tuned together with its meta channels, Equations 6 to 9."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader

from ignota.functional.meta_channels import PRESETS, MetaChannelLossConfig, activate, overall_loss, whole
from ignota.models.heads import MetaChannelHead, MetaChannelNetwork
from ignota.models.segmenter import IMAGENET_MEAN, IMAGENET_STD, ClosedSetSegmenter
from ignota.taxonomy import ClassSplit
from ignota.training.configuration import ExperimentConfig, MetaChannelConfig
from ignota.training.distributed import group, total
from ignota.training.replicas import freeze_statistics, replica
from ignota.training.segmenters import crop_loader, segmentation_loss
from ignota.training.stage_run import Pace, StageRun
from ignota.training.stream import STAGES, Samples
from ignota.training.training import Stage, normalise_images

_PUBLISHED_CELLS = 191 * 191
"""Cells of the grid on which Appendix C.1 sets η: crops of 762 pixels at stride 4."""


def meta_channel_count(preset: str, config: MetaChannelConfig, split: ClassSplit) -> int:
    """K: `channels` as printed; all classes - N + 1 in the released code, 20 - N of Cityscapes' 19."""
    return config.channels if preset == "paper" else len(split.taxonomy) - len(split.known) + 1


def steps_of(preset: str, config: MetaChannelConfig) -> int:
    """Optimiser steps of stage 2."""
    return config.released_steps or config.steps if preset == "released" else config.steps


def crop_of(preset: str, config: ExperimentConfig) -> tuple[int, int]:
    """(H, W) of the training crops of stage 2."""
    own = config.meta_channels.released_crop if preset == "released" else None
    return config.closed_set.crop if own is None else own


def losses_of(preset: str, config: MetaChannelConfig) -> MetaChannelLossConfig:
    """The preset's losses with the weights λ of the configuration."""
    return dataclasses.replace(
        PRESETS[preset], weight_overlap=config.inter, weight_split=config.split, weight_reconstruction=config.rec
    )


def on_grid(losses: MetaChannelLossConfig, grid: tuple[int, int]) -> MetaChannelLossConfig:
    """The losses with the η of Equation 8 for a grid of another size than the paper's.

    As printed, η ΣC counts cells, so η = 0.02 keeps a channel above the share 1 / (η cells) of a crop. It is scaled so
    that this share is that of Appendix C.1's crops on every grid; the released form takes the mean and needs nothing.
    """
    if losses.split != "paper":
        return losses
    return dataclasses.replace(losses, eta=losses.eta * _PUBLISHED_CELLS / (grid[0] * grid[1]))


def branch_loss(
    logits: Float[Tensor, "B C h w"],
    raw: Float[Tensor, "B N h w"],
    pixels: Float[Tensor, "B 3 H W"],
    labels: UInt8[Tensor, "B H W"],
    losses: MetaChannelLossConfig,
) -> Tensor:
    """L_overall of Equation 6 for one batch, summed over all processes of the group.

    logits: of the closed set's N classes; raw: of all N+K channels, before any activation; pixels: the X of Equation 9,
    the normalised input as printed, the image normalised by ImageNet's colours as released. L_seg is the cross entropy
    over what `losses.segmentation` names. Void and novel pixels are 255 in `labels` and do not count in it. The other
    terms are taken on the grid of the channels.
    """
    raw, losses = raw.float(), on_grid(losses, (raw.shape[-2], raw.shape[-1]))
    segmentation = segmentation_loss(raw if losses.segmentation == "channels" else logits, labels)
    channels, grid = activate(raw, losses), raw.shape[-2:]
    small_labels = F.interpolate(labels[:, None].float(), grid, mode="nearest")[:, 0].long()
    small_pixels = F.interpolate(pixels.float(), grid, mode="area")
    sums = total if group().size > 1 else whole
    return overall_loss(segmentation, channels, small_pixels, small_labels, logits.shape[1], losses, sums)["total"]


class BranchStage(Stage):
    """Fine-tunes segmenter and meta-channel head together at two learning rates.

    The slow one is that of the feature extractor as printed (Appendix C.1: all below the label predictor), and that of
    the encoder alone in the released code.
    """

    learner = "network"
    idle_weights = True  # of some backbones: layers whose output nothing reads

    def __init__(
        self,
        network: MetaChannelNetwork,
        config: MetaChannelConfig,
        preset: str,
        seed: int,
        frozen_norm: bool = False,
    ) -> None:
        super().__init__(seed, STAGES["meta_channels"], steps_of(preset, config), config.warmup, config.power)
        self.network, self.config, self.preset, self.frozen_norm = network, config, preset, frozen_norm
        self.losses = losses_of(preset, config)

    def on_train_start(self) -> None:
        super().on_train_start()
        if self.frozen_norm:
            freeze_statistics(self.network)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> dict[str, Any]:
        images, labels = batch
        preprocessing = self.network.segmenter.preprocessing
        pixels = normalise_images(images, preprocessing.mean, preprocessing.std)
        logits, raw = self.network(pixels)
        released = self.losses.reconstruction == "released"
        rebuilt = normalise_images(images, IMAGENET_MEAN, IMAGENET_STD) if released else pixels
        return {"loss": branch_loss(logits, raw, rebuilt, labels, self.losses)}

    def parameter_groups(self) -> list[dict[str, Any]]:
        shared = {"momentum": self.config.momentum, "weight_decay": self.config.weight_decay}
        segmenter, head = self.network.segmenter, self.network.head
        slow = segmenter.feature_parameters() if self.preset == "paper" else segmenter.encoder_parameters()
        chosen = {id(parameter) for parameter in slow}
        fast = [parameter for parameter in segmenter.parameters() if id(parameter) not in chosen]
        return [
            {"params": slow, "lr": self.config.encoder_lr, **shared},
            {"params": [*fast, *head.parameters()], "lr": self.config.head_lr, **shared},
        ]


def starting_branch(
    closed_set: ClosedSetSegmenter, channels: int, momentum: float, seed: int, preset: str = "paper"
) -> MetaChannelNetwork:
    """A trainable copy of the closed set with fresh channels; the closed set itself stays as it is."""
    segmenter = copy.deepcopy(closed_set).train().requires_grad_(True)  # Lightning leaves the mode as it is
    for module in segmenter.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = momentum
    head = MetaChannelHead(
        segmenter.num_classes, channels, torch.Generator().manual_seed(seed), identity=preset != "released"
    )
    return MetaChannelNetwork(segmenter, head.to(next(segmenter.parameters()).device))


def train_branch(
    config: ExperimentConfig, preset: str, closed_set: ClosedSetSegmenter, samples: Samples, run: StageRun
) -> MetaChannelNetwork:
    """Stage 2 by the losses of `preset`, "paper" or "released"; raises InputError as `check_batch`."""
    split, stage = config.data.class_split, config.meta_channels
    channels, steps = meta_channel_count(preset, stage, split), steps_of(preset, stage)
    network = starting_branch(closed_set, channels, stage.norm_momentum, run.seed, preset)
    crops = dataclasses.replace(
        config.closed_set,
        steps=steps,
        batch=stage.batch,
        checkpoint_every=stage.checkpoint_every,
        crop=crop_of(preset, config),
    )

    def begin() -> tuple[BranchStage, DataLoader]:
        loader = crop_loader(crops, samples, split, run.seed, "meta_channels", run.device)
        learner = replica(network, stage.batch, run.device)
        return BranchStage(learner, stage, preset, run.seed, config.closed_set.frozen_norm), loader

    pace = Pace(f"meta channels ({preset})", "meta_channels", steps, stage.batch, stage.checkpoint_every)
    return run.trained(network, pace, begin)
