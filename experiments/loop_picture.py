"""Draws the README's picture from a trained world: what comes in, and what three readings of it say.

    python -m experiments.loop_picture [--world runs/demo/world] [--out docs/images/loop.jpg]

The world must have been trained on the synthetic streets with novel classes, as `ignota demo` does. The street shown is
the validation street, among the first `--streets`, on which the novel classes are largest: not the one that comes out
best. The world itself is not changed: a copy in memory learns.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ignota.data.drawn import DrawnImages
from ignota.data.images import write_jpeg
from ignota.evaluation.evaluation import teach, untaught_copy
from ignota.perception.scene import Scene
from ignota.reports.pictures import heat_map, label_tags, overlay
from ignota.storage import bundle
from ignota.structures import InputError
from ignota.taxonomy import ClassSplit

Picture = NDArray[np.uint8]
_GAP, _BAND = 8, 26
_SMALLEST_TAG = 0.01


def pictures(
    folder: Path, streets: int, shots: int, size: tuple[int, int] | None = None
) -> tuple[list[tuple[str, Picture]], str]:
    """The four panels with their captions, and the name of the street; size: of the streets, by default trained size.

    Raises InputError for a world without novel classes.
    """
    world = untaught_copy(bundle.load(folder))
    configuration = world.provenance["configuration"]
    data = configuration["data"]
    split = ClassSplit.parse(data["split"])
    if data["dataset"] != "synthetic" or not split.novel:
        raise InputError(f"{folder} knows {data['split']} of {data['dataset']}: take the world of `ignota demo`")
    size = size or (data["height"], data["width"])
    sample, truth = largest_novel(DrawnImages("val", streets, size, configuration["seed"]), split.novel)
    before = world.segment(sample)
    support = DrawnImages("train", data["train_length"], size, configuration["seed"])
    teach(world, support, split, shots)
    after = world.segment(sample)
    *first, last = [split.taxonomy.classes[i].name for i in split.novel if (truth == i).any()] or ["nothing new"]
    names = f"{', '.join(first)} and {last}" if first else last
    panels = [
        (f"A street with {names}, void in training", sample),
        ("What the closed set says: only known classes", tagged(sample, before, before.labels)),
        ("What belongs to no class: anomaly", heat_map(before.anomaly, sample)),
        (f"Learnt from {shots} examples a class, no training", tagged(sample, after, after.labels)),
    ]
    return panels, f"{streets} validation streets, seed {configuration['seed']}"


def largest_novel(streets: DrawnImages, novel: Sequence[int]) -> tuple[Picture, Picture]:
    """Image and label of the street on which the classes `novel` take most pixels."""
    samples = [streets[i] for i in range(len(streets))]
    best = max(samples, key=lambda sample: float(np.isin(sample.label, novel).mean()))
    return best.image, np.asarray(best.label)


def tagged(image: Picture, scene: Scene, labels: Picture) -> Picture:
    """Labels over the image, each large enough class named once."""
    picture = overlay(image, labels, scene.taxonomy.palette(), 0.65)
    regions = np.zeros(labels.shape, np.int32)
    names: dict[int, str] = {}
    for label in scene.taxonomy.classes:
        mask = labels == label.id
        if mask.mean() >= _SMALLEST_TAG:
            regions[mask] = len(names) + 1
            names[len(names) + 1] = label.name
    return label_tags(picture, regions, names)


def sheet(panels: Sequence[tuple[str, Picture]], width: int) -> Picture:
    """Two by two on white, each panel `width` wide under its caption."""
    height = round(width * panels[0][1].shape[0] / panels[0][1].shape[1])
    page = Image.new("RGB", (2 * width + 3 * _GAP, 2 * (height + _BAND) + 3 * _GAP), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(16)
    for i, (caption, picture) in enumerate(panels):
        left, top = _GAP + i % 2 * (width + _GAP), _GAP + i // 2 * (height + _BAND + _GAP)
        draw.text((left, top + 2), caption, fill=(30, 30, 34), font=font)
        page.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS), (left, top + _BAND))
    return np.asarray(page)


def main(words: Sequence[str] | None = None) -> Path:
    """Reads the command line, writes the picture, returns its path."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--world", type=Path, default=Path("runs/demo/world"))
    parser.add_argument("--out", type=Path, default=Path("docs/images/loop.jpg"))
    parser.add_argument("--streets", type=int, default=40)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--width", type=int, default=480, help="of a panel, in pixels")
    args = parser.parse_args(words)
    panels, origin = pictures(args.world, args.streets, args.shots)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_jpeg(args.out, sheet(panels, args.width))
    sys.stdout.write(f"{args.out}: the street of {origin} with most of the novel classes\n")
    return Path(args.out)


if __name__ == "__main__":
    main()
