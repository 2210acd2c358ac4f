"""Measures a world on data sets: one forward pass per image for every score and method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray

from ignota.data.datasets import LabelledImages, labelled
from ignota.data.images import resize_label
from ignota.data.shots import Shots, class_areas
from ignota.evaluation.component_reading import ComponentReading, component_reading, to_size
from ignota.evaluation.five_scales import FiveScales, five_scale_metric_maps
from ignota.exemplars.store import ExemplarStore
from ignota.formats.score_maps import MapFolder
from ignota.metrics.anomaly import ANOMALY, AnomalyMetrics
from ignota.metrics.anomaly import Protocol as AnomalyProtocol
from ignota.metrics.bootstrap import ImageHistograms
from ignota.metrics.components import track_sizes
from ignota.metrics.segmentation import SegmentationMetrics
from ignota.perception.perception import calibrated, closed_labels
from ignota.perception.reading import OWN
from ignota.scores.dml import METRIC_SCORES
from ignota.scores.score import LEVEL
from ignota.structures import Encoding, InputError, Sample
from ignota.taxonomy import UNKNOWN_INDEX, ClassSplit, Taxonomy
from ignota.world.labelling import label_maps
from ignota.world.model import OpenWorldModel


class Watcher(Protocol):
    """Called for every measured image."""

    def __call__(self, sample: Sample, result: dict[str, Any]) -> object: ...


def world_split(world: OpenWorldModel, taxonomy: Taxonomy) -> ClassSplit:
    """Which classes of a data set the world knows, and which are novel to it.

    The world's own split where it was trained on this taxonomy (so that ignored classes stay ignored), else by name.
    """
    data = world.provenance.get("configuration", {}).get("data", {})
    text = data.get("split", "")
    if text.partition(":")[0] == taxonomy.name and not data.get("classes") and not data.get("labels"):
        split = ClassSplit.parse(text)
        if split.known_taxonomy.names == world.taxonomy.names:
            return split
    split = ClassSplit.of_names(taxonomy, world.taxonomy.names)
    if min(split.known) >= len(taxonomy):
        names = ", ".join(world.taxonomy.names)
        raise InputError(f"the world knows no class of {taxonomy.name}: it has {names}")
    return split


def anomaly_label_lut(world: OpenWorldModel, dataset: LabelledImages) -> NDArray[np.uint8]:
    """Label value -> 0 known, 1 anomaly, 255 void; raises InputError where nothing is unknown to the world."""
    if dataset.taxonomy is None:
        return np.arange(256, dtype=np.uint8)
    split = world_split(world, dataset.taxonomy)
    if not split.novel:
        raise InputError(f"every class of {dataset.name} is known to this world: nothing in it is an anomaly")
    return split.anomaly_lut()


def own_components(
    world: OpenWorldModel, encoding: Encoding, raw: Mapping[str, NDArray[np.float32]], size: tuple[int, int]
) -> dict[str, NDArray[np.bool_]]:
    """The components of the world's own score that are objects, at `size`; none where its recipe has no cutoff."""
    found = world.components(encoding, torch.from_numpy(raw[OWN]), size) if OWN in raw else None
    return {} if found is None else {OWN: found}


def known_label_lut(world: OpenWorldModel, dataset: LabelledImages) -> NDArray[np.uint8] | None:
    """Label value -> id of a known class, 255 for all others; None where the labels have no classes."""
    return None if dataset.taxonomy is None else world_split(world, dataset.taxonomy).training_lut()


def _classes(
    known: NDArray[np.uint8], sample: Sample, label: NDArray[np.uint8], encoding: Encoding
) -> UInt8[np.ndarray, "2 H W"]:
    """The true classes, 254 where unknown and 255 where void, and those of the closed set."""
    truth = np.where(label == ANOMALY, np.uint8(UNKNOWN_INDEX), known[np.asarray(sample.label)])
    return np.stack([truth, resize_label(closed_labels(encoding), label.shape)])


@dataclasses.dataclass(frozen=True)
class AnomalyResult:
    """Figures, and what further statistics need: the metric state, and histograms by image of the scores that are
    paired."""

    figures: dict[str, Any]
    metrics: AnomalyMetrics
    histograms: ImageHistograms


