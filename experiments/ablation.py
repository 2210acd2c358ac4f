"""The contribution of each part of the recipe: one trained closed set, and all later stages by several seeds.

    python -m experiments.ablation RUN ROOT [--seeds 5] [--images N] [--keep FOLDER] [--out runs/ablation.json]

RUN is a folder of `ignota run`; ROOT its data set. Branches, which `raml` does not use, are left out. Weights of
the evidence are chosen again for every choice of features, on held-out training images.
Gives mean and standard deviation over the seeds. FOLDER stores the result of each seed, so a
stopped call resumes with the next.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import tempfile
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from experiments.figures import save_tables
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm import tqdm

from ignota.data.datasets import LabelledImages
from ignota.data.images import resize_label
from ignota.evaluation.evaluation import teach
from ignota.exemplars.store import ExemplarStore
from ignota.functional.numbers import evenly_spaced
from ignota.functional.prototypes import class_prototypes
from ignota.metrics.anomaly import AnomalyMetrics
from ignota.metrics.segmentation import SegmentationMetrics
from ignota.perception.hierarchy import Hierarchy, image_hierarchy
from ignota.perception.known import KnownEvidence
from ignota.perception.networks import ImageLike, Networks, as_pixels
from ignota.perception.reading import joined_parts, joined_score, own_parts, own_score, read_on
from ignota.perception.scene import Tables
from ignota.structures import Encoding
from ignota.taxonomy import ClassSplit
from ignota.training.experiment import open_split
from ignota.training.settings import configuration, read_preset
from ignota.training.stages import Stages
from ignota.world.labelling import label_maps
from ignota.world.model import OpenWorldModel

TAPS = {
    "**whole recipe**": None,
    "decoder alone, the paper's F": ("decoder",),
    "no frozen encoder": ("decoder", "stage4"),
    "frozen encoder alone": ("frozen/16", "frozen/32"),
}
"""What regions are compared by; None: what the run says."""
_REMEMBERED = 400
"""Images, of some 15 MB each at 360×480."""
Figures = dict[str, dict[str, float]]
"""By the name of the row, then of the column, in 0..1."""


@dataclass
class Memory:
    """Encodings with the taps of the whole recipe, so that an image passes the networks once for all seeds."""

    networks: Networks | None = None
    encodings: OrderedDict[bytes, Encoding] = field(default_factory=OrderedDict)

    def encode(self, image: ImageLike, size: int | None) -> Encoding:
        assert self.networks is not None
        key = hashlib.sha256(as_pixels(image).tobytes()).digest()
        if key not in self.encodings:
            self.encodings[key] = self.networks.encode(image, size)
        self.encodings.move_to_end(key)
        if len(self.encodings) > _REMEMBERED:
            self.encodings.popitem(last=False)
        return self.encodings[key]


@dataclass(frozen=True)
class Remembering(Networks):
    """Networks that read encodings from a memory."""

    memory: Memory = field(default_factory=Memory)

    def encode(self, image: ImageLike, size: int | None = None) -> Encoding:
        return self.memory.encode(image, size)


@dataclass
class Following(Stages):
    """The stages after the closed set, by networks that remember."""

    memory: Memory = field(default_factory=Memory)

    def networks(self) -> Networks:
        plain = super().networks()
        self.memory.networks = self.memory.networks or plain  # the first are those of the whole recipe
        parts = {one.name: getattr(plain, one.name) for one in dataclasses.fields(plain)}
        return Remembering(**parts, memory=self.memory)


def worlds(
    run: Path, samples: LabelledImages, seed: int, folder: Path, memory: Memory
) -> Iterator[tuple[str, OpenWorldModel]]:
    """A world for each choice of features, by one seed."""
    config = configuration(read_preset(str(run / "config.yaml")))
    segmenter = Stages(config, samples, run, torch.device("cpu"), quiet=True).segmenter
    for name, taps in TAPS.items():
        fit = dataclasses.replace(config.fit, taps=taps or config.fit.taps, scores=())
        chosen = dataclasses.replace(config, seed=seed, fit=fit)
        stages = Following(chosen, samples, folder, torch.device("cpu"), True, segmenter, memory=memory)
        known = stages.known
        assert memory.networks is not None
        sys.stderr.write(f"seed {seed}, {name}: weights {known.recipe.weights}\n")
        networks = dataclasses.replace(stages.networks(), taps=memory.networks.taps)
        yield name, OpenWorldModel(stages.split.known_taxonomy, networks, known, ExemplarStore(None), {})


def with_weights(known: KnownEvidence, weights: tuple[float, float, float]) -> KnownEvidence:
    return dataclasses.replace(known, recipe=dataclasses.replace(known.recipe, weights=weights))


def with_prototypes(known: KnownEvidence) -> KnownEvidence:
    """One mean per class in place of all its training pixels."""
    state = known.states["knn"]
    owner = state["owner"].long()
    means = class_prototypes(state["coreset"].float(), owner, int(owner.max()) + 1)
    present = torch.bincount(owner, minlength=len(means)) > 0
    changed = {**state, "coreset": means[present], "owner": torch.arange(len(means))[present].to(torch.uint8)}
    recipe = dataclasses.replace(known.recipe, neighbours=1)
    return dataclasses.replace(known, states=known.states | {"knn": changed}, recipe=recipe)


def anomaly_variants(
    world: OpenWorldModel, encoding: Encoding, hierarchy: Hierarchy
) -> Iterator[tuple[str, Float[Tensor, "H W"]]]:
    """The whole recipe's score and what is left of it without one part."""
    known, recipe = world.known, world.known.recipe
    reading = read_on(encoding, known, hierarchy)
    parts = own_parts(encoding, known, reading)
    pixel = torch.stack([parts[0], parts[1], world.scores(encoding, ["knn"])["knn"]])
    yield "**whole recipe**", joined_score(parts, hierarchy, known)
    yield "no regions, pixel by pixel", joined_parts(pixel, known)
    for name, level in (("finest regions alone", hierarchy.levels[0]), ("largest regions alone", hierarchy.levels[-1])):
        one = Hierarchy((level,))
        yield name, joined_score(own_parts(encoding, known, read_on(encoding, known, one)), one, known)
    urs = Hierarchy((dataclasses.replace(recipe.urs, whole=True)(encoding.image, encoding.logits),))
    yield (
        "URS regions in their place",
        joined_score(own_parts(encoding, known, read_on(encoding, known, urs)), urs, known),
    )
    a, b, c = recipe.weights
    for name, weights in (
        ("no features", (a, b, 0.0)),
        ("features alone", (0.0, 0.0, 1.0)),
        ("-max logit in place of the standardised one", (a + b, 0.0, c)),
        ("no choice of weights: ½, ½, 1", (0.5, 0.5, 1.0)),
    ):
        yield name, joined_score(parts, hierarchy, with_weights(known, weights))
    means = with_prototypes(known)
    yield (
        "one prototype a class",
        joined_score(own_parts(encoding, means, read_on(encoding, means, hierarchy)), hierarchy, means),
    )
    yield from world.scores(encoding, ["raml_paper", "max_logit"]).items()


