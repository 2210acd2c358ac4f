"""How much of its own kind a taught class finds on other images, and how much of other unknown objects it claims.

    python -m experiments.claims CAMVID [--photos DIR] [--every 6] [--out FILE]

On every sixth training image of CamVid, unchanged and distorted as another camera might, car, pedestrian and bicyclist
are taught to camvid-8+3 one at a time: from one image, read on itself and on the next three, or from five, read on
others. On photographs of DIR, the largest unknown object of each is taught to camvid-11. Rows differ in what is taken
off the anomaly that counts for a class of one exemplar, and in the lowest similarity. No
image that is reported elsewhere is read.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from experiments.figures import Rows, save_tables
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from ignota.data.datasets import open_dataset
from ignota.data.images import read_image, resize_label
from ignota.data.transforms import distort
from ignota.evaluation.evaluation import untaught_copy
from ignota.functional.regions import paint, region_areas, region_mean
from ignota.perception.novel import assigned_class
from ignota.perception.scene import Tables
from ignota.storage import bundle
from ignota.structures import Encoding
from ignota.world.model import OpenWorldModel

CLASSES = ("car", "pedestrian", "bicyclist")
LEAST = 0.004
"""Share of an image that shows a class well enough to teach it."""
VARIANTS = {
    f"{name}, similarity {floor:g} or more" if floor > -1 else f"{name}, any similarity": (camera, floor)
    for name, camera in (("anomaly as it is", False), ("what a camera lifts taken off", True))
    for floor in (-1.0, 0.3, 0.35, 0.4, 0.5)
}


@dataclass(frozen=True)
class Seen:
    """An image with what is known of it. marks: "H W" by the name of what it shows, on the working grid."""

    encoding: Encoding
    tables: Tables
    marks: dict[str, Bool[np.ndarray, "H W"]]

    def full(self, name: str) -> Bool[np.ndarray, "H W"]:
        """A mark at the image's own size."""
        return resize_label(self.marks[name].astype(np.uint8), self.encoding.size) > 0


def assigned(world: OpenWorldModel, tables: Tables, camera: bool, floor: float) -> Bool[Tensor, " R"]:
    """Which regions belong to the only taught class: `Perception.taught` with other rules."""
    rows, recipe, reading, known = world.novel.taught, world.known.recipe, tables.reading, world.known
    assert rows is not None
    finest = reading.hierarchy.finest
    anomaly: Float[Tensor, " R"] = (region_mean(tables.score, finest) - recipe.threshold) / recipe.scale
    surprise = known.surprise(anomaly, region_areas(finest)) if camera else recipe.surprised(anomaly)
    excess = reading.hierarchy.blend(known.space.excess(reading.embeddings, reading.nearest, surprise, rows))
    similarity = known.space.taught_similarity(reading.embeddings, rows)
    return assigned_class(excess, similarity, rows.margin, floor) == 0


class Counts:
    """Pixels by the name of a figure: found, claimed or true, claimed of others, others."""

    def __init__(self) -> None:
        self.pixels: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(4))

    def update(self, name: str, found: np.ndarray, own: np.ndarray, other: np.ndarray) -> None:
        self.pixels[name] += [(found & own).sum(), (found | own).sum(), (found & other).sum(), other.sum()]

    def iou(self, name: str) -> float:
        return float(self.pixels[name][0] / max(self.pixels[name][1], 1))

    def claimed(self, name: str) -> float:
        return float(self.pixels[name][2] / max(self.pixels[name][3], 1))


def read(world: OpenWorldModel, image: np.ndarray) -> tuple[Encoding, Tables]:
    with torch.inference_mode():
        encoding = world.encode(image)
        return encoding, world.tables(encoding)