@dataclasses.dataclass(frozen=True)
class AnomalyState:
    """What some images of a data set showed. States that saw different images add up: `merge` equals one that saw them
    all, to the last bit. reading: of components, where they are measured. edges: α and β of Equation 2."""

    dataset: str
    metrics: AnomalyMetrics
    reading: ComponentReading | None = None
    edges: tuple[float, float] | None = None

    def merge(self, other: AnomalyState) -> None:
        self.metrics.merge(other.metrics)
        if self.reading is not None and other.reading is not None:
            self.reading.merge(other.reading)

    def figures(self) -> dict[str, Any]:
        """{"dataset", "images", "scores"}, as `AnomalyMetrics.compute` gives them, with `component` and `open_miou`
        where measured, and {"edges": {"alpha", "beta"}} where they are known."""
        figures = {"dataset": self.dataset, **self.metrics.compute()}
        if self.edges is not None:
            figures["edges"] = dict(zip(("alpha", "beta"), self.edges, strict=True))
        if self.reading is not None:
            curves = {name: self.metrics.curve(name) for name in self.metrics.names}
            for name, found in self.reading.compute(curves).items():
                figures["scores"][name] |= found
        return figures


def evaluate_anomaly(
    world: OpenWorldModel,
    dataset: LabelledImages,
    scores: Sequence[str],
    protocol: AnomalyProtocol = "standard",
    watch: Watcher | None = None,
    components: bool = False,
    paired: Sequence[str] = (),
    outside: Sequence[MapFolder] = (),
) -> AnomalyResult:
    """Every named score on one data set, at the labels' own size; the unlearnt world, so that what was taught is
    unknown again. components: the benchmark's component-level figures as well, under the key `component`, and under
    `open_miou` the open-mIoU where known classes are labelled. paired: scores whose difference is to be bootstrapped;
    each image adds some ten kilobytes for each, without any memory is flat. outside: maps of other methods, measured
    beside the scores; they have no fixed threshold. Raises InputError
    where a score runs on a branch that the world does not hold.
    """
    fixed = fixed_thresholds(world, scores)
    with component_reading(track_sizes(dataset.name), fixed) if components else nullcontext() as reading:
        state = AnomalyState(dataset.name, AnomalyMetrics(protocol), reading, edges_of(world))
        histograms = ImageHistograms()
        for sample, maps, label in measured_images(world, dataset, scores, state, watch, outside):
            if paired:
                histograms.update(sample.key, {name: maps[name] for name in paired}, label)
        return AnomalyResult(state.figures(), state.metrics, histograms)


def measured_images(
    world: OpenWorldModel,
    dataset: LabelledImages,
    scores: Sequence[str],
    state: AnomalyState,
    watch: Watcher | None = None,
    outside: Sequence[MapFolder] = (),
) -> Iterator[tuple[Sample, dict[str, NDArray[np.float32]], NDArray[np.uint8]]]:
    """Adds every image to `state` and gives it, with its scores and its label, both at the label's size."""
    lut, known = anomaly_label_lut(world, dataset), known_label_lut(world, dataset)
    for sample, label, encoding, raw in scored_images(world, dataset, scores, lut):
        raw |= {maps.name: maps.read(sample.key, sample.path, label.shape) for maps in outside}
        maps = {name: to_size(value, label.shape) for name, value in raw.items()}
        five = state.metrics.protocol == "dmlnet"
        scaled = scaled_scores(world, sample, scores, label.shape) if five else None
        state.metrics.update(sample.key, maps, label, scaled)
        if state.reading is not None:
            classes = None if known is None else _classes(known, sample, label, encoding)
            given = own_components(world, encoding, raw, (label.shape[0], label.shape[1]))
            state.reading.update(sample.key, raw, maps, label, classes, given)
        yield sample, maps, label
        if watch is not None:
            watch(sample, {"maps": maps, "label": label, "encoding": encoding})


def scored_images(
    world: OpenWorldModel,
    dataset: LabelledImages,
    scores: Sequence[str],
    lut: NDArray[np.uint8],
) -> Iterator[tuple[Sample, NDArray[np.uint8], Encoding, dict[str, NDArray[np.float32]]]]:
    """Each image with its label (0 known, 1 anomaly, 255 void), what the networks say of it, from one forward pass, and
    every score on the working grid. Raises InputError where a score runs on a branch that is missing."""
    world.branches.metric_network(world.networks, scores)  # refuses a missing branch before any image
    for sample, label in labelled(dataset, lut):
        encoding = world.encode(sample.image)
        maps = world.scores(encoding, scores)
        yield sample, label, encoding, {name: maps[name].cpu().numpy() for name in scores}


