"""Stage 3: D by circle loss, Equations 3 and 16, on region vectors of training images."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ignota.functional.circle import batch_circle_loss
from ignota.models.heads import RegionEmbedder
from ignota.training.configuration import EmbedderConfig
from ignota.training.distributed import gathered, part
from ignota.training.stage_run import Pace, StageRun
from ignota.training.stream import STAGES
from ignota.training.training import Stage
from ignota.training.training_regions import SOURCES, RegionRows

_ONE_HOT_SCALE = 6.0
"""Of -‖f - 3e_c‖² = 6f_c - ‖f‖² - 9 the softmax over classes sees the first term alone."""


class EmbedderStage(Stage):
    """Each step draws a batch in which every class present is about equally common; D learns from pooled vectors.

    Each process embeds its part of the batch; the losses are taken over the embeddings of all, as pairs lie across.
    """

    learner = "embedder"

    def __init__(
        self, embedder: RegionEmbedder, vectors: Tensor, labels: Tensor, config: EmbedderConfig, seed: int
    ) -> None:
        super().__init__(seed, STAGES["embedder"], config.steps, 20, config.power)
        self.embedder, self.config = embedder, config
        self.vectors, self.labels = vectors, labels
        self.idle_weights = config.one_hot or not config.classification  # those of the classifier
        counts = torch.bincount(labels)
        self.chance = (1.0 / counts[labels].double()).float()

    def training_step(self, batch: Tensor, _: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed((self.seed * 8 + self.stage_id) * 10_000_019 + int(batch[0]))
        rows = torch.multinomial(self.chance, self.config.batch, replacement=True, generator=generator)
        vectors = self.vectors[rows[part(self.config.batch)]].float().to(self.device)
        labels = self.labels[rows].to(self.device)
        raw = gathered(self.embedder.raw(vectors), self.config.batch)
        if self.config.one_hot:
            return {"loss": F.cross_entropy(_ONE_HOT_SCALE * raw.float(), labels)}
        loss = self.config.circle * batch_circle_loss(
            raw.float(), labels, self.config.gamma, self.config.margin, self_paced=self.config.self_paced
        )
        if self.config.classification:
            loss = loss + self.config.classification * F.cross_entropy(self.embedder.classifier(raw).float(), labels)
        return {"loss": loss}

    def parameter_groups(self) -> list[dict[str, Any]]:
        config = self.config
        shared = {"lr": config.lr, "momentum": config.momentum, "weight_decay": config.weight_decay}
        return [{"params": list(self.embedder.parameters()), **shared}]


class _StepNumbers(Dataset[int]):
    """The numbers of the steps of one epoch; a step draws its batch from its number."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> int:
        return step


def train_embedder(
    config: EmbedderConfig, rows: RegionRows, num_classes: int, run: StageRun, title: str
) -> RegionEmbedder:
    """D for the taps of `config`, trained on the rows of its region sources that are pure enough."""
    allowed = torch.tensor([source in config.regions for source in SOURCES])
    rows = rows.where(allowed[rows.source] & (rows.purity >= config.purity))
    vectors = torch.cat([rows.pooled[tap].float() for tap in config.taps], dim=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        width = num_classes if config.one_hot else config.embedding
        embedder = RegionEmbedder(vectors.shape[1], num_classes, config.hidden, width)
    embedder.mean.copy_(vectors.mean(0))
    embedder.std.copy_(vectors.std(0).clamp(min=1e-6))

    def begin() -> tuple[EmbedderStage, DataLoader]:
        module = EmbedderStage(embedder, vectors, rows.label, config, run.seed)
        return module, DataLoader(_StepNumbers(config.steps), batch_size=1)

    # one epoch is the whole training: it takes seconds, and a killed one starts over with the same numbers
    pace = Pace(title, "embedder", config.steps, config.batch, checkpoint_every=config.steps, every=50)
    return run.trained(embedder, pace, begin)
