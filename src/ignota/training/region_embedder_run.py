"""Stage 3 of the incremental half: D on the features of a branch, Equations 3 and 16, recomputed at every step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.utils.data import DataLoader

from ignota.functional.circle import anchor_circle_loss, batch_circle_loss
from ignota.functional.pooling import region_pool
from ignota.functional.regions import drop_block
from ignota.models.heads import RegionEmbedder
from ignota.models.segmenter import ClosedSetSegmenter
from ignota.perception.proposals import label_regions
from ignota.taxonomy import IGNORE_INDEX
from ignota.training.configuration import ExperimentConfig, RegionEmbedderConfig
from ignota.training.distributed import gathered_rows, part
from ignota.training.segmenters import crop_loader
from ignota.training.stage_run import Pace, StageRun
from ignota.training.stream import STAGES, Samples
from ignota.training.training import Stage, normalise_images

Rows = tuple[Float[Tensor, "R F"], Int[Tensor, " R"]]
"""Training regions: the mean feature of each, and its known class."""


def connected_regions(features: Float[Tensor, "B F h w"], labels: UInt8[Tensor, "B H W"], min_area: float) -> Rows:
    """Each connected part of a known class, as printed: the mean of F over it, the inner part of Equation 3."""
    vectors, owners = [], []
    for grid, label in zip(features, labels.cpu().numpy(), strict=True):
        regions = label_regions(label, min_area)
        if regions.count:
            first = np.zeros(regions.count + 1, np.int64)
            first[regions.ids] = label  # every pixel of a region has its class
            vectors.append(region_pool(grid, regions))
            owners.append(torch.from_numpy(first[1:]).to(grid.device))
    if not vectors:
        return features.new_zeros(0, features.shape[1]), torch.zeros(0, dtype=torch.long, device=features.device)
    return torch.cat(vectors), torch.cat(owners)


def dropped_classes(
    features: Float[Tensor, "B F h w"],
    labels: UInt8[Tensor, "B H W"],
    views: int,
    block: int,
    drop: float,
    generators: Sequence[torch.Generator],
) -> Rows:
    """All pixels of a class in an image as one region, seen `views` times under DropBlock, as in the released code.

    generators: one for each image, so that its masks do not depend on how a batch is dealt out.
    """
    grid = F.interpolate(labels[:, None].float(), features.shape[-2:], mode="nearest")[:, 0].long()
    vectors, owners = [], []
    for image, label, generator in zip(features, grid, generators, strict=True):
        present = label[label != IGNORE_INDEX].unique()
        masks = (label[None] == present[:, None, None]).repeat_interleave(views, 0)
        if len(masks):
            kept = drop_block(masks, block, drop, generator).flatten(1).float()
            vectors.append(kept @ image.flatten(1).float().T / kept.sum(1, keepdim=True))
            owners.append(present.repeat_interleave(views))
    if not vectors:
        return features.new_zeros(0, features.shape[1]).float(), grid.new_zeros(0)
    return torch.cat(vectors), torch.cat(owners)


class RegionEmbedderStage(Stage):
    """Trains D alone: the branch's segmenter gives features in evaluation mode."""

    learner = "embedder"
    idle_weights = True  # as printed, the classifier has no part in the loss

    def __init__(
        self,
        embedder: RegionEmbedder,
        segmenter: ClosedSetSegmenter,
        preset: str,
        config: RegionEmbedderConfig,
        min_area: float,
        classes: int,
        seed: int,
    ) -> None:
        super().__init__(seed, STAGES["region_embedder"], config.steps, 1, config.power)
        self.embedder, self.config, self.preset = embedder, config, preset
        self.min_area, self.views = min_area, config.views or classes
        self._features: Callable[[Tensor], Tensor] = lambda images: _features(segmenter, images)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> dict[str, Any]:
        images, labels = batch
        config, features = self.config, self._features(images)
        if self.preset == "paper":
            vectors, owner = connected_regions(features, labels, self.min_area)
        else:
            seeds = torch.randint(2**62, (config.batch,))[part(config.batch)]  # Stage seeds every step
            generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
            vectors, owner = dropped_classes(features, labels, self.views, config.block, config.drop, generators)
        raw, owner = gathered_rows(self.embedder.raw(vectors)), gathered_rows(owner)
        if self.preset == "paper":
            return {"loss": anchor_circle_loss(raw.float(), owner, config.gamma, config.margin)}
        circle = batch_circle_loss(raw.float(), owner, config.gamma, config.margin, self_paced=True)
        if not len(owner):
            return {"loss": circle}
        named = F.cross_entropy(self.embedder.classifier(raw).float(), owner)
        return {"loss": config.classification * named + config.circle * circle}

    def parameter_groups(self) -> list[dict[str, Any]]:
        config = self.config
        shared = {"lr": config.lr, "momentum": config.momentum, "weight_decay": config.weight_decay}
        return [{"params": list(self.embedder.parameters()), **shared}]


@torch.no_grad()
def _features(segmenter: ClosedSetSegmenter, images: Tensor) -> Tensor:
    preprocessing = segmenter.preprocessing
    return segmenter(normalise_images(images, preprocessing.mean, preprocessing.std)).features["decoder"].float()


def train_region_embedder(
    config: ExperimentConfig, preset: str, segmenter: ClosedSetSegmenter, samples: Samples, run: StageRun
) -> RegionEmbedder:
    """D of a branch by the losses of `preset`: circle loss alone as printed, cross entropy beside it as released."""
    split, stage = config.data.class_split, config.region_embedder
    classes, hidden = len(split.known), stage.hidden if preset == "paper" else stage.released_hidden
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        embedder = RegionEmbedder(segmenter.taps["decoder"].channels, classes, hidden, stage.embedding)
    crops = dataclasses.replace(
        config.closed_set, steps=stage.steps, batch=stage.batch, checkpoint_every=stage.checkpoint_every
    )

    def begin() -> tuple[RegionEmbedderStage, DataLoader]:
        loader = crop_loader(crops, samples, split, run.seed, "region_embedder", run.device)
        area = config.regions.min_area
        return RegionEmbedderStage(embedder, segmenter, preset, stage, area, classes, run.seed), loader

    pace = Pace(f"region embedder ({preset})", "region_embedder", stage.steps, stage.batch, stage.checkpoint_every)
    return run.trained(embedder, pace, begin)
