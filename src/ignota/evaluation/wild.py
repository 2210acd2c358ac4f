"""Teaching on photographs of other cameras: each object is taught once, and then searched for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, UInt8

from ignota.data.datasets import LabelledImages, labelled
from ignota.data.images import resize_label
from ignota.evaluation.evaluation import anomaly_label_lut, untaught_copy
from ignota.metrics.components import track_sizes
from ignota.metrics.instances import InstanceMetrics
from ignota.metrics.objects import ObjectMetrics
from ignota.metrics.segmentation import SegmentationMetrics
from ignota.perception.scene import Scene, UnknownRegion
from ignota.structures import Encoding, InputError
from ignota.taxonomy import IGNORE_INDEX, Taxonomy, nearest
from ignota.world.model import OpenWorldModel
from ignota.world.teaching import Shown

Given = Literal["mask", "object"]
"""How an object is shown: by its exact mask, or by the unknown object of the scene that overlaps it most."""
_NAME = "wild object"


@dataclass(frozen=True)
class Wild:
    """A world that was taught one object of one image, and how that went.

    key: of the image. refused: why the class was refused, or nothing. encoding: of the image. marked: pixels of the
    mark. truth: "H W" 0 known, 1 the object, 255 void.
    """

    key: str
    world: OpenWorldModel
    encoding: Encoding
    truth: UInt8[np.ndarray, "H W"]
    marked: int
    refused: str

    def claimed(self, encoding: Encoding) -> Bool[np.ndarray, "H W"]:
        """Where this world finds the class on an image, at the image's own size; nowhere if it was refused."""
        labels = self.world.segment(encoding).labels
        return np.asarray((labels == len(self.world.taxonomy)) & (not self.refused))

    def iou(self, other: Wild) -> float:
        """IoU of the class with the object of an image, void left out."""
        found, seen = self.claimed(other.encoding), other.truth != 255
        found, real = resize_label(found.astype(np.uint8), other.truth.shape) > 0, other.truth == 1
        return float((found & real & seen).sum() / max(1, ((found | real) & seen).sum()))


def evaluate_wild(
    world: OpenWorldModel,
    dataset: LabelledImages,
    given: Given = "mask",
    pairs: Sequence[tuple[str, str]] = (),
    known: LabelledImages | None = None,
    tick: Callable[[], object] | None = None,
) -> dict[str, Any]:
    """Teaches the object of every image of a data set of anomalies to a fresh copy of the world, without force.

    Gives {"dataset", "given", "objects": of the untaught world, as `ObjectMetrics` and `InstanceMetrics`, "images":
    {KEY: {"accepted", "refused", "iou", "marked"}}, "accepted": share, "iou": mean over all images, where a refused one
    counts 0, "pairs": {"A→B": IoU}, "known": …}. pairs: keys of two images of one kind: taught on the first, looked for
    on the second. known: images of known classes, on which `false_area` is
    measured. tick: called once an image. Raises InputError.
    """
    objects, instances = ObjectMetrics(track_sizes(dataset.name).true), InstanceMetrics()
    wilds = {wild.key: wild for wild in _taught(world, dataset, given, (objects, instances), tick)}
    if not wilds:
        raise InputError(f"no image of {dataset.name} shows an anomaly: there is nothing to teach")
    for key in (key for pair in pairs for key in pair):
        if key not in wilds:
            raise InputError(f"no image {key!r} with an object in {dataset.name}{nearest(key, list(wilds))}")
    own = {key: wild.iou(wild) for key, wild in wilds.items()}
    figures: dict[str, Any] = {
        "dataset": dataset.name,
        "given": given,
        "objects": objects.compute() | instances.compute(),
        "images": {
            key: {"accepted": not wild.refused, "refused": wild.refused, "iou": own[key], "marked": wild.marked}
            for key, wild in wilds.items()
        },
        "accepted": float(np.mean([not wild.refused for wild in wilds.values()])),
        "iou": float(np.mean(list(own.values()))),
        "pairs": {f"{a}→{b}": wilds[a].iou(wilds[b]) for a, b in pairs},
    }
    if known is not None:
        figures["known"] = false_area(world, list(wilds.values()), known, tick)
    return figures


