"""Reads the frames of a lake one after another in this process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import cv2
import torch

from ignota.lake.frames import read_span
from ignota.lake.rows import as_table, frame_row
from ignota.lake.spans import Span
from ignota.world.model import OpenWorldModel

if TYPE_CHECKING:
    import pyarrow as pa


def take_threads(count: int) -> None:
    """Lets torch and OpenCV use so many threads, so that a row does not depend on the machine's cores."""
    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def tables_here(world: OpenWorldModel, state: str, work: Iterable[Span]) -> Iterator[pa.Table]:
    """One table a frame; state: the fingerprint of the world. Whoever opened it has called `take_threads`."""
    for span in work:
        for frame in read_span(span):
            yield as_table([frame_row(world, state, frame)])
