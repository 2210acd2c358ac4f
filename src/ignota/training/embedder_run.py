"""Region vectors of training images by one pass of the frozen networks, and D trained on them (Equations 3 and 16)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ignota.data.images import resize_label
from ignota.functional.circle import batch_circle_loss
from ignota.functional.regions import region_areas, region_majority
from ignota.models.heads import RegionEmbedder
from ignota.perception.features import Pooled, pool_taps
from ignota.perception.proposals import UncertaintyRegions, label_regions
from ignota.structures import Encoding, RegionSet, Sample
from ignota.taxonomy import IGNORE_INDEX
from ignota.training.configuration import EmbedderConfig
from ignota.training.distributed import gathered, part
from ignota.training.stage_run import Pace, StageRun
from ignota.training.stream import STAGES
from ignota.training.training import Stage

SOURCES = ("labels", "urs")
_ONE_HOT_SCALE = 6.0
"""Of -‖f - 3e_c‖² = 6f_c - ‖f‖² - 9 the softmax over classes sees the first term alone."""


@dataclass(frozen=True)
class RegionRows:
    """Training regions of known classes.

    pooled: {tap: "N F"}. label: "N" training ids. purity: share of the label's pixels. area: share of the image.
    image: number of the image in the pass. source: index into SOURCES.
    """

    pooled: Pooled
    label: Tensor
    purity: Tensor
    area: Tensor
    image: Tensor
    source: Tensor

    def __len__(self) -> int:
        return len(self.label)

    def where(self, chosen: Tensor) -> RegionRows:
        return RegionRows(
            {tap: rows[chosen] for tap, rows in self.pooled.items()},
            *(value[chosen] for value in (self.label, self.purity, self.area, self.image, self.source)),
        )


def training_label(sample: Sample, lut: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Training ids on the working grid."""
    if sample.label is None:
        return np.full(size, IGNORE_INDEX, np.uint8)
    return resize_label(lut[sample.label], size)


def regions_of(
    encoding: Encoding, label: NDArray[np.uint8], urs: UncertaintyRegions, sources: Sequence[str]
) -> list[tuple[int, RegionSet]]:
    """Training regions: from labels always; on request between uncertain edges, as they look at test time."""
    found = [(0, label_regions(label, urs.min_area))]
    if "urs" in sources:
        found.append((1, urs(encoding.image, encoding.logits)))
    return found


def training_regions(
    encoding: Encoding,
    label: NDArray[np.uint8],
    urs: UncertaintyRegions,
    sources: Sequence[str],
    image: int,
    classes: int,
) -> RegionRows:
    """Rows of one image, every tap pooled; regions without a labelled pixel are left out."""
    rows = []
    for source, regions in regions_of(encoding, label, urs, sources):
        majority, purity = region_majority(label, regions, classes)
        area = region_areas(regions) / label.size
        number = len(majority)
        pooled = {tap: v.cpu() for tap, v in pool_taps(encoding, regions, encoding.features).items()}
        found = RegionRows(pooled, majority, purity, area, torch.full((number,), image), torch.full((number,), source))
        rows.append(found.where(majority != IGNORE_INDEX))
    return concatenate_rows(rows)


def concatenate_rows(rows: Sequence[RegionRows]) -> RegionRows:
    """One under the other."""
    return RegionRows(
        {tap: torch.cat([row.pooled[tap] for row in rows]) for tap in rows[0].pooled},
        *(torch.cat([getattr(row, name) for row in rows]) for name in ("label", "purity", "area", "image", "source")),
    )


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