def taught_variants(
    world: OpenWorldModel, encoding: Encoding, hierarchy: Hierarchy
) -> Iterator[tuple[str, UInt8[np.ndarray, "H W"]]]:
    """The labels after teaching, whole and without one part."""
    plain = label_maps(world, encoding, ("npm_frozen",))
    closed, novel = plain["closed"], world.novel
    assert novel.taught is not None
    rows = novel.taught
    means = class_prototypes(rows.rows, rows.owner, len(novel.names))
    choices = {
        "**whole recipe**": (hierarchy, rows),
        "finest regions alone": (Hierarchy(hierarchy.levels[:1]), rows),
        "largest regions alone": (Hierarchy(hierarchy.levels[-1:]), rows),
        "no margin": (hierarchy, dataclasses.replace(rows, margin=torch.zeros_like(rows.margin))),
        "margins of 0 at least": (hierarchy, dataclasses.replace(rows, margin=rows.margin.clamp(min=0))),
        "one prototype a class": (
            hierarchy,
            dataclasses.replace(rows, rows=means, owner=torch.arange(len(means))),
        ),
        "no counter-examples": (
            hierarchy,
            dataclasses.replace(rows, against=rows.against[:0], against_owner=rows.against_owner[:0]),
        ),
    }
    for name, (levels, chosen) in choices.items():
        reading = read_on(encoding, world.known, levels)
        tables = Tables(encoding.size, closed, own_score(encoding, world.known, reading), reading)
        taught = world.taught(tables, dataclasses.replace(novel, taught=chosen))
        owner = torch.cat([taught.novel.new_full((1,), -1), taught.novel]).numpy()[levels.finest.ids]
        yield name, np.where(owner >= 0, owner + len(world.taxonomy), closed).astype(np.uint8)
    yield "npm_frozen", plain["npm_frozen"]


