"""Measures many cells in one pass: every image passes the networks once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ignota.data.datasets import labelled
from ignota.data.images import resize_label
from ignota.evaluation.component_reading import to_size
from ignota.evaluation.evaluation import anomaly_label_lut, evaluate_closed_set
from ignota.evaluation.five_scales import FiveScales, Maps, five_scale_metric_maps
from ignota.evaluation.incremental_evaluation import learnt
from ignota.metrics.anomaly import AnomalyMetrics
from ignota.metrics.segmentation import SegmentationMetrics
from ignota.perception.branch import BRANCH_SCORES, METRIC_METHODS
from ignota.perception.composing import check_name
from ignota.perception.proposals import MetaChannelRegions
from ignota.perception.reading import OWN, PRINTED, RELEASED, uncertainty
from ignota.reproduce.cells import AnomalyCell, ClosedCell, IncrementalCell
from ignota.reproduce.taught_worlds import SeenImage, TaughtWorld, Teacher, lesson_of
from ignota.reproduce.workshop import Workshop
from ignota.scores.dml import METRIC_SCORES
from ignota.scores.fitted_scores import FITTED_SCORES
from ignota.scores.logit_scores import LOGIT_SCORES
from ignota.structures import Encoding, InputError
from ignota.taxonomy import ClassSplit
from ignota.world.model import OpenWorldModel

Done = Callable[[Any, dict[str, Any], float], None]
"""Is called with each measured cell, its figures and its seconds."""

META_REGIONS = "raml_mca"
"""Q of Equation 5 over the regions of all meta channels of the branch `paper` in place of URS's."""
MOST_MAPS = 40
"""Scores of one pass; each holds 16 MB of counts."""


def score_of(name: str) -> str:
    """The plain score inside `region:…`."""
    return name.rpartition(":")[2]


def obtainable(name: str) -> bool:
    """Whether this version can compute the score at all."""
    return score_of(name) in {
        *LOGIT_SCORES,
        *FITTED_SCORES,
        *BRANCH_SCORES,
        "knn",
        OWN,
        PRINTED,
        RELEASED,
        META_REGIONS,
    }


def measure_closed(workshop: Workshop, cells: Sequence[ClosedCell], done: Done) -> None:
    """mIoU of networks that know all classes of a setting."""
    for cell in cells:
        world, images = workshop.base(cell.split), workshop.setting.evaluate(cell.split)
        started = time.monotonic()
        with workshop.bar(f"closed set {workshop.setting.ground.shown(cell.split)}", len(images)) as bar:
            found = evaluate_closed_set(world, images, lambda *_: bar.update())
        done(cell, {"miou": {"all": found["miou"]}, "iou": found["iou"]}, time.monotonic() - started)


def measure_anomalies(workshop: Workshop, cells: Sequence[AnomalyCell], done: Done) -> None:
    """Every score of `cells`, all on the same anomaly set."""
    for first in range(0, len(cells), MOST_MAPS):
        _measure_anomalies(workshop, cells[first : first + MOST_MAPS], done)


def _measure_anomalies(workshop: Workshop, cells: Sequence[AnomalyCell], done: Done) -> None:
    place = cells[0].place
    where, images = workshop.setting.ground.anomaly_sets[place], workshop.setting.anomalies(place)
    fitted = sorted({score_of(cell.score) for cell in cells} & set(FITTED_SCORES))
    refused = workshop.refused(where.closed, fitted)
    for cell in [cell for cell in cells if score_of(cell.score) in refused]:
        done(cell, {"reason": refused[score_of(cell.score)]}, 0.0)
    cells, fitted = (
        [cell for cell in cells if score_of(cell.score) not in refused],
        [name for name in fitted if name not in refused],
    )
    if not cells:
        return
    worlds = {
        variant: workshop.scored(workshop.world(where.closed, variant), where.closed, fitted)
        for variant in dict.fromkeys(cell.variant for cell in cells)
    }
    network = workshop.metric_network(where.closed) if {cell.score for cell in cells} & set(METRIC_SCORES) else None
    base = workshop.base(where.closed)
    lut = anomaly_label_lut(base, images)
    metrics, started = AnomalyMetrics("dmlnet"), time.monotonic()
    with workshop.bar(f"anomalies, {where.title}", len(images)) as bar:
        for sample, label in labelled(images, lut):
            encoding, scales = base.encode(sample.image), FiveScales.of(base.networks, sample.image, label.shape)
            maps: Maps = {}
            scaled: Maps = {}
            for variant, world in worlds.items():
                numbers = {cell.score: str(n) for n, cell in enumerate(cells) if cell.variant == variant}
                own = [name for name in numbers if name in METRIC_SCORES]
                found = _single(anomaly_maps(world, encoding, list(numbers)), label.shape)
                five = scales.maps([name for name in numbers if name not in own], partial(anomaly_maps, world))
                if network is not None and own:
                    five |= five_scale_metric_maps(network, sample.image, label.shape, own)
                maps |= {number: found[name] for name, number in numbers.items()}
                scaled |= {number: five[name] for name, number in numbers.items()}
            metrics.update(sample.key, maps, label, scaled)
            bar.update()
    figures, seconds = metrics.compute(), (time.monotonic() - started) / len(cells)
    for n, cell in enumerate(cells):
        done(cell, {**figures["scores"][str(n)], "images": figures["images"]}, seconds)