def _taught(
    world: OpenWorldModel,
    dataset: LabelledImages,
    given: Given,
    measures: tuple[ObjectMetrics, InstanceMetrics],
    tick: Callable[[], object] | None,
) -> list[Wild]:
    lut, untaught, found = anomaly_label_lut(world, dataset), untaught_copy(world), list[Wild]()
    for sample, truth in labelled(dataset, lut):
        encoding = world.encode(sample.image)
        _add_objects(measures, sample.key, untaught.segment(encoding), truth)
        if (truth == 1).any():
            found.append(_teach_once(world, sample.key, encoding, truth, given))
        if tick is not None:
            tick()
    return found


def _add_objects(
    measures: tuple[ObjectMetrics, InstanceMetrics], key: str, scene: Scene, truth: UInt8[np.ndarray, "H W"]
) -> None:
    """Adds the unknown objects of an image, each with its score as `segment` writes it; the first 255 of them."""
    listed = scene.unknown[:255]
    ids = np.zeros(scene.tables.size, np.uint8)
    for i, region in enumerate(listed):
        left, top, right, bottom = region.box
        ids[top:bottom, left:right][region.crop] = i + 1
    ids = resize_label(ids, truth.shape)
    objects, instances = measures
    objects.update(key, ids, truth)
    instances.update(key, ids, np.array([region.score for region in listed]), truth)


def _teach_once(
    world: OpenWorldModel, key: str, encoding: Encoding, truth: UInt8[np.ndarray, "H W"], given: Given
) -> Wild:
    copy = untaught_copy(world)
    shown: Shown | None = truth == 1 if given == "mask" else _clicked(world, encoding, truth)
    if shown is None:
        return Wild(key, copy, encoding, truth, 0, "no unknown object lies on it")
    refused = ""
    try:
        copy.learn(_NAME, (encoding, shown))
    except InputError as error:  # refused, or too small to be seen
        refused = error.command_line
    marked = shown.area if isinstance(shown, UnknownRegion) else int((truth == 1).sum())
    return Wild(key, copy, encoding, truth, marked, refused)


def _clicked(world: OpenWorldModel, encoding: Encoding, truth: UInt8[np.ndarray, "H W"]) -> UnknownRegion | None:
    """The unknown object of the scene that shares most pixels with the true one, as a click on it would give it."""
    real = truth == 1
    regions = world.segment(encoding).unknown
    shared = [int((region.mask & real).sum()) for region in regions]
    return regions[int(np.argmax(shared))] if any(shared) else None


def false_area(
    world: OpenWorldModel, wilds: Sequence[Wild], known: LabelledImages, tick: Callable[[], object] | None = None
) -> dict[str, Any]:
    """What the taught classes take on images of known classes; each image passes the networks once.

    {"miou": of the known classes before, "claimed": {KEY: share of all pixels}, "lost": {KEY: by how much the mIoU of
    the known classes falls}}, for classes that were accepted.
    """
    if known.taxonomy is None:
        raise InputError(f"{known.name} has no classes: name a data set of known ones")
    lut, number = _known_lut(world, known.taxonomy), len(world.taxonomy)
    accepted = [wild for wild in wilds if not wild.refused]
    before = SegmentationMetrics(world.taxonomy, number)
    after = [SegmentationMetrics(wild.world.classes, number) for wild in accepted]
    claimed, pixels = np.zeros(len(accepted)), 0
    for sample, label in labelled(known, lut):
        encoding = world.encode(sample.image)
        tables = world.tables(encoding)
        before.update(label, resize_label(tables.closed, label.shape))
        pixels += label.size
        for n, wild in enumerate(accepted):
            labels = resize_label(wild.world.scene(encoding, tables).working_labels, label.shape)
            claimed[n] += (labels == number).sum()
            after[n].update(label, labels)
        if tick is not None:
            tick()
    start = before.compute()["miou"]["all"]
    lost = {wild.key: start - state.compute()["miou"]["old"] for wild, state in zip(accepted, after, strict=True)}
    share = {wild.key: float(claimed[n] / pixels) for n, wild in enumerate(accepted)}
    return {"dataset": known.name, "images": len(known), "miou": start, "claimed": share, "lost": lost}


def _known_lut(world: OpenWorldModel, taxonomy: Taxonomy) -> UInt8[np.ndarray, " 256"]:
    """Label value -> world id of the class of the same name, 255 for others; raises InputError where none is known."""
    lut = np.full(256, IGNORE_INDEX, np.uint8)
    for i, name in enumerate(world.taxonomy.names):
        if name in taxonomy.names:
            lut[taxonomy.id_of(name)] = i
    if (lut == IGNORE_INDEX).all():
        raise InputError(f"the world knows no class of {taxonomy.name}: it has {', '.join(world.taxonomy.names)}")
    return lut