@cache
def hierarchy_of(key: str, image: bytes, shape: tuple[int, int, int]) -> Hierarchy:
    """The regions of an image, which no seed changes."""
    return image_hierarchy(np.frombuffer(image, np.uint8).reshape(shape))


def measured(world: OpenWorldModel, split: ClassSplit, dataset: LabelledImages, images: Sequence[int]) -> Figures:
    """Every variant on the chosen images."""
    metrics, states = AnomalyMetrics(), defaultdict(lambda: SegmentationMetrics(split.world_taxonomy, len(split.known)))
    for i in tqdm(images, desc="measuring", unit="image", leave=False):
        sample = dataset[i]
        assert sample.label is not None
        encoding = world.encode(sample.image)
        hierarchy = hierarchy_of(sample.key, encoding.image.tobytes(), encoding.image.shape)
        with torch.inference_mode():
            scores = dict(anomaly_variants(world, encoding, hierarchy))
            labels = dict(taught_variants(world, encoding, hierarchy))
        target = resize_label(split.anomaly_lut()[sample.label], hierarchy.finest.ids.shape)
        metrics.update(sample.key, {name: score.numpy() for name, score in scores.items()}, target)
        for name, value in labels.items():
            states[name].update(split.world_lut()[sample.label], resize_label(value, sample.label.shape))
    pooled = {name: found["pooled"] for name, found in metrics.compute()["scores"].items()}
    miou = {name: state.compute()["miou"] for name, state in states.items()}
    rows = {name: {"AUPR": found["aupr"], "FPR95": found["fpr95"]} for name, found in pooled.items()}
    for name, found in miou.items():
        rows.setdefault(name, {}).update({"harmonic": found["harmonic"], "novel": found["novel"], "old": found["old"]})
    return rows


def over_seeds(seeds: Sequence[Figures]) -> dict[str, dict[str, tuple[float, float]]]:
    """Mean and standard deviation of each figure."""
    rows: dict[str, dict[str, tuple[float, float]]] = {}
    for name, columns in seeds[0].items():
        values = {column: [seed[name][column] for seed in seeds] for column in columns}
        rows[name] = {column: (float(np.mean(each)), float(np.std(each))) for column, each in values.items()}
    return rows


def one_seed(
    run: Path,
    train: LabelledImages,
    evaluate: LabelledImages,
    split: ClassSplit,
    images: Sequence[int],
    shots: int,
    seed: int,
    memory: Memory,
) -> Figures:
    """All rows by one seed."""
    rows: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, world in worlds(run, train, seed, Path(folder), memory):
            teach(world, train, split, shots)
            found = measured(world, split, evaluate, images)
            rows |= found if name in found else {name: found["**whole recipe**"]}
            world.store.close()
    return rows


def main(words: Sequence[str] | None = None) -> str:
    """Writes the figures; gives the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--keep", type=Path, help="where the figures of seeds are kept; by default RUN/ablation")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation.json"), help="the figures")
    args = parser.parse_args(words)
    config = configuration(read_preset(str(args.run / "config.yaml")))
    train, evaluate = (open_split(config.data, args.root, which, config.seed) for which in ("train", "evaluate"))
    split = ClassSplit.parse(config.data.split)
    chosen = evenly_spaced(len(evaluate), args.images).tolist()
    keep: Path = args.keep or args.run / "ablation"  # another run has other figures
    keep.mkdir(parents=True, exist_ok=True)
    seeds, memory = [], Memory()
    for seed in range(args.seeds):
        kept = keep / f"seed-{seed}-{args.shots}-shots-{len(chosen)}-images.json"
        if not kept.exists():
            part = kept.with_suffix(".part")
            part.write_text(json.dumps(one_seed(args.run, train, evaluate, split, chosen, args.shots, seed, memory)))
            part.replace(kept)
        seeds.append(json.loads(kept.read_text()))
    return save_tables(args.out, {f"{len(chosen)} images, {args.seeds} seeds, {args.shots} shots": over_seeds(seeds)})


if __name__ == "__main__":
    sys.stdout.write(main())
