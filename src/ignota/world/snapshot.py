"""What a world was taught, as its store held it at one moment: names, exemplars, calibration and evidence that agree."""

from __future__ import annotations

from dataclasses import dataclass

from ignota.structures import InputError
from ignota.taxonomy import ClassLabel, Taxonomy
from ignota.world.exemplars import ExemplarStore, TaughtClass
from ignota.world.known import KnownEvidence
from ignota.world.novel import Exemplar, NovelEvidence, novel_evidence


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
        raise InputError(f"{store.path}: a taught class has no exemplar: the store is damaged, copy the world anew")
    try:
        classes = Taxonomy(taxonomy.name, taxonomy.classes + labels)
    except ValueError as error:
        raise InputError(f"{store.path}: the taught classes do not fit this world ({error}): copy it anew") from None
    return Snapshot(state, taught, exemplars, classes, novel, kept)
