"""Selects the training images that teach a class: the exemplars ("shots") of few-shot learning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from ignota.data.datasets import LabelledImages
from ignota.structures import InputError


@dataclass(frozen=True)
class Shots:
    """How the exemplars of a class are chosen.

    count: how many. seed: of a random draw; None takes the images in which the class is largest. min_share: what share
    of its pixels an image must show of the class to be drawn.
    """

    count: int
    seed: int | None = None
    min_share: float = 0.0

    def choose(
        self,
        dataset: LabelledImages,
        class_id: int,
        areas: Int[np.ndarray, " N"],
        sizes: Int[np.ndarray, " N"] | None = None,
    ) -> tuple[int, ...]:
        """Indices of the chosen images; raises InputError where too few qualify. areas, sizes: see `random_shots`."""
        if self.seed is None:
            return largest_shots(dataset, class_id, self.count, areas)
        return random_shots(dataset, class_id, self.count, self.seed, self.min_share, areas, sizes)


def class_areas(dataset: LabelledImages, class_ids: Sequence[int]) -> Int[np.ndarray, "K N"]:
    """Pixels of each class (rows, in the order given) in each image's label, read one after the other: int64 "K N"."""
    areas = np.zeros((len(class_ids), len(dataset)), np.int64)
    for index in range(len(dataset)):
        areas[:, index] = np.bincount(dataset.load_label(index).ravel(), minlength=256)[list(class_ids)]
    return areas


def largest_shots(
    dataset: LabelledImages, class_id: int, shots: int, areas: Int[np.ndarray, " N"] | None = None
) -> tuple[int, ...]:
    """Indices of the images in which the class is largest, largest first (the paper's Table 2); ties go by key.

    dataset: a training split. areas: the class's row of `class_areas`, where it is known already.
    Raises InputError where fewer images than `shots` hold the class.
    """
    areas = class_areas(dataset, [class_id])[0] if areas is None else areas
    holding = np.flatnonzero(areas).tolist()
    _require(dataset, class_id, shots, len(holding), "")
    keys = dataset.keys
    return tuple(sorted(holding, key=lambda index: (-areas[index], keys[index]))[:shots])


def random_shots(
    dataset: LabelledImages,
    class_id: int,
    shots: int,
    seed: int,
    min_share: float = 0.0,
    areas: Int[np.ndarray, " N"] | None = None,
    sizes: Int[np.ndarray, " N"] | None = None,
) -> tuple[int, ...]:
    """Indices of random images, drawn by `seed` from those where the class takes at least `min_share` of the pixels.

    The paper's Table G draws five times; DMLNet asks for a share of 0.05. The draw depends on the keys and not on the
    order of the files. areas: the class's row of `class_areas`; sizes: all pixels of each image; both are counted where
    they are not known already. Raises InputError where fewer images than `shots` qualify.
    """
    areas = class_areas(dataset, [class_id])[0] if areas is None else areas
    holding = np.flatnonzero(areas).tolist()
    if min_share > 0:
        whole = {i: dataset.load_label(i).size if sizes is None else int(sizes[i]) for i in holding}
        holding = [index for index in holding if areas[index] >= min_share * whole[index]]
    _require(dataset, class_id, shots, len(holding), f" on {min_share:.1%} of its pixels" if min_share > 0 else "")
    keys = dataset.keys
    ordered = sorted(holding, key=lambda index: keys[index])
    drawn = np.random.default_rng([seed, class_id]).choice(len(ordered), shots, replace=False)
    return tuple(ordered[place] for place in drawn.tolist())


def _require(dataset: LabelledImages, class_id: int, shots: int, found: int, where: str) -> None:
    if shots < 1:
        raise InputError(f"{shots} shots of a class teach nothing; ask for at least 1")
    if found < shots:
        name = dataset.taxonomy.names[class_id] if dataset.taxonomy is not None else f"label {class_id}"
        have = f"{found} of {len(dataset)} images of {dataset.name} ({dataset.split})"
        raise InputError(f"{shots} shots of {name!r} asked for, but {have} show it{where}; ask for fewer shots")