def scaled_scores(
    world: OpenWorldModel,
    sample: Sample,
    scores: Sequence[str],
    size: tuple[int, int],
) -> dict[str, NDArray[np.float32]]:
    """Every score of an image from five scales, at `size` (H, W), see `FiveScales`."""
    own, others = _by_network(scores)
    metric = world.branches.metric_network(world.networks, own)
    maps = FiveScales.of(world.networks, sample.image, size).maps(others, world.scores) if others else {}
    if metric is not None and own:
        maps |= five_scale_metric_maps(metric, sample.image, size, own)
    return maps


def _by_network(scores: Sequence[str]) -> tuple[list[str], list[str]]:
    """The scores of DMLNet's network, and those of the world itself."""
    own = [name for name in scores if name in METRIC_SCORES]
    return own, [name for name in scores if name not in own]


def edges_of(world: OpenWorldModel) -> tuple[float, float]:
    """α and β of Equation 2, by which `raml_paper` and `raml_released` find regions."""
    return world.known.recipe.alpha, world.known.recipe.beta


def with_edges(world: OpenWorldModel, edges: tuple[float, float]) -> OpenWorldModel:
    """The same world with another α and β, as RAML sets them by hand for each test set (Appendix B.2)."""
    alpha, beta = edges
    return dataclasses.replace(world, fitted=calibrated(world.fitted, alpha=alpha, beta=beta))


def fixed_thresholds(world: OpenWorldModel, scores: Sequence[str]) -> dict[str, float]:
    """The thresholds of those scores that have one from held-out training images."""
    known = world.known
    states = {name: known.states.get(name, {}) for name in scores}
    found = {name: float(state[LEVEL][2]) for name, state in states.items() if LEVEL in state}
    return found | {name: known.recipe.threshold for name in scores if name == OWN}


def teach(
    world: OpenWorldModel,
    support: LabelledImages,
    split: ClassSplit,
    shots: Shots | int,
    tick: Callable[[], object] | None = None,
) -> dict[str, list[str]]:
    """Teaches every novel class of `split` from images of `support`, by default where it is largest; returns their
    keys."""
    shots = Shots(shots) if isinstance(shots, int) else shots
    areas = class_areas(support, split.novel)
    used: dict[str, list[str]] = {}
    for row, class_id in zip(areas, split.novel, strict=True):
        name = split.taxonomy.classes[class_id].name
        samples = [support[i] for i in shots.choose(support, class_id, row)]
        world.learn(name, [(s.image, np.asarray(s.label == class_id)) for s in samples], force=True)
        used[name] = [sample.key for sample in samples]
        if tick is not None:
            tick()
    return used


def untaught_copy(world: OpenWorldModel, branches: Sequence[str] = ()) -> OpenWorldModel:
    """The same world with an empty exemplar store in memory: what is taught to it leaves the original alone.

    It stays calibrated.

    branches: those that read every example.
    """
    return dataclasses.replace(world, fitted=world.known, store=ExemplarStore(None), exemplar_branches=tuple(branches))


def evaluate_closed_set(world: OpenWorldModel, dataset: LabelledImages, watch: Watcher | None = None) -> dict[str, Any]:
    """mIoU over the known classes; pixels of other classes are void."""
    if dataset.taxonomy is None:
        raise InputError(f"{dataset.name} has no classes to measure")
    split = world_split(world, dataset.taxonomy)
    state = SegmentationMetrics(split.known_taxonomy, len(split.known))
    lut = split.training_lut()
    for sample, label in labelled(dataset, lut):
        labels = label_maps(world, world.encode(sample.image), ())["closed"]
        state.update(label, resize_label(labels, label.shape))
        if watch is not None:
            watch(sample, {"maps": {"closed": labels}, "label": label})
    found = state.compute()
    return {"miou": found["miou"]["all"], "iou": found["iou"], "pixel_accuracy": found["pixel_accuracy"]}
