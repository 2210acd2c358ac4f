"""The taught state of a world at one moment: names, exemplars, calibration and evidence that agree."""

from __future__ import annotations

from dataclasses import dataclass

from ignota.perception.known import KnownEvidence
from ignota.perception.novel import Exemplar, NovelEvidence, novel_evidence
from ignota.taxonomy import Taxonomy


@dataclass(frozen=True)
class TaughtClass:
    """A taught class: its key in the store, name, colour, number of exemplars; those that say what it is not are not
    counted."""

    key: int
    name: str
    colour: tuple[int, int, int]
    exemplars: int


@dataclass(frozen=True)
class Snapshot:
    """state: of the store. taught: in order of teaching. exemplars: by class, then by age. classes: known classes, then
    taught ones, numbered by world id. novel: evidence of the taught classes, in the same order. known: the fitted
    evidence on the camera that the store is calibrated for, if any."""

    state: int
    taught: tuple[TaughtClass, ...]
    exemplars: tuple[Exemplar, ...]
    classes: Taxonomy
    novel: NovelEvidence
    known: KnownEvidence


def nothing_taught(taxonomy: Taxonomy, known: KnownEvidence) -> Snapshot:
    """The snapshot of a world that knows its known classes alone."""
    return Snapshot(0, (), (), taxonomy, novel_evidence(known, ()), known)
