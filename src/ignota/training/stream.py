"""Training batches as a function of (seed, stage, step, sample), which makes resuming exact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ignota.data.transforms import Augmentation, augment, sample_generator
from ignota.structures import InputError, Sample

STAGES = {"closed_set": 1, "meta_channels": 2, "embedder": 3, "fit": 4, "metric_network": 5, "region_embedder": 6}
LIMIT = 1 << 29
"""Bytes that all loading processes of a machine keep together: about 700 CamVid images."""


class Samples(Protocol):
    """Any map-style data set of samples."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Sample: ...


@dataclass(frozen=True)
class TrainingImages:
    """Labelled images that evidence is fitted on: those numbered `images` of `samples`.

    lut: label value -> training id. seed: of all that is drawn of them.
    """

    samples: Samples
    images: Sequence[int]
    lut: NDArray[np.uint8]
    seed: int


class Chosen:
    """The samples of some indices, in their order; an index may come more than once."""

    def __init__(self, samples: Samples, indices: Sequence[int]) -> None:
        self.samples, self.indices = samples, tuple(indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[self.indices[index]]


class AugmentedStream(Dataset[tuple[NDArray[np.uint8], NDArray[np.uint8]]]):
    """Sample number n of an endless training: image order and augmentation depend on (seed, stage, n) alone.

    Every image is seen once before any is seen twice. lut: label value -> training id.
    """

    def __init__(
        self, samples: Samples, lut: NDArray[np.uint8], augmentation: Augmentation, seed: int, stage: str
    ) -> None:
        if len(samples) == 0:
            raise InputError("there is no training image: name a split that has some")
        self.samples, self.lut, self.augmentation = samples, lut, augmentation
        self.seed, self.stage = seed, STAGES[stage]

    def __getitem__(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        epoch, position = divmod(number, len(self.samples))
        order = np.random.default_rng([self.seed, self.stage, epoch]).permutation(len(self.samples))
        sample = self.samples[int(order[position])]
        if sample.label is None:
            raise InputError(f"training image {sample.key} has no label: `ignota data check` lists all that lack one")
        rng = sample_generator(self.seed, self.stage, epoch, position)
        return augment(sample.image, self.lut[sample.label], self.augmentation, rng)


class StepSampler(Sampler[int]):
    """Numbers of the samples of one epoch of `steps` steps, of `total` in all; part: of each batch, all by default.

    Lightning tells a loader's `sampler` the epoch, and only that: as a `batch_sampler` it would never hear of it and
    every epoch would show the same samples.
    """

    def __init__(self, batch: int, steps: int, total: int, part: slice | None = None) -> None:
        self.batch, self.steps, self.total, self.epoch = batch, steps, total, 0
        self.part = range(batch)[part or slice(None)]

    @property
    def own(self) -> int:
        """How many samples of each batch are this process's."""
        return len(self.part)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        first = self.epoch * self.steps
        return self.own * max(0, min(self.steps, self.total - first))

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.steps
        steps = range(first, min(first + self.steps, self.total))
        return (step * self.batch + place for step in steps for place in self.part)


def collate(samples: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> tuple[Tensor, Tensor]:
    """Images "B H W 3" uint8 and labels "B H W" uint8: bytes travel between processes, floats are made after."""
    images, labels = zip(*samples, strict=True)
    return torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))


def stream_loader(stream: AugmentedStream, sampler: StepSampler, workers: int, pinned: bool = False) -> DataLoader:
    """Batches of `stream` in the order of `sampler`.

    Its processes outlive the epochs, and with them what `Kept` samples hold. pinned: into memory that a GPU copies from
    without the processor waiting for it.
    """
    return DataLoader(
        stream, sampler.own, sampler=sampler, num_workers=workers, collate_fn=collate, pin_memory=pinned,
        persistent_workers=workers > 0,
    )  # fmt: skip


class _Samples(Protocol):
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Sample: ...


class Kept:
    """The same samples; those that come first are kept, up to `limit` bytes in this process.

    What is kept stays: an epoch shows every image once before any twice, so dropping the oldest would drop each image
    just before it is wanted again.
    """

    def __init__(self, samples: _Samples, limit: int = LIMIT) -> None:
        self.samples, self.limit = samples, limit
        self.kept: dict[int, Sample] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        found = self.kept.get(index)
        if found is not None:
            return found
        sample = self.samples[index]
        size = sample.image.nbytes + (0 if sample.label is None else sample.label.nbytes)
        if self.bytes + size <= self.limit:
            self.kept[index] = sample
            self.bytes += size
        return sample