def _single(maps: Mapping[str, Tensor], size: tuple[int, ...]) -> Maps:
    """Maps of the working grid at the size of the label."""
    return {name: to_size(value.cpu().numpy(), size) for name, value in maps.items()}


def anomaly_maps(world: OpenWorldModel, encoding: Encoding, names: Sequence[str]) -> dict[str, Float[Tensor, "H W"]]:
    """The world's scores, and `raml_mca`."""
    for name in names:
        if name != META_REGIONS:
            check_name(name, world.score_names(), world.known.states)
    maps = world.scores(encoding, [name for name in names if name != META_REGIONS])
    if META_REGIONS in names:
        reading = world.branch("paper").read(encoding)
        proposer = MetaChannelRegions(world.known.recipe.min_area)
        regions = proposer(reading.channels, reading.channels.new_ones(len(reading.channels)).bool(), reading.size)
        maps[META_REGIONS] = uncertainty(encoding, world.known, "paper", regions)
    return maps


def measure_incremental(workshop: Workshop, cells: Sequence[IncrementalCell], done: Done) -> None:
    """Every method of `cells`, all around the same network, whatever was taught and from which shots."""
    split = cells[0].split
    teacher, images = Teacher(workshop, split), workshop.setting.evaluate(split)
    worlds = _taught(workshop, teacher, cells, done)
    cells = list(worlds)
    if not cells:
        return
    ground = workshop.setting.ground
    splits = {name: ground.parsed(name) for name in dict.fromkeys(cell.split for cell in cells)}
    states = {cell: _empty(splits[cell.split]) for cell in cells}
    bases = {cell: (cell.split, *worlds[cell].base(cell.method)) for cell in cells}
    before = {base: _empty(splits[base[0]]) for base in bases.values()}
    first = {base: cell for cell, base in reversed(bases.items())}
    network = workshop.metric_network(split) if {cell.method for cell in cells} & set(METRIC_METHODS) else None
    base, started = workshop.base(split), time.monotonic()
    with workshop.bar(f"known and learnt classes, {ground.shown(split)}", len(images)) as bar:
        for sample, stored in labelled(images, np.arange(256, dtype=np.uint8)):
            seen = SeenImage(base, sample.image, network)
            labels = {name: one.world_lut()[stored] for name, one in splits.items()}
            for place, state in before.items():
                found = worlds[first[place]].known_labels(seen, first[place].method)
                state.update(labels[place[0]], resize_label(found, labels[place[0]].shape))
            for cell, state in states.items():
                found = worlds[cell].labels(seen, cell.method, cell.variant.theta, cell.variant.gated)
                state.update(labels[cell.split], resize_label(found, labels[cell.split].shape))
            bar.update()
    seconds = (time.monotonic() - started) / len(cells)
    for cell, state in states.items():
        shots = {name: list(used) for name, used in teacher.shots(splits[cell.split], lesson_of(cell)).items()}
        done(cell, learnt(state, before[bases[cell]]) | {"shots": shots}, seconds)


def _taught(
    workshop: Workshop, teacher: Teacher, cells: Sequence[IncrementalCell], done: Done
) -> dict[IncrementalCell, TaughtWorld]:
    """The taught world of each cell; cells of the same teaching share it.

    Without those that cannot be taught, as where a class has too few images: their reason is given at once.
    """
    groups: dict[Any, list[IncrementalCell]] = {}
    for cell in cells:
        groups.setdefault(lesson_of(cell), []).append(cell)
    worlds: dict[IncrementalCell, TaughtWorld] = {}
    with workshop.bar("teaching", len(groups), "lesson") as bar:
        for lesson, members in groups.items():
            methods = [cell.method for cell in members]
            try:
                taught = teacher.taught(lesson, methods, any(cell.variant.gated for cell in members))
                worlds |= dict.fromkeys(members, taught)
            except InputError as error:
                for cell in members:
                    done(cell, {"reason": str(error)}, 0.0)
            bar.update()
    return worlds


def _empty(split: ClassSplit) -> SegmentationMetrics:
    return SegmentationMetrics(split.world_taxonomy, len(split.known))
