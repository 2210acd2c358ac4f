"""Samples that are kept are read once; the limit holds."""

from __future__ import annotations

import numpy as np

from ignota.data.keeping import Kept
from ignota.structures import Sample


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
