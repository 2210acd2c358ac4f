"""Measures few-shot learning: copies of a world are taught by one or several draws of exemplars, then label images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ignota.data.datasets import LabelledImages, labelled
from ignota.data.images import resize_label
from ignota.data.shots import Shots
from ignota.evaluation.evaluation import Watcher, teach, untaught_copy, world_split
from ignota.evaluation.few_shot_methods import (
    HEAD_METHODS,
    MetricLesson,
    TrainedHeads,
    learn_metric_methods,
    train_heads,
)
from ignota.incremental.metric_methods import MetricEncoding
from ignota.metrics.segmentation import SegmentationMetrics
from ignota.perception.branch import METRIC_METHODS
from ignota.structures import Encoding, InputError
from ignota.taxonomy import ClassSplit, nearest
from ignota.world.labelling import SYSTEM_OF, label_maps, systems_of
from ignota.world.model import OpenWorldModel


def evaluate_incremental(
    world: OpenWorldModel,
    dataset: LabelledImages,
    support: LabelledImages,
    methods: Sequence[str],
    shots: int | Sequence[Shots],
    watch: Watcher | None = None,
    novel: Sequence[str] = (),
) -> dict[str, Any]:
    """Learns novel classes from `shots` images each of `support` on a copy of the world, then measures on `dataset`.

    shots: one draw or several; of several the figures are means, with their standard deviations beside. novel: the
    classes to be taught, the other novel ones being void; by default all. Raises InputError.
    """
    return measure_incremental(world, dataset, support, methods, shots, watch, novel).figures()


@dataclasses.dataclass
class IncrementalState:
    """What some images of a data set showed of worlds that were taught. States that saw different images add up.

    before: what the known labels alone said, by `closed` for the closed set and `closed:SYSTEM` for a branch.
    `lessons`: of each draw the keys of its exemplars and a state of each method.
    """

    dataset: str
    shots: int
    images: int
    before: dict[str, SegmentationMetrics]
    lessons: list[tuple[dict[str, list[str]], dict[str, SegmentationMetrics]]]

    def merge(self, other: IncrementalState) -> None:
        """Adds what another state saw. Raises ValueError where that one was taught by other exemplars or methods."""
        if [(used, list(states)) for used, states in self.lessons] != [(u, list(s)) for u, s in other.lessons]:
            raise ValueError("cannot merge what was learnt from other exemplars or by other methods")
        self.images += other.images
        for name, state in self.before.items():
            state.merge(other.before[name])
        for (_, ours), (_, theirs) in zip(self.lessons, other.lessons, strict=True):
            for name, state in ours.items():
                state.merge(theirs[name])

    def figures(self) -> dict[str, Any]:
        """What `evaluate_incremental` gives."""
        found = [
            {
                name: learnt(state, self.before[base_of(name)]) | {"stolen": state.stolen()}
                for name, state in states.items()
            }
            for _, states in self.lessons
        ]
        methods = list(found[0])
        figures = {name: _over_draws([each[name] for each in found]) for name in methods}
        first = figures["raml" if "raml" in figures else methods[0]]
        head = {"dataset": self.dataset, "shots": self.shots, "draws": len(self.lessons), "images": self.images}
        used = [used for used, _ in self.lessons]
        return {**head, **first, "methods": figures, "support": used[0] if len(used) == 1 else used}


def measure_incremental(
    world: OpenWorldModel,
    dataset: LabelledImages,
    support: LabelledImages,
    methods: Sequence[str],
    shots: int | Sequence[Shots],
    watch: Watcher | None = None,
    novel: Sequence[str] = (),
) -> IncrementalState:
    """`evaluate_incremental` before its figures are read off."""
    if dataset.taxonomy is None or support.taxonomy is None:
        raise InputError(f"{dataset.name} has no classes, only anomalies: use `ignota evaluate anomaly`")
    split = narrowed(world_split(world, dataset.taxonomy), novel)
    if not split.novel:
        raise InputError(f"every class of {dataset.name} is known to this world: there is nothing to learn from it")
    draws = [Shots(shots)] if isinstance(shots, int) else list(shots)
    lessons = [_TaughtCopy.taught(world, support, split, draw, methods) for draw in draws]
    metric = world.branches.metric_network(world.networks, methods)
    lut = split.world_lut()
    bases = dict.fromkeys(("closed", *(base_of(name) for name in methods)))
    before = {name: SegmentationMetrics(split.world_taxonomy, len(split.known)) for name in bases}
    for sample, label in labelled(dataset, lut):
        encoding = world.encode(sample.image)
        seen = None if metric is None else metric.encode(sample.image)
        for n, lesson in enumerate(lessons):
            found = lesson.label_maps(encoding, seen, methods)
            maps = {name: resize_label(value, label.shape) for name, value in found.items()}
            for name, state in lesson.states.items():
                state.update(label, maps[name])
            if n == 0:
                for name, state in before.items():
                    state.update(label, maps[name])
                if watch is not None:
                    watch(sample, {"maps": maps, "label": label})
    done = [(lesson.used, lesson.states) for lesson in lessons]
    return IncrementalState(dataset.name, draws[0].count, len(dataset), before, done)


def narrowed(split: ClassSplit, novel: Sequence[str]) -> ClassSplit:
    """The split with the named novel classes alone; raises InputError for one that is not novel."""
    names = {split.taxonomy.classes[i].name: i for i in split.novel}
    novel = tuple(dict.fromkeys(novel))
    for name in novel:
        if name not in names:
            raise InputError(f"{name!r} is no novel class of this world{nearest(name, list(names))}")
    return dataclasses.replace(split, novel=tuple(names[name] for name in novel)) if novel else split


@dataclasses.dataclass(frozen=True)
class _TaughtCopy:
    """A copy of the world that was taught, what other methods learnt from the same exemplars, and a state of each."""

    world: OpenWorldModel
    heads: TrainedHeads | None
    metric: MetricLesson | None
    used: dict[str, list[str]]
    states: dict[str, SegmentationMetrics]

    @classmethod
    def taught(
        cls,
        world: OpenWorldModel,
        support: LabelledImages,
        split: ClassSplit,
        shots: Shots,
        methods: Sequence[str],
    ) -> _TaughtCopy:
        copy = untaught_copy(world, systems_of(methods))
        used = teach(copy, support, split, shots)
        place = {key: i for i, key in enumerate(support.keys)}
        heads = lesson = None
        if set(methods) & {*HEAD_METHODS, *METRIC_METHODS}:
            classes = {split.taxonomy.id_of(name): [support[place[key]] for key in keys] for name, keys in used.items()}
            if set(methods) & set(HEAD_METHODS):
                heads = train_heads(copy, classes, methods, shots.seed or 0)
            metric = world.branches.metric_network(world.networks, methods)
            if metric is not None:
                lesson = learn_metric_methods(metric, classes, methods, shots.seed or 0)
        states = {name: SegmentationMetrics(split.world_taxonomy, len(split.known)) for name in methods}
        return cls(copy, heads, lesson, used, states)

    def label_maps(
        self, encoding: Encoding, metric: MetricEncoding | None, methods: Sequence[str]
    ) -> dict[str, UInt8[np.ndarray, "H W"]]:
        """World ids on the working grid by every method, and `closed`. metric: what DMLNet's network gives."""
        others = (*HEAD_METHODS, *METRIC_METHODS)
        maps = label_maps(self.world, encoding, [name for name in methods if name not in others])
        if self.heads is not None:
            maps |= self.heads.label_maps(encoding, methods)
        if self.metric is not None and metric is not None:
            maps |= {"closed:dmlnet": metric.known} | self.metric.label_maps(metric, methods)
        return maps


def base_of(method: str) -> str:
    """Whose known labels a method starts from, by their name among the label maps."""
    system = "dmlnet" if method in METRIC_METHODS else SYSTEM_OF.get(method)
    return "closed" if system is None else f"closed:{system}"


def learnt(state: SegmentationMetrics, before: SegmentationMetrics) -> dict[str, Any]:
    """What a world that was taught is measured by; before: what the closed set alone said of the same images."""
    found = state.compute()
    return {
        "miou": found["miou"],
        "iou": found["iou"],
        "old_before": before.old_without_novel_pixels,
        "old_after": state.old_without_novel_pixels,
    }


def _over_draws(draws: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One draw as it is; of several the means, and the standard deviations under `std`."""
    if len(draws) == 1:
        return draws[0]
    return {**_over(draws, np.mean), "std": _over([_without_counts(draw) for draw in draws], np.std)}


def _without_counts(draw: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in draw.items() if key != "stolen"}


def _over(values: Sequence[Any], statistic: Any) -> Any:
    """A statistic over draws of every number in a nested dict; None where a draw has none."""
    if isinstance(values[0], dict):
        return {key: _over([value[key] for value in values], statistic) for key in values[0]}
    return None if any(value is None for value in values) else float(statistic(values))
