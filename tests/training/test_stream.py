"""Training samples are a function of (seed, stage, number), and no epoch repeats the one before."""

from __future__ import annotations

import warnings
from typing import Any

import cv2
import lightning as L
import numpy as np
import pytest
import torch

from ignota.data.transforms import Augmentation
from ignota.structures import Sample
from ignota.training.stream import AugmentedStream, Kept, StepSampler, stream_loader


class Numbers:
    """Images that hold their own number."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Sample:
        return Sample(str(index), np.full((8, 8, 3), index, np.uint8), np.full((8, 8), index, np.uint8))


def stream(seed: int = 0) -> AugmentedStream:
    identity = np.arange(256, dtype=np.uint8)
    return AugmentedStream(Numbers(), identity, Augmentation((8, 8), (1.0, 1.0), jitter=0.0), seed, "closed_set")


def test_every_image_is_seen_once_before_any_is_seen_twice() -> None:
    seen = [int(stream()[n][1][0, 0]) for n in range(15)]
    for start in (0, 5, 10):
        assert sorted(seen[start : start + 5]) == [0, 1, 2, 3, 4]
    assert seen[:5] != seen[5:10] or seen[:5] != seen[10:]


@pytest.mark.parametrize("workers", [0, 1])
def test_the_same_bytes_whatever_the_number_of_workers(workers: int) -> None:
    batches = list(stream_loader(stream(3), StepSampler(2, 2, 4), workers))
    expected = [[int(stream(3)[n][1][0, 0]) for n in pair] for pair in ((0, 1), (2, 3))]
    assert [batch[1][:, 0, 0].tolist() for batch in batches] == expected


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_parts_of_all_processes_are_the_batch(size: int) -> None:
    parts = [StepSampler(5, 2, 3, slice(rank * 5 // size, (rank + 1) * 5 // size)) for rank in range(size)]
    for epoch, steps in ((0, (0, 1)), (1, (2,))):
        for sampler in parts:
            sampler.set_epoch(epoch)
        seen = [list(sampler) for sampler in parts]
        assert [len(numbers) for numbers in seen] == [len(sampler) for sampler in parts]
        for n, step in enumerate(steps):
            batch = [numbers[n * s.own : (n + 1) * s.own] for numbers, s in zip(seen, parts, strict=True)]
            assert [number for numbers in batch for number in numbers] == list(range(step * 5, step * 5 + 5))


class Recorder(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[list[int]] = []

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        self.seen.append(batch[1][:, 0, 0].tolist())
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def test_lightning_shows_new_samples_in_every_epoch() -> None:
    module, loader = Recorder(), stream_loader(stream(), StepSampler(2, 2, 6), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = L.Trainer(
            max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(module, loader)
    numbers = [int(stream()[n][1][0, 0]) for n in range(12)]
    assert module.seen == [numbers[n : n + 2] for n in range(0, 12, 2)]


def test_the_last_epoch_may_be_shorter() -> None:
    sampler = StepSampler(3, 4, 6)
    sampler.set_epoch(1)
    assert list(sampler) == list(range(12, 18))
    assert len(sampler) == 6


class Reads:
    """Images that tell how often their process has read one."""

    def __init__(self) -> None:
        self.count = 0

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Sample:
        self.count += 1
        return Sample(str(index), np.full((8, 8, 3), self.count, np.uint8), np.full((8, 8), index, np.uint8))


def test_a_loader_s_process_outlives_epochs_and_reads_each_image_once() -> None:
    identity = np.arange(256, dtype=np.uint8)
    augmentation = Augmentation((8, 8), (1.0, 1.0), jitter=0.0)
    source = AugmentedStream(Kept(Reads()), identity, augmentation, 0, "closed_set")
    loader = stream_loader(source, StepSampler(2, 2, 6), workers=1)
    seen: dict[int, set[int]] = {}
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        for images, labels in loader:
            for image, label in zip(images, labels, strict=True):
                seen.setdefault(int(label[0, 0]), set()).add(int(image[0, 0, 0]))
    assert {label: len(reads) for label, reads in seen.items()} == dict.fromkeys(range(4), 1)
    assert sorted(next(iter(reads)) for reads in seen.values()) == [1, 2, 3, 4]


def test_a_process_that_loads_starts_after_opencv_used_its_threads() -> None:
    """OpenCV's pool does not survive a fork: whoever changes its size in the child waits for ever."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        cv2.GaussianBlur(np.zeros((600, 900, 3), np.uint8), (0, 0), 9)
        assert len(list(stream_loader(stream(), StepSampler(2, 2, 4), 1))) == 2
    finally:
        cv2.setNumThreads(before)


class Counted:
    """Counts how often each sample is read."""

    def __init__(self) -> None:
        self.reads: list[int] = []

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Sample:
        self.reads.append(index)
        return Sample(str(index), np.full((2, 2, 3), index, np.uint8), np.zeros((2, 2), np.uint8))


def test_each_is_read_once() -> None:
    source = Counted()
    kept = Kept(source)
    for _ in range(3):
        assert [int(kept[i].image[0, 0, 0]) for i in range(len(kept))] == [0, 1, 2, 3]
    assert source.reads == [0, 1, 2, 3]


def test_no_more_bytes_than_the_limit() -> None:
    source = Counted()
    kept = Kept(source, limit=40)  # a sample has 16
    for _ in range(2):
        for i in range(len(kept)):
            assert kept[i].key == str(i)
    assert source.reads == [0, 1, 2, 3, 2, 3]
    assert kept.bytes == 32
