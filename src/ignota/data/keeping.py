"""A cache of decoded samples, so a training process reads or draws each of them once."""

from __future__ import annotations

from typing import Protocol

from ignota.structures import Sample

LIMIT = 1 << 29
"""Bytes that all loading processes of a machine keep together: about 700 CamVid images."""


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
