"""The contribution of each part of the recipe `full`, on photographs of other cameras, by several seeds.

    python -m experiments.full_ablation DATA [--seeds 5] [--fit 92] [--keep runs/full-ablation] [--out FILE]

DATA holds camvid, road_anomaly_21_val and road_obstacle_21_val. The closed set is that of camvid-11; all later stages
are fitted again by each seed, on --fit training images in place of 184. An image passes the networks once for all
seeds. KEEP stores the result of each seed, so a stopped call resumes with the next. Nothing is chosen on the images
that are measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from experiments.ablation import Figures, Following, Memory, over_seeds
from experiments.figures import save_tables
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from ignota.data.datasets import LabelledImages, open_dataset
from ignota.evaluation.component_reading import to_size
from ignota.exemplars.store import ExemplarStore
from ignota.metrics.anomaly import AnomalyMetrics
from ignota.metrics.components import ComponentMetrics, track_sizes
from ignota.perception.networks import ImageLike, as_pixels
from ignota.perception.reading import image_level, joined_parts, objectness_map, own_parts, own_score, read_regions
from ignota.storage import bundle
from ignota.structures import Encoding, Sample
from ignota.training.experiment import open_split
from ignota.training.refitting import configuration_of
from ignota.world.model import OpenWorldModel

SETS = ("road_anomaly_21", "road_obstacle_21")
WHOLE = "**whole recipe**"
_REMEMBERED = 140
"""Images, of some 30 MB each: those that are measured, and training images as they are."""


@dataclass
class First(Memory):
    """Keeps the first images that it meets: each seed draws later ones again."""

    def encode(self, image: ImageLike, size: int | None) -> Encoding:
        assert self.networks is not None
        key = hashlib.sha256(as_pixels(image).tobytes()).digest()
        found = self.encodings.get(key) or self.networks.encode(image, size)
        if len(self.encodings) < _REMEMBERED:
            self.encodings[key] = found
        return found


def fitted(shipped: OpenWorldModel, train: LabelledImages, seed: int, images: int, memory: Memory) -> OpenWorldModel:
    """The shipped closed set with all later stages by one seed."""
    config = configuration_of(shipped)
    fit = dataclasses.replace(config.fit, images=images, scores=())
    second = dataclasses.replace(config.meta_channels, branches=())
    config = dataclasses.replace(config, seed=seed, fit=fit, meta_channels=second)
    with tempfile.TemporaryDirectory() as folder:
        stages = Following(
            config, train, Path(folder), torch.device("cpu"), True, shipped.networks.segmenter, memory=memory
        )
        return dataclasses.replace(shipped, fitted=stages.known, store=ExemplarStore(None))


Variant = tuple[str, Float[Tensor, "H W"], Bool[np.ndarray, "H W"] | None]
"""Name of the row, score, and what counts as a component."""


def variants(world: OpenWorldModel, encoding: Encoding, size: tuple[int, int]) -> Iterator[Variant]:
    """The whole recipe's score and what is left of it without one part."""
    known, light = world.known, world.known.under("light")
    recipe, reading = known.recipe, read_regions(encoding, known)
    whole, plain, objects = (
        own_score(encoding, known, reading),
        own_score(encoding, light, reading),
        objectness_map(encoding),
    )

    def above(score: Tensor, threshold: float) -> Bool[np.ndarray, "H W"]:
        return to_size(score.numpy(), size) >= threshold

    yield WHOLE, whole, world.components(encoding, whole, size)
    yield "no objects: pixels above the threshold", whole, above(whole, recipe.threshold)
    yield "no objectness: recipe `light`", plain, above(plain, light.recipe.threshold)
    yield "objectness alone", objects, None
    yield "no level of the image", plain + recipe.objectness * objects, None
    parts = own_parts(encoding, known, reading)
    pixel = joined_parts(torch.stack([parts[0], parts[1], world.scores(encoding, ["knn"])["knn"]]), known)
    yield "no regions, pixel by pixel", pixel - recipe.level * image_level(pixel) + recipe.objectness * objects, None


def measured(world: OpenWorldModel, dataset: LabelledImages, memory: Memory) -> Figures:
    """Every variant on a data set: pooled AUPR and FPR95, component F1 at the threshold from training images."""
    metrics, components = AnomalyMetrics(), dict[str, ComponentMetrics]()
    for i in tqdm(range(len(dataset)), desc=dataset.name, unit="image", leave=False):
        sample: Sample = dataset[i]
        assert sample.label is not None
        size = (sample.label.shape[0], sample.label.shape[1])
        with torch.inference_mode():
            found = list(variants(world, memory.encode(sample.image, None), size))
        metrics.update(sample.key, {name: to_size(score.numpy(), size) for name, score, _ in found}, sample.label)
        for name, _, mask in found:
            if mask is not None:
                state = components.setdefault(name, ComponentMetrics(track_sizes(dataset.name)))
                state.update(sample.key, mask, sample.label)
    pooled = {name: one["pooled"] for name, one in metrics.compute()["scores"].items()}
    rows = {name: {"AUPR": one["aupr"], "FPR95": one["fpr95"]} for name, one in pooled.items()}
    for name, state in components.items():
        rows[name]["component F1"] = state.compute()["f1"] or 0.0
    return rows


def main(words: Sequence[str] | None = None) -> str:
    """Writes the figures; gives the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--fit", type=int, default=92, help="training images of the later stages")
    parser.add_argument("--keep", type=Path, default=Path("runs/full-ablation"))
    parser.add_argument("--out", type=Path, default=Path("experiments/measured/full_ablation/seeds.json"))
    args = parser.parse_args(words)
    shipped = bundle.load("camvid-11", recipe="full")
    memory = First(networks=shipped.networks)
    config = configuration_of(shipped)
    train = open_split(config.data, args.data / "camvid", "train", config.seed)
    sets = {name: open_dataset(name, args.data / f"{name}_val", "val") for name in SETS}
    for dataset in sets.values():  # before any training image, so that they are among those that are kept
        for i in tqdm(range(len(dataset)), desc=f"{dataset.name}, networks", unit="image"):
            memory.encode(dataset[i].image, None)
    args.keep.mkdir(parents=True, exist_ok=True)
    seeds = []
    for seed in range(args.seeds):
        kept = args.keep / f"seed-{seed}-{args.fit}-images.json"
        if not kept.exists():
            world = fitted(shipped, train, seed, args.fit, memory)
            sys.stderr.write(f"seed {seed}: {world.known.recipe}\n")
            found = {name: measured(world, dataset, memory) for name, dataset in sets.items()}
            kept.with_suffix(".part").write_text(json.dumps(found))
            kept.with_suffix(".part").replace(kept)
        seeds.append(json.loads(kept.read_text()))
    tables = {name: over_seeds([one[name] for one in seeds]) for name in SETS}
    return save_tables(args.out, {f"{name}, {args.seeds} seeds": rows for name, rows in tables.items()})


if __name__ == "__main__":
    sys.stdout.write(main())
