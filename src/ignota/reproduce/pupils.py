"""Worlds that were taught: from which shots, and how each method then labels an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, UInt8

from ignota.data.datasets import LabelledImages
from ignota.data.shots import Shots
from ignota.engine.fitting import split_images
from ignota.engine.harvest import training_label
from ignota.engine.head_methods import HEAD_METHODS, TrainedHeads, train_heads
from ignota.engine.metric_methods import MetricLesson, learn_metric_methods
from ignota.incremental.metric_methods import MetricEncoding
from ignota.reproduce.cells import IncrementalCell, Variant
from ignota.reproduce.workshop import Workshop
from ignota.structures import Encoding
from ignota.taxonomy import IGNORE_INDEX, ClassSplit
from ignota.world.labelling import label_maps, meta_regions, region_labels
from ignota.world.metric_network import METRIC_METHODS, MetricNetwork
from ignota.world.model import OpenWorldModel
from ignota.world.reading import uncertainty
from ignota.world.scene import Tables
from ignota.world.teaching import prepare

URS = {"raml_urs": "paper", "raml_urs_released": "released"}
"""Methods that take URS's regions, by the space of D that names them."""
PRESET = {"raml_paper": "paper", "raml_released": "released"}
_MOST_SHOTS = 24
"""Encoded shots that are kept for the next pupil."""
_FOR_GATES = 8
"""How many training images set the threshold of the anomaly map."""


@dataclass(frozen=True)
class Lesson:
    """What a pupil was taught: the novel classes of a split, each from some shots, see `IncrementalCell`."""

    split: str
    shots: int
    draw: int | None
    variant: Variant
    min_share: float = 0.0


@dataclass
class Pupil:
    """A taught world, and what other methods learnt from the very same shots: label predictors on frozen features, and
    NPM, PLM and FT on DMLNet's network, where they are asked for."""

    world: OpenWorldModel
    heads: TrainedHeads | None
    gates: dict[str, float]
    network: MetricNetwork | None = None
    metric: MetricLesson | None = None

    def labels(
        self,
        encoding: Encoding,
        tables: Tables,
        closed: UInt8[np.ndarray, "H W"],
        method: str,
        gated: bool,
        seen: MetricEncoding | None = None,
    ) -> UInt8[np.ndarray, "H W"]:
        """World ids on the working grid by one method. seen: what DMLNet's network gives, for its methods."""
        if method == "closed":
            return closed
        if method == "raml":
            return self.world.scene(encoding, tables).working_labels
        if method in METRIC_METHODS:
            assert self.metric is not None and seen is not None
            return self.metric.label_maps(seen, (method,))[method]
        if method in HEAD_METHODS:
            assert self.heads is not None
            return self.heads.label_maps(encoding, (method,))[method]
        if method in URS:
            regions = self.world.known.recipe.urs(encoding.image, encoding.logits)
            return region_labels(self.world, encoding, closed, URS[method], regions)
        if method in PRESET:
            within = self.unknown(encoding, PRESET[method]) if gated else None
            regions = meta_regions(self.world, encoding, PRESET[method], within)
            return region_labels(self.world, encoding, closed, PRESET[method], regions)
        return label_maps(self.world, encoding, (method,))[method]

    def unknown(self, encoding: Encoding, space: str) -> Bool[np.ndarray, "H W"]:
        """Where Q of Equation 5 says that something is unknown."""
        return uncertainty(encoding, self.world.known, space).cpu().numpy() > self.gates[space]


@dataclass
class School:
    """Teaches pupils on the training images of one network; encodings of shots are shared between them."""

    workshop: Workshop
    split: str
    train: LabelledImages = field(init=False)
    _seen: dict[int, tuple[Encoding, Tables]] = field(init=False, default_factory=dict)
    _gates: dict[tuple[Variant, str], float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.train = self.workshop.setting.train(self.split)

    def pupil(self, lesson: Lesson, methods: Sequence[str], gated: bool = False) -> Pupil:
        """The world of the lesson's variant, taught all its classes in order."""
        split = self.workshop.setting.ground.parsed(lesson.split)
        world = self.workshop.world(self.split, lesson.variant)
        chosen = self.shots(split, lesson)
        for class_id in split.novel:
            label = split.taxonomy.classes[class_id]
            seen = [self._encoded(i) for i in chosen[label.name]]
            masks = [self.train.load_label(i) == class_id for i in chosen[label.name]]
            pairs = [(encoding, mask) for (encoding, _), mask in zip(seen, masks, strict=True)]
            rows = [example.row for example in prepare(world, label.name, pairs, seen=seen)]
            world.store.add(label.name, label.colour, rows, "")
        world.refresh()
        heads = network = metric = None
        if set(methods) & {*HEAD_METHODS, *METRIC_METHODS}:
            support = {split.taxonomy.id_of(name): [self.train[i] for i in found] for name, found in chosen.items()}
            if set(methods) & set(HEAD_METHODS):
                heads = train_heads(world, support, methods)
            if set(methods) & set(METRIC_METHODS):
                network = self.workshop.metric_network(self.split)
                metric = learn_metric_methods(network, support, methods)
        gates = {space: self._gate(lesson.variant, space) for space in PRESET.values()} if gated else {}
        return Pupil(world, heads, gates, network, metric)

    def shots(self, split: ClassSplit, lesson: Lesson) -> dict[str, tuple[int, ...]]:
        """Which training images teach each novel class: those where it is largest, or random ones."""
        areas, wanted = self.workshop.areas(self.split), Shots(lesson.shots, lesson.draw, lesson.min_share)
        return {
            split.taxonomy.classes[class_id].name: wanted.choose(self.train, class_id, areas[class_id], areas.sum(0))
            for class_id in split.novel
        }

    def _gate(self, variant: Variant, space: str) -> float:
        """What Q exceeds on a share `target_fpr` of the labelled pixels of some held-out training images."""
        variant = dataclasses.replace(variant, theta=None)
        if (variant, space) not in self._gates:
            world, stages = self.workshop.world(self.split, variant), self.workshop.stages(self.split)
            lut, values = stages.split.training_lut(), []
            for i in split_images(stages.images, stages.config.fit.held_out)[1][-_FOR_GATES:]:
                sample = self.train[i]
                encoding = world.encode(sample.image)
                found = uncertainty(encoding, world.known, space).cpu().numpy()
                values.append(found[training_label(sample, lut, found.shape) != IGNORE_INDEX])
            self._gates[variant, space] = float(np.quantile(np.concatenate(values), 1 - world.known.recipe.target_fpr))
        return self._gates[variant, space]

    def _encoded(self, index: int) -> tuple[Encoding, Tables]:
        if index not in self._seen:
            if len(self._seen) >= _MOST_SHOTS:
                self._seen.pop(next(iter(self._seen)))
            base = self.workshop.base(self.split)
            encoding = base.encode(self.train[index].image)
            self._seen[index] = encoding, base.tables(encoding)
        return self._seen[index]


def lesson_of(cell: IncrementalCell) -> Lesson:
    """The pupil that a cell looks at; θ_novel and the gate change nothing about what is taught."""
    variant = dataclasses.replace(cell.variant, gated=False)
    return Lesson(cell.split, cell.shots, cell.draw, variant, cell.min_share)
