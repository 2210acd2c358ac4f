"""What boxes and clicks pick, on labelled training images: IoU with the objects of some classes.

    python -m experiments.marks WORLD ROOT [--images N] [--classes car pedestrian] [--out runs/marks.json]

ROOT is the folder of CamVid. Objects are connected pixels of a class, a thousandth of the image at least. Boxes are up
to 8 % too large, or 5 % too small, on each side. The first click is in the middle of the object, each further one in
the middle of the largest error. `before` is GrabCut, the unknown pixels, and clicks that add and take away regions.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from experiments.figures import save_tables
from numpy.typing import NDArray
from tqdm import tqdm

from ignota.data.datasets import open_dataset
from ignota.data.images import resize_label
from ignota.functional.numbers import evenly_spaced
from ignota.perception.marks import Box, Click, box_mask
from ignota.perception.perception import Perception
from ignota.perception.scene import Scene
from ignota.storage import bundle
from ignota.structures import InputError

Mask = NDArray[np.bool_]
Pick = Callable[[Click, str, Mask], Mask]
CLICKS = 4


def things(label: NDArray[np.uint8], value: int) -> Iterator[Mask]:
    """Connected pixels of a class."""
    _, ids, statistics, _ = cv2.connectedComponentsWithStats((label == value).astype(np.uint8), connectivity=8)
    for i in range(1, len(statistics)):
        if statistics[i, cv2.CC_STAT_AREA] >= 0.001 * label.size:
            yield ids == i


def middle(mask: Mask) -> tuple[float, tuple[float, float]]:
    """How far from its edge the pixel that is farthest lies, and its x and y."""
    far = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(far.argmax(), far.shape)
    return float(far.max()), (float(column), float(row))


def box_round(mask: Mask, rng: np.random.Generator) -> Box:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    left, top, right, bottom = rng.uniform(-0.05, 0.08, 4)
    return Box(
        float(max(0, columns[0] - left * width)), float(max(0, rows[0] - top * height)),
        float(min(mask.shape[1], columns[-1] + 1 + right * width)),
        float(min(mask.shape[0], rows[-1] + 1 + bottom * height)),
    )  # fmt: skip


def corrected(pick: Pick, thing: Mask, seen: Mask) -> Iterator[Mask]:
    """What is picked after each click."""
    click, how = Click(*middle(thing)[1]), ""
    mask = pick(click, how, thing)
    for _ in range(CLICKS):
        yield mask
        lacking, extra = middle(thing & ~mask), middle(mask & ~thing & seen)
        if lacking[0] > extra[0]:
            click, how = dataclasses.replace(click, plus=(*click.plus, lacking[1])), "plus"
        else:
            click, how = dataclasses.replace(click, minus=(*click.minus, extra[1])), "minus"
        mask = pick(click, how, mask)


def now(world: Perception, scene: Scene, click: Click) -> Mask:
    """By today's rules; the region between edges where nothing is unknown."""
    try:
        return world.select(scene, click).mask
    except InputError:
        return world.select(scene, dataclasses.replace(click, extent="region")).mask


def before(world: Perception, scene: Scene, click: Click, how: str, mask: Mask) -> Mask:
    """By the rules before: the first click takes unknown pixels, further ones objects or regions."""
    if not how:
        return now(world, scene, dataclasses.replace(click, extent="unknown"))
    x, y = (click.minus if how == "minus" else click.plus)[-1]
    region = world.select(scene, Click(x, y, extent="region")).mask
    if how == "minus":
        left = mask & ~region
        return left if left.sum() > 0.05 * mask.sum() else mask
    ids = scene.object_ids()
    return mask | (ids == ids[int(y), int(x)] if ids[int(y), int(x)] else region)


def main(words: Sequence[str] | None = None) -> str:
    """Reads the command line, measures, and gives the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("world")
    parser.add_argument("root", type=Path)
    parser.add_argument("--recipe", default="full")
    parser.add_argument("--images", type=int, default=36)
    parser.add_argument("--classes", nargs="+", default=["car", "pedestrian"])
    parser.add_argument("--out", type=Path, default=Path("runs/marks.json"))
    args = parser.parse_args(words)
    world, samples = bundle.load(args.world, recipe=args.recipe), open_dataset("camvid", args.root, "train")
    rng, found = np.random.default_rng(0), defaultdict[tuple[str, str], list[float]](list)
    for i in tqdm(evenly_spaced(len(samples), args.images), unit="image"):
        sample = samples[int(i)]
        scene = world.segment(sample.image)
        assert sample.label is not None and samples.taxonomy is not None
        label = resize_label(sample.label, scene.tables.size)
        for name in args.classes:
            for thing in things(label, samples.taxonomy.id_of(name)):
                for what, mask in picks(world, scene, thing, label != 255, rng):
                    mask = mask & (label != 255)
                    found[name, what].append(float((mask & thing).sum() / (mask | thing).sum()))
    whats = list(dict.fromkeys(what for _, what in found))
    rows = {what: {name: float(np.mean(found[name, what])) for name in args.classes} for what in whats}
    counts = {name: str(len(found[name, whats[0]])) for name in args.classes}
    return save_tables(args.out, {"IoU": {**rows, "objects": counts}})


def picks(
    world: Perception, scene: Scene, thing: Mask, seen: Mask, rng: np.random.Generator
) -> Iterator[tuple[str, Mask]]:
    """By what it is picked, and the mask."""
    box = box_round(thing, rng)
    yield "box, before", box_mask(box, scene.encoding.image, scene.tables.size)
    yield "box", world.select(scene, box).mask
    for n, mask in enumerate(corrected(lambda *given: before(world, scene, *given), thing, seen), start=1):
        yield f"{n} clicks, before", mask
    for n, mask in enumerate(corrected(lambda click, *_: now(world, scene, click), thing, seen), start=1):
        yield f"{n} clicks", mask


if __name__ == "__main__":
    sys.stdout.write(main())
