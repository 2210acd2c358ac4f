"""Draws the README's picture: an unknown object is found whole, named once, and recognised in the next image.

    python -m experiments.loop_picture [--world camvid-11] [--image A --next B] [--name cow] [--out docs/images/loop.jpg]

By default the images are the first two drawn streets that the page offers. The most anomalous object is named. The
world itself is not changed: a copy in memory learns.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import ignota.web
from ignota.data.images import read_image, write_jpeg
from ignota.evaluation.evaluation import untaught_copy
from ignota.perception.scene import Scene
from ignota.reports.pictures import label_tags, overlay
from ignota.storage import bundle
from ignota.structures import InputError
from ignota.taxonomy import UNKNOWN_COLOUR

Picture = NDArray[np.uint8]
STATIC = Path(ignota.web.__path__[0]) / "static"
_GAP, _BAND = 8, 26
_SMALLEST_TAG = 0.01


def pictures(folder: Path, image: Picture, following: Picture, name: str) -> list[tuple[str, Picture]]:
    """The four panels with their captions. Raises InputError where nothing is unknown in the image."""
    world = untaught_copy(bundle.load(folder))
    before = world.segment(image)
    if not before.unknown:
        raise InputError("nothing is unknown in the first image: take another one")
    world.learn(name, before.unknown[0])
    after = world.segment(following)
    return [
        ("A closed set knows only its classes", tagged(image, before)),
        ("Unknown objects, whole", outlined(image, before)),
        (f"One of them is named: {name}", tagged(image, world.segment(image))),
        ("The next image", tagged(following, after)),
    ]


def outlined(image: Picture, scene: Scene) -> Picture:
    """Each unknown object in its outline, with its anomaly, over a grey image."""
    picture = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2)
    ids = scene.object_ids(0.5)
    inside = ids > 0
    picture[inside] = image[inside]
    width = max(2, image.shape[0] // 150)
    for number in range(1, int(ids.max()) + 1):
        edges, _ = cv2.findContours((ids == number).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, edges, -1, UNKNOWN_COLOUR, width)
    return label_tags(picture, ids, {n: f"unknown {one.score:.2f}" for n, one in enumerate(scene.unknown, start=1)})


def tagged(image: Picture, scene: Scene) -> Picture:
    """Labels over the image, each large enough class named once."""
    labels = scene.labels
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
    parser.add_argument("--world", default="camvid-11", help="a folder, or the name of a shipped world")
    parser.add_argument("--image", type=Path, default=STATIC / "example-1.jpg", help="something unknown is in it")
    parser.add_argument("--next", type=Path, default=STATIC / "example-2.jpg", help="the same kind of thing is in it")
    parser.add_argument("--name", default="cow", help="of the thing")
    parser.add_argument("--out", type=Path, default=Path("docs/images/loop.jpg"))
    parser.add_argument("--width", type=int, default=600, help="of a panel, in pixels")
    args = parser.parse_args(words)
    panels = pictures(bundle.find_world(args.world), read_image(args.image), read_image(args.next), args.name)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_jpeg(args.out, sheet(panels, args.width))
    sys.stdout.write(f"{args.out}\n")
    return Path(args.out)


if __name__ == "__main__":
    main()
