"""Stage 2: meta channels, Equations 6 to 9, on the logits of the frozen closed set."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ignota.engine.closed_set import segmentation_loss
from ignota.engine.configuration import MetaChannelConfig
from ignota.engine.progress import StageProgress
from ignota.engine.ranks import check_batch, group, loader_processes, part, total
from ignota.engine.records import StageFolder
from ignota.engine.stream import STAGES, StepSampler
from ignota.engine.training import Stage, run_stage, save_module
from ignota.functional.meta_channels import activate, overall_loss, whole
from ignota.models.meta_channels import MetaChannelHead
from ignota.world.networks import LOSSES


@dataclass(frozen=True)
class Grids:
    """Training images on the logits' grid: logits "N C h w" half, labels "N h w" and images "N h w 3" uint8."""

    logits: list[Tensor]
    labels: list[Tensor]
    images: list[Tensor]


class GridStream(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Sample number n of an endless training on stored grids: a random half-size window, perhaps mirrored."""

    def __init__(self, grids: Grids, seed: int) -> None:
        self.grids, self.seed = grids, seed

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        count = len(self.grids.logits)
        rng = np.random.default_rng([self.seed, STAGES["meta_channels"], number])
        order = np.random.default_rng([self.seed, STAGES["meta_channels"], number // count, 1]).permutation(count)
        i = int(order[number % count])
        height, width = min(g.shape[1] for g in self.grids.logits), min(g.shape[2] for g in self.grids.logits)
        rows, columns = max(1, height * 3 // 4), max(1, width * 3 // 4)
        logits, labels, image = self.grids.logits[i], self.grids.labels[i], self.grids.images[i]
        top = int(rng.integers(0, logits.shape[1] - rows + 1))
        left = int(rng.integers(0, logits.shape[2] - columns + 1))
        window = np.s_[top : top + rows, left : left + columns]
        flip = [-1] if rng.random() < 0.5 else []
        colours = (
            image.permute(2, 0, 1)[(slice(None), *window)].float() / 127.5 - 1
        )  # about normalised, as Equation 9's X
        return logits[(slice(None), *window)].float().flip(flip), labels[window].flip(flip), colours.flip(flip)


class MetaChannelStage(Stage):
    """Trains the meta-channel head alone; the segmenter is untouched."""

    def __init__(self, head: MetaChannelHead, config: MetaChannelConfig, preset: str, seed: int) -> None:
        super().__init__(seed, STAGES["meta_channels"], config.steps, 10, config.power)
        self.head, self.config = head, config
        self.losses = dataclasses.replace(
            LOSSES[preset], weight_overlap=config.inter, weight_split=config.split, weight_reconstruction=config.rec
        )

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> dict[str, Any]:
        logits, labels, image = batch
        raw = self.head(logits)
        known = self.head.num_classes
        segmentation = segmentation_loss(raw[:, :known], labels)
        channels, sums = activate(raw.float(), self.losses), total if group().size > 1 else whole
        terms = overall_loss(segmentation, channels, image, labels, known, self.losses, sums)
        return {"loss": terms["total"]}

    def parameter_groups(self) -> list[dict[str, Any]]:
        config = self.config
        shared = {"lr": config.head_lr, "momentum": config.momentum, "weight_decay": config.weight_decay}
        return [{"params": list(self.head.parameters()), **shared}]


def train_meta_channels(
    config: MetaChannelConfig,
    preset: str,
    num_classes: int,
    grids: Grids | None,
    folder: StageFolder,
    device: torch.device,
    seed: int,
    quiet: bool,
) -> MetaChannelHead:
    """One head by the losses of `preset`, "paper" or "released"; raises InputError as `check_batch`."""
    head = MetaChannelHead(num_classes, config.channels, torch.Generator().manual_seed(seed))
    if folder.finished() is None:
        if grids is None:
            raise ValueError("meta channels are yet to be trained, but there are no grids")
        check_batch("meta_channels.batch", config.batch)
        folder.begin()
        sampler = StepSampler(config.batch, config.checkpoint_every, config.steps, part(config.batch))
        workers = loader_processes(device) if device.type == "cuda" else 0
        loader = DataLoader(GridStream(grids, seed), sampler.own, sampler=sampler, num_workers=workers)
        progress = StageProgress(f"meta channels ({preset})", config.steps, config.batch, quiet)
        module = MetaChannelStage(head, config, preset, seed)
        run_stage(module, loader, folder.path, -(-config.steps // config.checkpoint_every), device, [progress])
        folder.finish(save_module(head), {"seconds": progress.seconds(), "losses": progress.losses})
    head.load_state_dict(folder.tensors())
    return head.to(device).eval().requires_grad_(False)
