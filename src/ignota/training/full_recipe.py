"""Recipe `full`: the weight of objectness beside the score of recipe `light`, and the threshold.

Chosen on held-out training images, as they are and as another camera might take them. What counts as unknown are
things: known classes that are things, each left out in turn as if it had never been learnt, and drawn things pasted in.
A road or a sky that is unknown is not what a world will meet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from numpy.typing import NDArray

from ignota.data.images import resize_label
from ignota.functional.curves import binary_curve, curve_metrics
from ignota.perception.known import KnownEvidence, Recipe
from ignota.perception.reading import RegionReading, image_level, joined_score, objectness_map, own_parts, read_regions
from ignota.structures import Encoding
from ignota.taxonomy import IGNORE_INDEX
from ignota.training.embedder_run import training_label
from ignota.training.fitting import image_generator
from ignota.training.held_out import HeldOutReader
from ignota.training.weighing import PASTED, counted_pixels, merit

WEIGHTS = (0.0, 2.0, 4.0, 8.0, 12.0, 16.0)
"""Of the objectness map, in scales of the light recipe's score."""
LEVELS = (0.0, 0.5, 1.0)
"""Shares of an image's median score that are taken off."""
Choice = tuple[float, float]
"""A weight and a level."""
Table = dict[Choice, dict[str, float]]
"""The AUPR of each kind of trial under each choice."""
TARGET_FPR = 0.01
"""Share of known pixels above the threshold: objects are listed, so a hundredth, not a twentieth, may be wrong."""
STUFF = frozenset({
    "road", "pavement", "sidewalk", "building", "wall", "fence", "sky", "tree", "vegetation", "terrain", "ground",
    "parking", "water", "grass", "bridge", "tunnel", "guard rail",
})  # fmt: skip
"""Classes that have no objects: leaving one out makes no unknown object."""


@dataclass(frozen=True)
class ObjectTrial:
    """Some pixels of a held-out image in which something counts as unknown.

    kind: the class that is left out, or PASTED, with the camera that took the image. score: of the light recipe; level:
    its median over the image. objectness: in 0..1. unknown: which of the pixels.
    """

    kind: str
    level: float
    score: Float32[np.ndarray, " N"]
    objectness: Float32[np.ndarray, " N"]
    unknown: Bool[np.ndarray, " N"]


@dataclass(frozen=True)
class TrialReader:
    """Reads held-out images as `held_out` does, whose networks see objectness. known: in use by the recipe `light`."""

    held_out: HeldOutReader
    known: KnownEvidence

    def read(self, image: int) -> list[ObjectTrial]:
        """All trials of an image: two passes of the networks."""
        reader = self.held_out
        sample, rng = reader.samples[image], image_generator(reader.seed + 2, image)
        own = training_label(sample, reader.lut, sample.image.shape[:2])
        found = list(self._trials("own camera", sample.image, own, np.zeros_like(own), rng))
        picture, target = reader.pasted_picture(sample, rng)
        return found + list(self._trials("other camera", picture, own, target == 1, rng))

    def _trials(
        self, camera: str, image: NDArray[np.uint8], label: NDArray[np.uint8], pasted: NDArray, rng: np.random.Generator
    ) -> Iterator[ObjectTrial]:
        encoding, names = self.held_out.networks.encode(image), self.held_out.names
        size = (encoding.image.shape[0], encoding.image.shape[1])
        label, over = resize_label(label, size), resize_label(pasted.astype(np.uint8), size) == 1
        reading = read_regions(encoding, self.known)
        known = np.where(over, 1, np.where(label == IGNORE_INDEX, IGNORE_INDEX, 0)).astype(np.uint8)
        yield self._trial(f"{PASTED}, {camera}", encoding, reading, known, None, rng)
        for c in np.unique(label[label != IGNORE_INDEX]) if len(names) > 1 else ():
            if names[c] not in STUFF:
                target = np.where(over | (label == IGNORE_INDEX), IGNORE_INDEX, label == c).astype(np.uint8)
                yield self._trial(f"{names[c]}, {camera}", encoding, reading, target, int(c), rng)

    def _trial(
        self,
        kind: str,
        encoding: Encoding,
        reading: RegionReading,
        target: UInt8[np.ndarray, "H W"],
        without: int | None,
        rng: np.random.Generator,
    ) -> ObjectTrial:
        with torch.inference_mode():
            parts = own_parts(encoding, self.known, reading, without)
            whole = joined_score(parts, reading.hierarchy, self.known)
            level, score = image_level(whole), whole.flatten().cpu().numpy()
            objects = objectness_map(encoding).flatten().cpu().numpy()
        picked = counted_pixels(target, rng)
        return ObjectTrial(
            kind, level, score[picked].astype(np.float32), objects[picked].astype(np.float32),
            target.ravel()[picked] == 1,
        )  # fmt: skip


