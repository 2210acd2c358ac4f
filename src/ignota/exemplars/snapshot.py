"""A snapshot of the contents of a store, read in one transaction."""

from __future__ import annotations

from ignota.exemplars.store import ExemplarStore
from ignota.perception.known import KnownEvidence
from ignota.perception.novel import novel_evidence
from ignota.perception.snapshot import Snapshot
from ignota.structures import InputError
from ignota.taxonomy import ClassLabel, Taxonomy


def take_snapshot(
    store: ExemplarStore, fitted: KnownEvidence, taxonomy: Taxonomy, before: Snapshot | None = None
) -> Snapshot:
    """Reads a store in one transaction. taxonomy: of the known classes.

    before: an earlier snapshot of the same world, whose evidence stays where the calibration does. Raises InputError
    where the taught classes contradict each other or the known ones.
    """
    state, taught, exemplars, calibration = store.read_taught(fitted.name)
    kept = None if before is None else before.known
    if kept is None or calibration is None or kept.calibration is None or kept.calibration.key != calibration.key:
        kept = fitted.on_camera(calibration)
    first = len(taxonomy)
    labels = tuple(ClassLabel(first + i, each.name, each.colour) for i, each in enumerate(taught))
    novel = novel_evidence(kept, exemplars)
    if novel.names != tuple(each.name for each in taught):
        raise InputError(f"{store.path}: a taught class has no exemplar: the store is damaged, copy the world again")
    try:
        classes = Taxonomy(taxonomy.name, taxonomy.classes + labels)
    except ValueError as error:
        raise InputError(f"{store.path}: the taught classes do not fit this world ({error}): copy it again") from None
    return Snapshot(state, taught, exemplars, classes, novel, kept)
