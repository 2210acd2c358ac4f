"""How taught classes are recognised, chosen on training images: each known class in turn is forgotten and taught again.

    python -m experiments.taught_classes RUN ROOT [--shots 5] [--draw N] [--out runs/taught_classes.json]

RUN is a folder of `ignota run`, ROOT its data set. The class is left out of logits, training pixels and class means,
taught from images that were not held out, and looked for on the held-out ones. Margins stand on every other of these
and are used on the rest, and the other way round. Measures the harmonic mean of its IoU and the mean IoU of
the other classes, averaged over all classes: a row for each similarity, a column for each share that may be taken from
known classes and for margins that may or may not be negative.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from experiments.figures import save_tables
from jaxtyping import Float, UInt8
from torch import Tensor
from tqdm import tqdm

from ignota.data.datasets import LabelledImages
from ignota.data.images import resize_label
from ignota.data.shots import Shots, class_areas
from ignota.functional.confusion import confusion_matrix
from ignota.functional.numbers import area_quantile, evenly_spaced
from ignota.functional.regions import paint, region_areas, region_majority, region_mean
from ignota.perception.features import FeatureSpace, TaughtRows
from ignota.perception.novel import class_rows
from ignota.perception.reading import RegionReading, joined_score, own_parts, read_regions
from ignota.storage import bundle
from ignota.structures import InputError
from ignota.taxonomy import IGNORE_INDEX, ClassSplit
from ignota.training.experiment import open_split
from ignota.training.fitting import split_images
from ignota.training.settings import configuration, read_preset
from ignota.world.model import OpenWorldModel
from ignota.world.teaching import exemplar

MARGINS = {
    "1 %, 0 at least": (0.01, 0.0),
    "2 %, 0 at least": (0.02, 0.0),
    "0.5 %": (0.005, -np.inf),
    "1 %": (0.01, -np.inf),
    "2 %": (0.02, -np.inf),
}
"""The share that may be taken from known classes, and the smallest margin."""
SHARES = (0.0, 0.02, 0.05, 0.1)


@dataclass(frozen=True)
class View:
    """One held-out image. top: "2 H W" the two likeliest classes. anomaly: by the class that is left out, "R"."""

    label: UInt8[np.ndarray, "H W"]
    top: UInt8[np.ndarray, "2 H W"]
    reading: RegionReading
    owner: Tensor
    area: Float[Tensor, " R"]
    anomaly: dict[int, Float[Tensor, " R"]]


def view(world: OpenWorldModel, image: np.ndarray, label: np.ndarray, classes: int) -> View:
    encoding, known = world.encode(image), world.known
    reading = read_regions(encoding, known)
    regions, size = reading.hierarchy.finest, (encoding.image.shape[0], encoding.image.shape[1])
    label = resize_label(label, size)
    logits = torch.nn.functional.interpolate(encoding.logits[None], size=size, mode="bilinear")[0]
    owner, share = region_majority(label, regions, classes)
    labelled = region_mean(torch.from_numpy((label != IGNORE_INDEX).astype(np.float32)), regions) > 0.5
    anomaly = {}
    for c in range(classes):
        score = joined_score(own_parts(encoding, known, reading, c), reading.hierarchy, known)
        anomaly[c] = (region_mean(score, regions) - known.recipe.threshold) / known.recipe.scale
    owner = torch.where(labelled & (share > 0), owner.long(), IGNORE_INDEX)
    top = logits.topk(2, 0).indices.to(torch.uint8).numpy()
    return View(label, top, reading, owner, region_areas(regions) / label.size, anomaly)


def without(space: FeatureSpace, c: int) -> FeatureSpace:
    """The space as if class `c` had never been known."""
    kept = space.owner != c
    return dataclasses.replace(space, known=space.known[kept], owner=space.owner[kept])


def taught_from(
    world: OpenWorldModel, train: LabelledImages, images: Sequence[int], lut: np.ndarray, c: int
) -> TaughtRows:
    """The class as if these images had just taught it."""
    found = []
    for i in images:
        sample = train[i]
        encoding = world.encode(sample.image)
        found.append(exemplar(world, "class", encoding, world.tables(encoding), lut[sample.label] == c))
    rows, against = class_rows(world.known.space, found, torch.device("cpu"))
    owner, against_owner = (torch.zeros(len(some), dtype=torch.int64) for some in (rows, against))
    return TaughtRows(rows, owner, against, against_owner, torch.zeros(1), torch.tensor([len(images)]))


def excesses(space: FeatureSpace, seen: View, taught: TaughtRows, c: int) -> Iterator[tuple[str, Float[Tensor, " R"]]]:
    """Every similarity to the taught class beyond that to known ones, by the name of its row."""
    vectors = seen.reading.embeddings
    nearest = space.nearest(vectors)
    bare = dataclasses.replace(taught, against=taught.against[:0], against_owner=taught.against_owner[:0])
    yield "without counter-examples", space.excess(vectors, nearest, torch.zeros(len(vectors)), bare)[:, 0]
    for share in SHARES:
        added = share * seen.anomaly[c].clamp(-3, 3)
        yield f"with counter-examples, anomaly × {share:g}", space.excess(vectors, nearest, added, taught)[:, 0]


def figures(seen: Sequence[View], found: Sequence[Tensor], c: int, steal: float, least: float, classes: int) -> float:
    """Harmonic mean of the IoU of the taught class and of the others."""
    total = torch.zeros(classes, classes, dtype=torch.int64)
    margins = [_margin(seen[1 - half :: 2], found[1 - half :: 2], c, steal, least) for half in range(2)]
    for i, (one, excess) in enumerate(zip(seen, found, strict=True)):
        hierarchy = one.reading.hierarchy
        taken = hierarchy.blend(excess[:, None])[:, 0] > margins[i % 2]
        closed = np.where(one.top[0] == c, one.top[1], one.top[0])
        painted = paint(taken.to(torch.uint8), hierarchy.finest, 0.0).numpy() > 0
        labels = np.where(painted, np.uint8(c), closed)
        total += confusion_matrix(torch.from_numpy(one.label), torch.from_numpy(labels), classes)[:, :classes]
    hit = total.diagonal().double()
    iou = hit / (total.sum(0) + total.sum(1) - hit).clamp(min=1)
    old = torch.cat([iou[:c], iou[c + 1 :]]).mean()
    return float(2 * iou[c] * old / (iou[c] + old).clamp(min=1e-9))


def _margin(seen: Sequence[View], found: Sequence[Tensor], c: int, steal: float, least: float) -> float:
    kept = [(one.owner != IGNORE_INDEX) & (one.owner != c) for one in seen]
    values = torch.cat([excess[some] for excess, some in zip(found, kept, strict=True)])
    areas = torch.cat([one.area[some] for one, some in zip(seen, kept, strict=True)])
    return max(least, float(area_quantile(values, areas, 1 - steal)))


def main(words: Sequence[str] | None = None) -> str:
    """Writes the figures; gives the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--draw", type=int, default=None, help="a random draw instead of the largest exemplars")
    parser.add_argument("--images", type=int, default=10_000, help="held-out images at most")
    parser.add_argument("--out", type=Path, default=Path("runs/taught_classes.json"), help="the figures")
    args = parser.parse_args(words)
    config = configuration(read_preset(str(args.run / "config.yaml")))
    train, split = open_split(config.data, args.root, "train", config.seed), ClassSplit.parse(config.data.split)
    world, lut, classes = bundle.load(args.run / "world"), split.training_lut(), len(split.known)
    kept, held_out = split_images(evenly_spaced(len(train), config.fit.images).tolist(), config.fit.held_out)
    areas = class_areas(train, split.known)
    areas[:, [i for i in range(len(train)) if i not in set(kept)]] = 0
    with torch.inference_mode():
        seen = [
            view(world, train[i].image, lut[train[i].label], classes)
            for i in tqdm(held_out[: args.images], desc="reading", unit="image")
        ]
        rows: dict[str, list[list[float]]] = {}
        for c in tqdm(range(classes), desc="teaching", unit="class"):
            try:
                shots = Shots(args.shots, args.draw).choose(train, split.known[c], areas[c])
                taught = taught_from(world, train, shots, lut, c)
            except InputError:  # too few images show it, or too small
                continue
            space = without(world.known.space, c)
            each = [dict(excesses(space, one, taught, c)) for one in seen]
            for name in each[0]:
                found = [excess[name] for excess in each]
                rows.setdefault(name, []).append(
                    [figures(seen, found, c, *margin, classes) for margin in MARGINS.values()]
                )
    means = {name: dict(zip(MARGINS, np.mean(found, 0).tolist(), strict=True)) for name, found in rows.items()}
    return save_tables(args.out, {f"{args.shots} shots; taken at most": means})


if __name__ == "__main__":
    sys.stdout.write(main())
