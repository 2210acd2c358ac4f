"""Estimates the remaining time: trainings by the pixels of their crops, measuring by images and methods."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ignota.perception.branch import METRIC_METHODS
from ignota.reproduce.cells import AnomalyCell, Cell, IncrementalCell, Variant
from ignota.reproduce.example import SPLIT
from ignota.reproduce.figures import FIGURES
from ignota.reproduce.runner import Reproduction
from ignota.reproduce.taught_worlds import systems_of
from ignota.reproduce.workshop import RAML, Workshop
from ignota.scores.dml import METRIC_SCORES
from ignota.training.configuration import ExperimentConfig
from ignota.training.stage_run import RECORD, StageFolder

TRAIN, READ = 3.5, 1.2
"""Core-seconds for a megapixel, forwards and backwards or forwards alone, of a segmenter on an EfficientNet-Lite0."""
FIT, MAP, LABEL = 4.0, 3.0, 0.15
"""Core-seconds of fitting a world for one image, of one score at five scales, and of one method's labels."""


@dataclass(frozen=True)
class Estimate:
    """Core-seconds."""

    training: float
    measuring: float

    def __str__(self) -> str:
        cores = os.cpu_count() or 1
        total = (self.training + self.measuring) / 3600
        return (
            f"about {total:.1f} core-hours are left, {self.training / 3600:.1f} of training and "
            f"{self.measuring / 3600:.1f} of measuring: {total / cores:.1f} hours on the {cores} cores here; "
            "a stopped call goes on where it was"
        )


def estimate(reproduction: Reproduction, names: Sequence[str]) -> Estimate:
    """What `names` still need; finished trainings and measured cells cost nothing."""
    cells, shop = reproduction.missing(names), reproduction.workshop
    needs: dict[str, float] = {}
    for cell in cells:
        needs |= _networks(shop, _split_of(shop, cell))
        needs |= _own(shop, cell)
    if set(names) & {*FIGURES, "table-d"} - {"figure-7"}:
        needs |= _networks(shop, SPLIT) | _dmlnet(shop, SPLIT)
        for system in RAML:
            needs |= _branch(shop, SPLIT, Variant(), system)
    return Estimate(sum(needs.values()), _measuring(reproduction, cells))


def _split_of(shop: Workshop, cell: Cell) -> str:
    if isinstance(cell, AnomalyCell):
        return shop.setting.ground.anomaly_sets[cell.place].closed
    return cell.split


def _networks(shop: Workshop, split: str) -> dict[str, float]:
    """The closed set of a split and the world around it."""
    config, place = shop.config(split), shop.place(split)
    needs = {}
    if not (place / "stages" / "closed_set").exists() and not shop.is_given(split):
        needs[f"{place}/closed_set"] = TRAIN * _megapixels(config, config.closed_set.steps, config.closed_set.batch)
    if not (place / "world").exists():
        needs[f"{place}/world"] = FIT * config.fit.images
    return needs


def _own(shop: Workshop, cell: Cell) -> dict[str, float]:
    """The branches that a cell runs on."""
    split = _split_of(shop, cell)
    if isinstance(cell, IncrementalCell):
        if cell.method in METRIC_METHODS:
            return _dmlnet(shop, split)
        needs: dict[str, float] = {}
        for system in systems_of([cell.method]):
            needs |= _branch(shop, split, cell.variant, system)
        return needs
    if isinstance(cell, AnomalyCell):
        if cell.score in METRIC_SCORES:
            return _dmlnet(shop, split)
        if cell.score in ("raml_mca", "meta_mass"):
            return _branch(shop, split, cell.variant, "paper")
    return {}


def _branch(shop: Workshop, split: str, variant: Variant, system: str) -> dict[str, float]:
    second, third = shop.branch_folders(split, variant, system)
    config = shop.config(split)
    own, embedder = config.meta_channels, config.region_embedder
    return _unless_finished(second, TRAIN * _megapixels(config, own.steps, own.batch)) | _unless_finished(
        third, READ * _megapixels(config, embedder.steps, embedder.batch)
    )


def _dmlnet(shop: Workshop, split: str) -> dict[str, float]:
    config, place = shop.config(split), shop.place(split) / "stages" / "metric_network"
    own = config.metric_network
    steps = own.steps if own.fine_tune else config.closed_set.steps
    cost = TRAIN * _megapixels(config, steps, config.closed_set.batch)
    return {} if (place / RECORD).exists() else {str(place): cost}


def _unless_finished(folder: StageFolder, cost: float) -> dict[str, float]:
    return {} if folder.finished() is not None else {str(folder.path): cost}


def _megapixels(config: ExperimentConfig, steps: int, batch: int) -> float:
    height, width = config.closed_set.crop
    return steps * batch * height * width / 1e6


def _measuring(reproduction: Reproduction, cells: Sequence[Cell]) -> float:
    """Each kind of cell costs the same on every image of its set."""
    setting, shop = reproduction.setting, reproduction.workshop
    maps = Counter(cell.place for cell in cells if isinstance(cell, AnomalyCell))
    labels = Counter(_split_of(shop, cell) for cell in cells if not isinstance(cell, AnomalyCell))
    return sum(MAP * count * len(setting.anomalies(place)) for place, count in maps.items()) + sum(
        LABEL * count * len(setting.evaluate(split)) for split, count in labels.items()
    )