def full_recipe(light: Recipe, trials: Sequence[ObjectTrial]) -> tuple[Recipe, Table]:
    """The recipe `full` beside a calibrated `light`, and the AUPR of each kind of trial under each choice.

    It has the choice with the best mean AUPR, both cameras counting alike, and pasted things as much as left-out
    classes. The threshold lets TARGET_FPR of the known pixels pass. Without any trial the choice is (8, 0).
    """
    found = {choice: _auprs(_chosen(light, choice), trials) for choice in product(WEIGHTS, LEVELS)}
    table: Table = {choice: auprs for choice, auprs in found.items() if auprs}
    merits = {choice: _merit(auprs) for choice, auprs in table.items()}
    best = max(merits, key=lambda choice: merits[choice], default=(8.0, 0.0))
    recipe = dataclasses.replace(_chosen(light, best), target_fpr=TARGET_FPR)
    known = [trial for trial in trials if trial.kind.startswith(PASTED)]
    if not known:
        return recipe, table
    scores = np.concatenate([joined(recipe, trial)[~trial.unknown] for trial in known]).astype(np.float64)
    threshold, spread = float(np.quantile(scores, 1 - TARGET_FPR)), float(scores.std()) / 2
    return dataclasses.replace(recipe, threshold=threshold, scale=max(1e-6, spread)), table


def joined(recipe: Recipe, trial: ObjectTrial) -> Float32[np.ndarray, " N"]:
    """s - μ m + w p: the score of recipe `full` from that of `light` and the objectness."""
    level, weight = np.float32(recipe.level * trial.level), np.float32(recipe.objectness)
    return np.asarray(trial.score - level + weight * trial.objectness, np.float32)


def _chosen(light: Recipe, choice: Choice) -> Recipe:
    weight, level = choice
    return dataclasses.replace(light, objectness=weight * light.scale, level=level)


def _auprs(recipe: Recipe, trials: Sequence[ObjectTrial]) -> dict[str, float]:
    """By kind; kinds in which nothing is unknown are left out."""
    found = {}
    for kind in dict.fromkeys(trial.kind for trial in trials):
        own = [trial for trial in trials if trial.kind == kind]
        unknown = np.concatenate([trial.unknown for trial in own])
        if unknown.any() and not unknown.all():
            scores = np.concatenate([joined(recipe, trial) for trial in own])
            found[kind] = float(curve_metrics(binary_curve(scores, unknown))["aupr"])
    return found


def _merit(found: dict[str, float]) -> float:
    cameras = {kind.rpartition(", ")[2] for kind in found}
    each = [
        merit({k.rpartition(", ")[0]: v for k, v in found.items() if k.endswith(camera)}) for camera in sorted(cameras)
    ]
    return float(np.mean(each))


def with_full(
    reader: TrialReader, held_out: Sequence[int], tick: Callable[[], object] = lambda: None
) -> tuple[KnownEvidence, Table]:
    """The reader's evidence with a recipe `full` beside its `light`, which stays in use, and the table of
    `full_recipe`."""
    trials: list[ObjectTrial] = []
    for image in held_out:
        trials += reader.read(image)
        tick()
    recipe, table = full_recipe(reader.known.recipe, trials)
    return dataclasses.replace(reader.known, others={"full": recipe}), table
