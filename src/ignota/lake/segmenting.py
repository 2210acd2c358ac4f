"""Segments a lake: finds the remaining work, runs it by an engine, and writes the rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ignota.lake.parts import Again, Parts, settle
from ignota.lake.sources import Source
from ignota.lake.spans import Span, spans

if TYPE_CHECKING:
    import pyarrow as pa

_LOG = logging.getLogger(__name__)

Engine = Callable[[Sequence[Span]], Iterable["pa.Table"]]
Tick = Callable[[int], object]


@dataclass(frozen=True)
class Lake:
    """Where frames come from and where rows go. world: fingerprint of the one that reads; every: of videos, take each
    N-th frame alone."""

    sources: tuple[Source, ...]
    out: str
    world: str
    every: int = 1


@dataclass
class Outcome:
    """done: rows that this call wrote; before: frames that were there; errors: rows of this call that hold a fault,
    and the last of these."""

    done: int = 0
    before: int = 0
    errors: int = 0
    fault: str = ""


def left(lake: Lake, again: Again | None = None) -> tuple[list[Span], int]:
    """What is left to do, and how many frames are there. again: nothing counts as done, or no frame with an error."""
    work: list[Span] = []
    there = 0
    for source in lake.sources:
        finished = settle(lake.out, source, lake.world, again)
        there += sum(len(frames) for frames in finished.frames.values())
        work += spans(source, finished, lake.world, lake.every)
    return work, there


def segment_lake(work: Sequence[Span], engine: Engine, parts: Parts, tick: Tick) -> Outcome:
    """Does the work and writes its rows, also when it is stopped. tick: called with the rows as they arrive."""
    outcome = Outcome()
    try:
        for table in engine(work) if work else ():
            count = parts.add(table)
            faults = [text for text in table.column("error").to_pylist() if text is not None]
            outcome.done += count
            outcome.errors += len(faults)
            outcome.fault = faults[-1] if faults else outcome.fault
            _LOG.debug("%d rows, %d of them with an error", count, len(faults))
            tick(count)
    finally:
        parts.flush()
    return outcome
