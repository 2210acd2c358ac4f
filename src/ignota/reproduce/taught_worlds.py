"""Taught worlds: the shots they learnt from, and how each method then labels an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from ignota.data.datasets import LabelledImages
from ignota.data.shots import Shots
from ignota.evaluation.few_shot_methods import (
    HEAD_METHODS,
    MetricLesson,
    TrainedHeads,
    learn_metric_methods,
    train_heads,
)
from ignota.incremental.metric_methods import MetricEncoding
from ignota.perception.branch import METRIC_METHODS, Branch, BranchReading, MetricNetwork
from ignota.perception.perception import closed_labels
from ignota.perception.raml import (
    RULES,
    BranchEvidence,
    IncrementalRule,
    branch_evidence,
    candidate_regions,
    named_regions,
    region_similarities,
)
from ignota.perception.reading import uncertainty
from ignota.perception.scene import Tables
from ignota.reproduce.cells import IncrementalCell, Variant
from ignota.reproduce.workshop import Workshop
from ignota.structures import Encoding, RegionSet
from ignota.taxonomy import IGNORE_INDEX, ClassSplit
from ignota.training.embedder_run import training_label
from ignota.training.fitting import split_images
from ignota.world.labelling import label_maps
from ignota.world.model import OpenWorldModel
from ignota.world.teaching import prepare

URS = {"raml_urs": "raml_paper", "raml_urs_released": "raml_released"}
"""Methods that take URS's regions, by the method whose rule names them."""
_MOST_SHOTS = 24
"""Encoded shots that are kept for the next world."""
_FOR_GATES = 8
"""How many training images set the threshold of the anomaly map."""


def rule_of(method: str) -> IncrementalRule | None:
    """How a method on a branch finds and names regions; None for a method that runs elsewhere."""
    return RULES.get(URS.get(method, method))


def systems_of(methods: Sequence[str]) -> tuple[str, ...]:
    """The branches of RAML that the methods run on."""
    rules = (rule_of(method) for method in methods)
    return tuple(dict.fromkeys(rule.system for rule in rules if rule is not None))


@dataclass(frozen=True)
class Lesson:
    """What a world is taught: the novel classes of a split, each from some shots, see `IncrementalCell`."""

    split: str
    shots: int
    draw: int | None
    variant: Variant
    min_share: float = 0.0


@dataclass
class SeenImage:
    """What the networks give of one image, each read once for all methods and worlds that share a network.

    network: DMLNet's, where one of its methods is asked for.
    """

    world: OpenWorldModel
    image: UInt8[np.ndarray, "H W 3"]
    network: MetricNetwork | None = None
    _kept: dict[tuple[Any, ...], Any] = field(init=False, default_factory=dict)

    @cached_property
    def encoding(self) -> Encoding:
        return self.world.encode(self.image)

    @cached_property
    def tables(self) -> Tables:
        return self.world.tables(self.encoding)

    @cached_property
    def closed(self) -> UInt8[np.ndarray, "H W"]:
        """The closed set's labels on the working grid."""
        return closed_labels(self.encoding)

    @cached_property
    def metric(self) -> MetricEncoding:
        """What DMLNet's network gives."""
        assert self.network is not None
        return self.network.read(self.encoding)

    def read(self, branch: Branch) -> BranchReading:
        """What a branch makes of the image; branches that differ in D alone share it."""
        found: BranchReading = self.once(("reading", id(branch.head)), lambda: branch.read(self.encoding))
        return found

    def urs(self, world: OpenWorldModel) -> RegionSet:
        """The regions of Section 3.2."""
        proposer = world.known.recipe.urs
        found: RegionSet = self.once(("urs", proposer), lambda: proposer(self.encoding.image, self.encoding.logits))
        return found

    def once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What `make` gives, kept under `key`."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


