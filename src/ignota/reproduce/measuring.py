"""Measures many cells in one pass: every image passes the networks once, whatever asks for it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from ignota.anomaly.dml import METRIC_SCORES
from ignota.anomaly.fitted_scores import FITTED_SCORES
from ignota.anomaly.logit_scores import LOGIT_SCORES
from ignota.data.images import resize_label
from ignota.engine.component_reading import to_size
from ignota.engine.evaluation import anomaly_label_lut, evaluate_closed_set
from ignota.engine.five_scales import FiveScales, Maps, five_scale_metric_maps
from ignota.engine.lessons import learnt
from ignota.metrics.anomaly import AnomalyMetrics
from ignota.metrics.segmentation import SegmentationMetrics
from ignota.regions.proposals import MetaChannelRegions
from ignota.reproduce.cells import AnomalyCell, ClosedCell, IncrementalCell, Variant
from ignota.reproduce.pupils import Pupil, School, lesson_of
from ignota.reproduce.workshop import Workshop
from ignota.structures import Encoding, InputError, Sample
from ignota.taxonomy import ClassSplit
from ignota.world.composing import check_name
from ignota.world.metric_network import METRIC_METHODS
from ignota.world.model import OpenWorldModel, closed_labels
from ignota.world.reading import OWN, PRINTED, RELEASED, score_names, uncertainty

Done = Callable[[Any, dict[str, Any], float], None]
"""Is told of each measured cell, its figures and its seconds."""

META_REGIONS = "raml_mca"
"""Q of Equation 5 over the regions of all meta channels in place of URS's."""
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
        *METRIC_SCORES,
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
        for i in range(len(images)):
            sample = images[i]
            label = lut[_label(sample, images.name)]
            encoding, scales = base.encode(sample.image), FiveScales.of(base.networks, sample.image, label.shape)
            maps: Maps = {}
            scaled: Maps = {}
            for variant, world in worlds.items():
                numbers = {cell.score: str(n) for n, cell in enumerate(cells) if cell.variant == variant}
                names = [name for name in numbers if name not in METRIC_SCORES]
                found = _single(anomaly_maps(world, encoding, names), label.shape)
                five = scales.maps(names, partial(anomaly_maps, world))
                if network is not None and len(names) < len(numbers):
                    own = [name for name in numbers if name in METRIC_SCORES]
                    found |= _single(network.scores(network.encode(sample.image), own), label.shape)
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
            check_name(name, score_names(world.known), world.known.states)
    maps = world.scores(encoding, [name for name in names if name != META_REGIONS])
    if META_REGIONS in names:
        channels = world.networks.channels(encoding, "released")
        size = (encoding.image.shape[0], encoding.image.shape[1])
        proposer = MetaChannelRegions(world.known.recipe.min_area)
        regions = proposer(channels, channels.new_ones(len(channels)).bool(), size)
        maps[META_REGIONS] = uncertainty(encoding, world.known, "paper", regions)
    return maps


def measure_incremental(workshop: Workshop, cells: Sequence[IncrementalCell], done: Done) -> None:
    """Every method of `cells`, all around the same network, whatever was taught and from which shots."""
    split = cells[0].split
    school, images = School(workshop, split), workshop.setting.evaluate(split)
    pupils = _pupils(workshop, school, cells, done)
    cells = list(pupils)
    if not cells:
        return
    ground = workshop.setting.ground
    splits = {name: ground.parsed(name) for name in dict.fromkeys(cell.split for cell in cells)}
    states = {cell: _empty(splits[cell.split]) for cell in cells}
    before = {name: _empty(one) for name, one in splits.items()}
    network = workshop.metric_network(split) if {cell.method for cell in cells} & set(METRIC_METHODS) else None
    base, started = workshop.base(split), time.monotonic()
    with workshop.bar(f"known and learnt classes, {ground.shown(split)}", len(images)) as bar:
        for i in range(len(images)):
            sample = images[i]
            encoding = base.encode(sample.image)
            tables, closed = base.tables(encoding), closed_labels(encoding)
            labels = {name: one.world_lut()[_label(sample, images.name)] for name, one in splits.items()}
            for name, state in before.items():
                state.update(labels[name], resize_label(closed, labels[name].shape))
            seen = None if network is None else network.encode(sample.image)
            for cell, state in states.items():
                found = pupils[cell].labels(encoding, tables, closed, cell.method, cell.variant.gated, seen)
                state.update(labels[cell.split], resize_label(found, labels[cell.split].shape))
            bar.update()
    seconds = (time.monotonic() - started) / len(cells)
    for cell, state in states.items():
        shots = {name: list(used) for name, used in school.shots(splits[cell.split], lesson_of(cell)).items()}
        done(cell, learnt(state, before[cell.split]) | {"shots": shots}, seconds)


def _pupils(
    workshop: Workshop, school: School, cells: Sequence[IncrementalCell], done: Done
) -> dict[IncrementalCell, Pupil]:
    """The pupil of each cell; cells that look at the same one share it, and those that differ in θ share its shots.

    Without those that cannot be taught, as where a class has too few images: their reason is told at once.
    """
    groups: dict[Any, list[IncrementalCell]] = {}
    for cell in cells:
        lesson = lesson_of(cell)
        groups.setdefault(dataclasses.replace(lesson, variant=_plain(lesson.variant)), []).append(cell)
    pupils: dict[IncrementalCell, Pupil] = {}
    with workshop.bar("teaching", len(groups), "lesson") as bar:
        for lesson, members in groups.items():
            methods = [cell.method for cell in members]
            bar.update()
            try:
                taught = school.pupil(lesson, methods, any(cell.variant.gated for cell in members))
            except InputError as error:
                for cell in members:
                    done(cell, {"reason": str(error)}, 0.0)
                continue
            for cell in members:
                pupils[cell] = taught if cell.variant.theta is None else _at(taught, cell.variant.theta)
    return pupils


def _empty(split: ClassSplit) -> SegmentationMetrics:
    return SegmentationMetrics(split.world_taxonomy, len(split.known))


def _plain(variant: Variant) -> Variant:
    return dataclasses.replace(variant, theta=None)


def _at(pupil: Pupil, theta: float) -> Pupil:
    """The same pupil with another θ_novel."""
    known = pupil.world.known
    known = dataclasses.replace(known, recipe=dataclasses.replace(known.recipe, theta=theta))
    return dataclasses.replace(pupil, world=dataclasses.replace(pupil.world, known=known))


def _label(sample: Sample, name: str) -> UInt8[np.ndarray, "H W"]:
    if sample.label is None:
        raise InputError(f"{sample.key} of {name} has no label to measure against")
    return sample.label
