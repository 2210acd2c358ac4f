"""A snapshot of what a store holds, read in one transaction."""

from __future__ import annotations

from ignota.exemplars.store import ExemplarStore
from ignota.perception.known import KnownEvidence
from ignota.perception.novel import novel_evidence
from ignota.perception.snapshot import Snapshot
from ignota.structures import InputError
from ignota.taxonomy import ClassLabel, Taxonomy


def take_snapshot(store: ExemplarStore, known: KnownEvidence, taxonomy: Taxonomy) -> Snapshot:
    """Reads a store in one transaction. taxonomy: of the known classes.

    Raises InputError where the taught classes contradict each other or the known ones.
    """
    state, taught, exemplars = store.read_taught()
    first = len(taxonomy)
    labels = tuple(ClassLabel(first + i, each.name, each.colour) for i, each in enumerate(taught))
    novel = novel_evidence(known, exemplars)
    if novel.names != tuple(each.name for each in taught):
        raise InputError(f"{store.path}: a taught class has no exemplar: the store is damaged, copy the world anew")
    try:
        classes = Taxonomy(taxonomy.name, taxonomy.classes + labels)
    except ValueError as error:
        raise InputError(f"{store.path}: the taught classes do not fit this world ({error}): copy it anew") from None
    return Snapshot(state, taught, exemplars, classes, novel)