@dataclass
class TaughtWorld:
    """A taught world, and what other methods learnt from the very same shots: label predictors on frozen features, and
    NPM, PLM and FT on DMLNet's network, where they are asked for. gates: of Q, by the name of its space."""

    world: OpenWorldModel
    heads: TrainedHeads | None = None
    gates: dict[str, float] = field(default_factory=dict)
    network: MetricNetwork | None = None
    metric: MetricLesson | None = None
    _evidence: dict[str, BranchEvidence] = field(init=False, default_factory=dict)

    def labels(
        self, seen: SeenImage, method: str, theta: float | None = None, gated: bool = False
    ) -> UInt8[np.ndarray, "H W"]:
        """World ids on the working grid by one method. theta: in place of the method's own."""
        rule = rule_of(method)
        if rule is not None:
            branch, reading, evidence = self.on_branch(seen, rule.system)
            if theta is not None:
                rule = dataclasses.replace(rule, theta=theta)
            return named_regions(branch, reading, self.candidates(seen, method, gated), evidence, rule)
        if method == "closed":
            return seen.closed
        if method == "raml":
            return self.world.scene(seen.encoding, seen.tables).working_labels
        if method in METRIC_METHODS:
            assert self.metric is not None
            return self.metric.label_maps(seen.metric, (method,))[method]
        if method in HEAD_METHODS:
            assert self.heads is not None
            return self.heads.label_maps(seen.encoding, (method,))[method]
        return label_maps(self.world, seen.encoding, (method,))[method]

    def base(self, method: str) -> tuple[str, int]:
        """Whose known labels a method starts from: equal for methods and worlds that share them."""
        rule = rule_of(method)
        if rule is not None:
            return rule.system, id(self.world.branch(rule.system).head)
        return ("dmlnet" if method in METRIC_METHODS else "closed"), 0

    def known_labels(self, seen: SeenImage, method: str) -> UInt8[np.ndarray, "H W"]:
        """The known labels that a method starts from: the closed set's, or those of its own branch."""
        rule = rule_of(method)
        if rule is not None:
            return seen.read(self.world.branch(rule.system)).known
        return seen.metric.known if method in METRIC_METHODS else seen.closed

    def on_branch(self, seen: SeenImage, system: str) -> tuple[Branch, BranchReading, BranchEvidence]:
        """A branch, what it makes of the image, and what it knows of the taught classes."""
        branch = self.world.branch(system)
        if system not in self._evidence:
            self._evidence[system] = branch_evidence(branch, self.world.store.exemplars())
        return branch, seen.read(branch), self._evidence[system]

    def candidates(self, seen: SeenImage, method: str, gated: bool = False) -> RegionSet:
        """The candidate regions of a method on a branch, on the working grid. gated: within the unknown alone."""
        if method in URS:
            return seen.urs(self.world)
        rule = RULES[method]
        _, reading, evidence = self.on_branch(seen, rule.system)

        def found() -> RegionSet:
            within = self.unknown(seen.encoding, rule.system) if gated else None
            return candidate_regions(reading, evidence, rule, within)

        regions: RegionSet = seen.once(("candidates", id(self), method, gated), found)
        return regions

    def similarities(self, seen: SeenImage, method: str) -> np.ndarray:
        """ "R K": the cosine of each candidate region to each taught class, Equation 11."""
        rule = RULES[method]
        branch, reading, evidence = self.on_branch(seen, rule.system)
        regions = self.candidates(seen, method)
        return np.asarray(region_similarities(branch, reading, regions, evidence, rule.features).cpu().numpy())

    def unknown(self, encoding: Encoding, space: str) -> Bool[np.ndarray, "H W"]:
        """Where Q of Equation 5 says that something is unknown."""
        return uncertainty(encoding, self.world.known, space).cpu().numpy() > self.gates[space]


@dataclass
class Teacher:
    """Teaches worlds on the training images of one network; encodings of shots are shared between them."""

    workshop: Workshop
    split: str
    train: LabelledImages = field(init=False)
    _seen: dict[int, tuple[Encoding, Tables]] = field(init=False, default_factory=dict)
    _gates: dict[tuple[Variant, str], float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.train = self.workshop.setting.train(self.split)

    def taught(self, lesson: Lesson, methods: Sequence[str], gated: bool = False) -> TaughtWorld:
        """The world of the variant, taught all classes in order, by the branches that `methods` need."""
        split, systems = self.workshop.setting.ground.parsed(lesson.split), systems_of(methods)
        anomaly = lesson.variant if gated else without_anomaly(lesson.variant)
        world = self.workshop.world(self.split, anomaly)
        branches = self.workshop.branches(self.split, lesson.variant)
        world = dataclasses.replace(world, branches=branches, exemplar_branches=systems)
        chosen = self.shots(split, lesson)
        for class_id in split.novel:
            label = split.taxonomy.classes[class_id]
            seen = [self._encoded(i) for i in chosen[label.name]]
            masks = [self.train.load_label(i) == class_id for i in chosen[label.name]]
            pairs = [(encoding, mask) for (encoding, _), mask in zip(seen, masks, strict=True)]
            rows = [example.row for example in prepare(world, label.name, pairs, seen=seen)]
            world.store.add(label.name, label.colour, rows, "")
        world.refresh()
        gates = {system: self._gate(anomaly, system) for system in systems} if gated else {}
        found = TaughtWorld(world, gates=gates)
        support = {split.taxonomy.id_of(name): [self.train[i] for i in used] for name, used in chosen.items()}
        if set(methods) & set(HEAD_METHODS):
            found.heads = train_heads(world, support, methods, lesson.draw or 0)
        if set(methods) & set(METRIC_METHODS):
            found.network = self.workshop.metric_network(self.split)
            found.metric = learn_metric_methods(found.network, support, methods, lesson.draw or 0)
        return found

    def shots(self, split: ClassSplit, lesson: Lesson) -> dict[str, tuple[int, ...]]:
        """Which training images teach each novel class: those where it is largest, or random ones."""
        areas, wanted = self.workshop.areas(self.split), Shots(lesson.shots, lesson.draw, lesson.min_share)
        return {
            split.taxonomy.classes[class_id].name: wanted.choose(self.train, class_id, areas[class_id], areas.sum(0))
            for class_id in split.novel
        }

    def _gate(self, variant: Variant, space: str) -> float:
        """What Q exceeds on a share `target_fpr` of the labelled pixels of some held-out training images."""
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


def without_anomaly(variant: Variant) -> Variant:
    """The variant where the anomaly stage has no part: D on the closed set's features stays that of the world."""
    return dataclasses.replace(variant, seed=0, one_hot=False)


def lesson_of(cell: IncrementalCell) -> Lesson:
    """What the world of a cell is taught; θ_novel and the gate change nothing about it."""
    variant = dataclasses.replace(cell.variant, gated=False, theta=None)
    return Lesson(cell.split, cell.shots, cell.draw, variant, cell.min_share)