def lessons(seen: Sequence[Seen], name: str) -> Iterator[tuple[str, list[Seen], list[Seen]]]:
    """Title, what a class is taught from, and what it is looked for on."""
    shown = [one for one in seen if one.marks[name].mean() > LEAST]
    for i, one in enumerate(shown):
        yield "own", [one], [one]
        yield "one", [one], [shown[(i + k) % len(shown)] for k in range(1, min(4, len(shown)))]
    for i in range(0, len(shown) - 4, 5):
        rest = [one for one in shown if not any(one is five for five in shown[i : i + 5])]
        yield "five", shown[i : i + 5], rest[:: max(1, len(shown) // 12)]


def on_streets(root: Path, every: int, strength: float) -> Rows:
    """The rows on CamVid's training images; strength: of the distortion, 0 for none."""
    base, train = bundle.load("camvid-8+3", recipe="light"), open_dataset("camvid", root, "train")
    assert train.taxonomy is not None
    ids = {label.name: label.id for label in train.taxonomy.classes}
    seen = []
    for i in tqdm(range(0, len(train), every), desc="read", unit="image"):
        sample = train[i]
        assert sample.label is not None
        image = distort(sample.image, strength, np.random.default_rng(i)) if strength else sample.image
        encoding, tables = read(base, image)
        label = resize_label(sample.label, tables.regions.ids.shape)
        seen.append(Seen(encoding, tables, {name: label == ids[name] for name in CLASSES}))
    counts = {row: Counts() for row in VARIANTS}
    for name in CLASSES:
        for title, taught, others in tqdm(list(lessons(seen, name)), desc=name, unit="lesson"):
            world = untaught_copy(base)
            world.learn(name, [(one.encoding, one.full(name)) for one in taught], force=True)
            for one in others:
                other = np.any([one.marks[n] for n in CLASSES if n != name], axis=0)
                tally(world, one, counts, f"{title} {name}", one.marks[name], other)
            world.store.close()
    titles = {"own": "own image", "one": "from one image", "five": "from five images"}
    return {
        row: {f"{text}, {what}": float(np.mean([getattr(found, what)(f"{title} {name}") for name in CLASSES]))
              for title, text in titles.items() for what in ("iou", "claimed")}
        for row, found in counts.items()
    }  # fmt: skip


def tally(
    world: OpenWorldModel, one: Seen, counts: dict[str, Counts], title: str, own: np.ndarray, other: np.ndarray
) -> None:
    """Counts one image by every rule."""
    for row, (camera, floor) in VARIANTS.items():
        with torch.inference_mode():
            found = paint(assigned(world, one.tables, camera, floor), one.tables.regions, False).numpy()
        counts[row].update(title, found, own, other)


def on_photos(folder: Path) -> Rows:
    """The rows on photographs, each with one object: IoU on its own image, share claimed of all the others."""
    base, seen = bundle.load("camvid-11", recipe="full"), []
    for path in tqdm(sorted(folder.iterdir()), desc="photographs", unit="image"):
        encoding, tables = read(base, read_image(path))
        unknown = base.scene(encoding, tables).unknown
        if unknown:
            mark = max(unknown, key=lambda region: region.area).mask.astype(np.uint8)
            seen.append(Seen(encoding, tables, {"x": resize_label(mark, tables.regions.ids.shape) > 0}))
    counts = {row: Counts() for row in VARIANTS}
    for one in tqdm(seen, desc="taught", unit="photograph"):
        world = untaught_copy(base)
        world.learn("x", [(one.encoding, one.full("x"))], force=True)
        for other in seen:
            same, nothing = other is one, np.zeros_like(other.marks["x"])
            tally(world, other, counts, "own" if same else "other", other.marks["x"] if same else nothing, ~nothing)
        world.store.close()
    return {
        row: {"own image, iou": found.iou("own"), "claimed of other photographs": found.claimed("other")}
        for row, found in counts.items()
    }


def main(words: Sequence[str] | None = None) -> str:
    """Writes the figures; gives the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--photos", type=Path, help="a folder of photographs and nothing else")
    parser.add_argument("--every", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("experiments/measured/claims/claims.json"))
    args = parser.parse_args(words)
    tables = {
        "training images": on_streets(args.data, args.every, 0.0),
        "training images, distorted": on_streets(args.data, args.every, 1.0),
    }
    if args.photos is not None:
        tables["photographs"] = on_photos(args.photos)
    return save_tables(args.out, tables)


if __name__ == "__main__":
    sys.stdout.write(main())
