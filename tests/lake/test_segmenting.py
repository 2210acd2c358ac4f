"""What is left of a lake, and rows that are kept when work stops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ignota.lake.frames import read_span
from ignota.lake.parts import Parts
from ignota.lake.rows import as_table, empty_row
from ignota.lake.segmenting import Lake, left, segment_lake
from ignota.lake.sources import sources
from ignota.lake.spans import Span


def blind(work: Sequence[Span], most: int = 10**9) -> Iterator[Any]:
    """An engine that sees nothing, and is stopped after some frames."""
    frames = (frame for span in work for frame in read_span(span))
    for number, frame in enumerate(frames):
        if number == most:
            raise KeyboardInterrupt
        yield as_table([empty_row("w", frame)])


@pytest.fixture
def here(lake: Path, tmp_path: Path) -> Lake:
    out = str(tmp_path / "out")
    return Lake(tuple(sources([str(lake)], out)), out, "w")


def test_work_that_was_stopped_goes_on(here: Lake) -> None:
    work, there = left(here)
    assert there == 0
    with pytest.raises(KeyboardInterrupt):
        segment_lake(work, lambda work: blind(work, 7), Parts(here.out), lambda _: None)
    work, there = left(here)
    assert there == 7
    seen: list[int] = []
    outcome = segment_lake(work, blind, Parts(here.out), seen.append)
    assert outcome.done == 8 == sum(seen)
    assert left(here) == ([], 15)


def test_faults_are_counted_and_the_last_is_kept(here: Lake) -> None:
    outcome = segment_lake(left(here)[0], blind, Parts(here.out), lambda _: None)
    assert (outcome.done, outcome.errors) == (15, 2)
    assert "shard.tar: 2.png" in outcome.fault


def test_again_leaves_nothing(here: Lake) -> None:
    segment_lake(left(here)[0], blind, Parts(here.out), lambda _: None)
    work, there = left(here, "all")
    assert there == 0 and len(work) == len(here.sources)
    assert not list(Path(here.out).rglob("*.parquet"))


def test_no_engine_is_started_for_nothing(here: Lake) -> None:
    def never(work: Sequence[Span]) -> Iterator[Any]:
        raise AssertionError("started")

    assert segment_lake([], never, Parts(here.out), lambda _: None).done == 0
