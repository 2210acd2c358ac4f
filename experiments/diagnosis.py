"""Says where a world loses what it could gain: each part is replaced by the truth, one at a time.

    python -m experiments.diagnosis WORLD DATASET ROOT [--shots 5] [--images N] [--out runs/diagnosis.json]

Writes two tables, for anomalies and for taught classes; the first alone where a data set has no classes.
Rows of `raml_paper` after learning need a world with the branch `paper`. A row is a diagnosis and no result: it was
read off the very labels that it is measured on.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import torch
from experiments.figures import Rows, save_tables
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm import tqdm

from ignota.data.datasets import LabelledImages, open_dataset
from ignota.data.images import resize_label
from ignota.evaluation.evaluation import teach, untaught_copy, world_split
from ignota.functional.numbers import evenly_spaced
from ignota.functional.prototypes import assign_novel, class_prototypes, novel_similarity
from ignota.functional.regions import paint, region_majority, region_mean
from ignota.functional.scores import uncertainty_intensity
from ignota.metrics.anomaly import AnomalyMetrics
from ignota.metrics.segmentation import SegmentationMetrics
from ignota.perception.features import FeatureSpace, TaughtRows, pool_taps
from ignota.perception.hierarchy import Hierarchy
from ignota.perception.novel import NovelEvidence
from ignota.perception.raml import branch_evidence
from ignota.perception.reading import (
    RegionReading,
    joined_parts,
    joined_score,
    own_parts,
    own_score,
    read_regions,
    to_image,
)
from ignota.perception.scene import Tables
from ignota.storage import bundle
from ignota.structures import Encoding, RegionSet
from ignota.taxonomy import ClassSplit
from ignota.world.labelling import label_maps
from ignota.world.model import OpenWorldModel

_WEIGHTS = (0.0, 0.5, 1.0, 2.0, 4.0)
_FACTORS = (0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
_THETAS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_MIXED = 0.5


@dataclass(frozen=True)
class View:
    """One image of the data set: what the world makes of it and what is true.

    label: "H W" world ids, known ones before novel ones, 255 void, on the working grid.
    """

    key: str
    encoding: Encoding
    reading: RegionReading
    label: UInt8[np.ndarray, "H W"]
    known: int

    @cached_property
    def truth(self) -> RegionSet:
        """Connected components of each class, and of void."""
        ids, count = np.zeros(self.label.shape, np.int32), 0
        for value in np.unique(self.label):
            found, pieces = cv2.connectedComponents((self.label == value).astype(np.uint8), connectivity=8)
            ids = np.where(pieces > 0, pieces + count, ids).astype(np.int32)
            count += found - 1
        return RegionSet(ids, count)

    @property
    def anomaly(self) -> UInt8[np.ndarray, "H W"]:
        return np.where(self.label == 255, 255, self.label >= self.known).astype(np.uint8)

    def true_reading(self, space: FeatureSpace) -> RegionReading:
        """The reading as it would be if the regions were the true ones."""
        embeddings = space.embed(pool_taps(self.encoding, self.truth, space.taps))
        return RegionReading(Hierarchy((self.truth,)), embeddings, space.nearest(embeddings))


def views(world: OpenWorldModel, dataset: LabelledImages, split: ClassSplit | None, images: int) -> list[View]:
    """Every image, or `images` of them evenly spread, encoded once; without a split labels are normal and anomaly."""
    chosen = evenly_spaced(len(dataset), images).tolist()
    lut, known = (split.world_lut(), len(split.known)) if split else (np.arange(256, dtype=np.uint8), 1)
    found = []
    for i in tqdm(chosen, desc="reading", unit="image"):
        sample = dataset[i]
        encoding = world.encode(sample.image)
        label = resize_label(lut[sample.label], (encoding.image.shape[0], encoding.image.shape[1]))
        with torch.inference_mode():
            found.append(View(sample.key, encoding, read_regions(encoding, world.known), label, known))
    return found


def true_space(world: OpenWorldModel, seen: Sequence[View]) -> FeatureSpace:
    """The world's space with known pixels of the very images that are measured, as many as it has training pixels."""
    space = world.known.space
    rng, rows, owner = np.random.default_rng(0), [], []
    for view in seen:
        small = resize_label(view.label, tuple(view.encoding.features[space.taps[0]].shape[-2:]))
        places = np.flatnonzero((small < view.known).ravel())
        drawn = rng.choice(places, min(len(places), -(-len(space.known) // len(seen))), replace=False)
        ids = np.zeros(small.size, np.int32)
        ids[drawn] = np.arange(1, len(drawn) + 1)
        points = RegionSet(ids.reshape(small.shape), len(drawn))
        rows.append(space.embed(pool_taps(view.encoding, points, space.taps)))
        owner.append(torch.from_numpy(small.ravel()[drawn]))
    return dataclasses.replace(space, known=torch.cat(rows), owner=torch.cat(owner))


def anomaly_scores(
    world: OpenWorldModel, view: View, other: FeatureSpace, prototypes: Tensor | None
) -> dict[str, Tensor]:
    """Every variant of the anomaly score by the name of its row."""
    known, encoding, reading = world.known, view.encoding, view.reading
    true = view.true_reading(known.space)
    parts = own_parts(encoding, known, reading)
    by_pixel = torch.stack([parts[0], parts[1], world.scores(encoding, ["knn"])["knn"]])
    true_parts = own_parts(encoding, known, true)
    state = known.states["knn"] | {"coreset": other.known, "owner": other.owner}
    there = dataclasses.replace(known, states=known.states | {"knn": state})
    elsewhere = dataclasses.replace(reading, nearest=other.nearest(reading.embeddings))
    found = {
        "MaxLogit": parts[0],
        "MaxLogit, means over regions": reading.hierarchy.smooth(parts[0]),
        "MaxLogit, means over true regions": _means(parts[0], view.truth),
        "raml by pixel": joined_parts(by_pixel, known),
        "**raml**": joined_score(parts, reading.hierarchy, known),
        "raml, true regions": _means(joined_parts(true_parts, known), view.truth),
        "raml, known pixels of these images": joined_score(
            own_parts(encoding, there, elsewhere), reading.hierarchy, there
        ),
    }
    smooth = torch.stack([reading.hierarchy.smooth(part) for part in parts])
    for weights in product((0.0, 1.0), (0.0, 1.0), _WEIGHTS):
        if any(weights):
            chosen = dataclasses.replace(known, recipe=dataclasses.replace(known.recipe, weights=weights))
            found[f"best weights:{weights}"] = joined_parts(smooth, chosen)
    return found | _printed(world, view, prototypes)


def _printed(world: OpenWorldModel, view: View, prototypes: Tensor | None) -> dict[str, Tensor]:
    """The paper's Q with one part after the other replaced."""
    encoding, space = view.encoding, world.known.spaces["paper"]
    urs = world.known.recipe.urs(encoding.image, encoding.logits)
    best = to_image(encoding.logits.amax(0), encoding)
    kind = (view.label >= view.known).astype(np.uint8)
    found = {}
    for where, regions in (("", urs), (", true regions", view.truth)):
        embeddings = space.embed(pool_taps(encoding, regions, space.taps))
        majority, share = region_majority(np.where(view.label == 255, 255, kind).astype(np.uint8), regions, 2)
        perfect = torch.where((majority == 1) & (share > _MIXED), 0.0, 1.0)
        likeness = {"": space.known_similarity(embeddings)}
        if prototypes is not None:
            true = dataclasses.replace(space, prototypes=prototypes)
            likeness[", true prototypes"] = true.known_similarity(embeddings)
        for how, similarity in likeness.items():
            found[f"raml_paper{where}{how}"] = uncertainty_intensity(best, similarity, regions, sign="printed")
        found[f"raml_paper{where}, perfect D"] = uncertainty_intensity(best, perfect, regions)
    return found


def _means(values: Float[Tensor, "H W"], regions: RegionSet) -> Float[Tensor, "H W"]:
    return paint(region_mean(values, regions), regions, 0.0)


def true_prototypes(world: OpenWorldModel, seen: Sequence[View], novel: bool) -> Float[Tensor, "K D"]:
    """Mean embedding of each known class's true regions in the very images by the paper's D of the anomaly stage, or of
    each novel class's by that of the branch `paper`."""
    space, rows, owner = world.known.spaces["paper"], [], []
    for view in seen:
        kinds, _ = region_majority(view.label, view.truth, 255)
        if novel:
            rows.append(branch_embeddings(world, view))
        else:
            rows.append(space.embed(pool_taps(view.encoding, view.truth, space.taps)))
        owner.append(kinds)
    first, last = (seen[0].known, 254) if novel else (0, seen[0].known)
    label, vectors = torch.cat(owner).long(), torch.cat(rows)
    kept = (label >= first) & (label < last)
    return class_prototypes(vectors[kept], label[kept] - first, int(label[kept].max()) - first + 1)


@torch.inference_mode()
def branch_embeddings(world: OpenWorldModel, view: View) -> Float[Tensor, "R D"]:
    """The true regions by D of the branch `paper`."""
    branch = world.branch("paper")
    return branch.embedder(branch.read(view.encoding).pool(view.truth))


def true_exemplars(world: OpenWorldModel, seen: Sequence[View]) -> TaughtRows:
    """Every region of the novel things in the very images, in place of the shots'; margins stay."""
    rows, owner, taught = [], [], world.novel.taught
    assert taught is not None
    for view in seen:
        for regions in (view.reading.hierarchy.finest, view.truth):
            kinds, share = region_majority(view.label, regions, 255)
            kept = (kinds >= view.known) & (kinds < 254) & (share > 0.7)
            rows.append(world.known.space.embed(pool_taps(view.encoding, regions, world.known.space.taps))[kept])
            owner.append(kinds[kept].long() - view.known)
    return dataclasses.replace(taught, rows=torch.cat(rows), owner=torch.cat(owner))


def taught_maps(
    world: OpenWorldModel, view: View, exemplars: TaughtRows, prototypes: Tensor | None
) -> Iterator[tuple[str, UInt8[np.ndarray, "H W"]]]:
    """Every variant of the labels after teaching, by the name of its row."""
    printed = ("raml_paper",) if prototypes is not None else ()
    methods = ("raml", *printed, "npm_frozen")
    plain = label_maps(world, view.encoding, methods)
    closed, novel = plain["closed"], world.novel
    assert novel.taught is not None
    yield from ((f"**{name}**" if name == "raml" else name, plain[name]) for name in methods)
    yield "raml on novel pixels alone", np.where(view.label >= view.known, plain["raml"], closed)
    readings = {"": view.reading, ", true regions": view.true_reading(world.known.space)}
    for where, rows in ((", true regions", novel.taught), (", exemplars of these images", exemplars)):
        reading = readings.get(where, view.reading)
        yield f"raml{where}", _labels(world, view, reading, dataclasses.replace(novel, taught=rows), closed)
    for factor in _FACTORS:
        rows = dataclasses.replace(novel.taught, margin=novel.taught.margin * factor)
        yield (
            f"best margin:×{factor}",
            _labels(world, view, view.reading, dataclasses.replace(novel, taught=rows), closed),
        )
    if prototypes is None:
        return
    known = plain["closed:paper"]
    embeddings, evidence = (
        branch_embeddings(world, view),
        branch_evidence(world.branch("paper"), world.store.exemplars()),
    )
    for name, centres in (("", evidence.prototypes), (" and prototypes", prototypes)):
        for theta in _THETAS:
            owner = assign_novel(novel_similarity(embeddings, centres), theta)
            painted = _painted(owner, view.truth, known, view.known)
            yield f"raml_paper, true regions{name}, best θ:{theta}", painted


def _labels(
    world: OpenWorldModel, view: View, reading: RegionReading, novel: NovelEvidence, closed: UInt8[np.ndarray, "H W"]
) -> UInt8[np.ndarray, "H W"]:
    tables = Tables(view.encoding.size, closed, own_score(view.encoding, world.known, reading), reading)
    return _painted(world.taught(tables, novel).novel, reading.hierarchy.finest, closed, len(world.taxonomy))


def _painted(owner: Tensor, regions: RegionSet, closed: UInt8[np.ndarray, "H W"], known: int) -> np.ndarray:
    found = paint(owner, regions, -1.0).cpu().numpy()
    return np.where(found >= 0, found + known, closed).astype(np.uint8)


def best_of(figures: dict[str, tuple[float, ...]], key: Callable[[tuple[float, ...]], float]) -> dict[str, tuple]:
    """Rows "name:choice" become one, of the best choice."""
    groups: dict[str, list[tuple[str, tuple[float, ...]]]] = {}
    for name, values in figures.items():
        groups.setdefault(name.partition(":")[0], []).append((name.partition(":")[2], values))
    best = {name: max(found, key=lambda one: key(one[1])) for name, found in groups.items()}
    return {f"{name} ({choice})" if choice else name: values for name, (choice, values) in best.items()}


def anomaly_table(world: OpenWorldModel, seen: Sequence[View], classes: bool) -> Rows:
    metrics, other = AnomalyMetrics(), true_space(world, seen)
    prototypes = true_prototypes(world, seen, novel=False) if classes else None
    for view in tqdm(seen, desc="anomalies", unit="image"):
        with torch.inference_mode():
            scores = anomaly_scores(world, view, other, prototypes)
        metrics.update(view.key, {name: score.cpu().numpy() for name, score in scores.items()}, view.anomaly)
    pooled = {name: found["pooled"] for name, found in metrics.compute()["scores"].items()}
    rows = best_of({name: (p["aupr"], p["auroc"], p["fpr95"]) for name, p in pooled.items()}, lambda v: v[0])
    return {name: dict(zip(("AUPR", "AUROC", "FPR95"), values, strict=True)) for name, values in rows.items()}


def taught_table(world: OpenWorldModel, seen: Sequence[View], split: ClassSplit) -> Rows:
    exemplars = true_exemplars(world, seen)
    prototypes = true_prototypes(world, seen, novel=True) if world.exemplar_branches else None
    states: dict[str, SegmentationMetrics] = {}
    for view in tqdm(seen, desc="taught classes", unit="image"):
        with torch.inference_mode():
            for name, labels in taught_maps(world, view, exemplars, prototypes):
                if name not in states:
                    states[name] = SegmentationMetrics(split.world_taxonomy, len(split.known))
                states[name].update(view.label, labels)
    found = {name: state.compute() for name, state in states.items()}
    names = split.world_taxonomy.names[len(split.known) :]
    figures = {
        name: tuple(value["miou"][k] for k in ("harmonic", "novel", "old")) + tuple(value["iou"][n] for n in names)
        for name, value in found.items()
    }
    columns = ("harmonic", "novel", "old", *names)
    best = best_of(figures, lambda v: v[0] or 0.0)
    return {name: dict(zip(columns, values, strict=True)) for name, values in best.items()}


def main(words: Sequence[str] | None = None) -> str:
    """Writes the figures; gives both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world")
    parser.add_argument("dataset")
    parser.add_argument("root")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--out", type=Path, default=Path("runs/diagnosis.json"), help="the figures")
    args = parser.parse_args(words)
    loaded, dataset = bundle.load(args.world), open_dataset(args.dataset, args.root, "val")
    world = untaught_copy(loaded, [system for system in ("paper",) if system in loaded.branches.systems])
    split = world_split(world, dataset.taxonomy) if dataset.taxonomy else None
    seen = views(world, dataset, split, args.images)
    tables = {f"{args.dataset}, {len(seen)} images": anomaly_table(world, seen, split is not None)}
    if split is not None:
        teach(world, open_dataset(args.dataset, args.root, "train"), split, args.shots)
        tables[f"{args.shots} shots"] = taught_table(world, seen, split)
    return save_tables(args.out, tables)


if __name__ == "__main__":
    sys.stdout.write(main())
