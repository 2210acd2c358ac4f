"""Teaches a class from images and masks; whatever is not zero in a mask is the thing."""

from __future__ import annotations

import time
from pathlib import Path

from jsonargparse import Namespace

from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, add_world

USAGE = "learn NAME --image I --mask M [--image I --mask M …] --world WORLD"
EXAMPLE = "ignota learn scooter --image a.jpg --mask a_mask.png --image b.jpg --mask b_mask.png --world my-world"


def arguments(parser: Parser) -> None:
    parser.add_argument("name", type=str, help="what the class is called; a class taught before gets further examples")
    parser.add_argument("--image", action="append", metavar="I", help="an image that shows it; may be repeated")
    parser.add_argument(
        "--mask", action="append", metavar="M", help="its mask, as large as the image, in the same order"
    )
    add_world(parser, own=True)


def run(args: Namespace) -> None:
    images, masks = args.image or [], args.mask or []
    if not images or len(images) != len(masks):
        raise UsageError(f"{len(images)} --image and {len(masks)} --mask: give each image its mask, at least one pair")

    from ignota.cli.masks import read_example
    from ignota.cli.opening import opened_world
    from ignota.cli.terminal import say

    started = time.monotonic()
    examples = [read_example(Path(image), Path(mask)) for image, mask in zip(images, masks, strict=True)]
    with opened_world(args, writable=True) as world:
        world.learn(args.name, examples)
    if not args.quiet:
        pixels = sum(int(mask.sum()) for _, mask in examples)
        count = f"{len(examples)} {'example' if len(examples) == 1 else 'examples'}"
        seconds = time.monotonic() - started
        say(f"learnt {args.name.strip()!r} from {count}, {pixels:,} pixels, in {seconds:.1f} s")
