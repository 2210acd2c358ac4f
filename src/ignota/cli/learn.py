"""Teaches a class from images, each with a mask, a polygon, a box or a click that shows the thing.

Whatever is not zero in a mask is the thing. Before the class is accepted it is told what it would take from other
classes; one that takes too much is refused, unless --force is given.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace

from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, add_branches, add_world, branches_of

if TYPE_CHECKING:
    from ignota.world.lesson import Lesson
    from ignota.world.marks import Mark

USAGE = "learn NAME --image I --mask M [--image I --mask M …] --world WORLD"
EXAMPLE = "ignota learn scooter --image a.jpg --mask a_mask.png --image b.jpg --mask b_mask.png --world my-world"
KINDS = ("mask", "polygon", "box", "click")


def arguments(parser: Parser) -> None:
    parser.add_argument("name", type=str, help="what the class is called; a class taught before gets further examples")
    parser.add_argument("--image", action="append", metavar="I", help="an image that shows it; may be repeated")
    parser.add_argument(
        "--mask", action="append", metavar="M", help="its mask, as large as the image, in the same order"
    )
    parser.add_argument("--polygon", action="append", metavar="P", help="or its outline: 'x,y x,y x,y …' in pixels")
    parser.add_argument("--box", action="append", metavar="B", help="or a box round it: 'left,top,right,bottom'")
    parser.add_argument("--click", action="append", metavar="C", help="or a point on it: 'x,y'")
    parser.add_argument(
        "--extent",
        type=Literal["unknown", "region", "channels", "union"],
        default="unknown",
        help="how far round a click the thing reaches: the unknown pixels, the region between edges, the meta "
        "channels' region, or both regions",
    )
    parser.add_argument("--force", action="store_true", help="teach it even if it takes much from other classes")
    add_branches(parser, "branches of the world that read the examples too, for `segment --method`")
    add_world(parser, own=True)


def run(args: Namespace) -> None:
    images = args.image or []
    given = {kind: args.get(kind) or [] for kind in KINDS}
    kinds = [kind for kind in KINDS if given[kind]]
    if len(kinds) > 1:
        raise UsageError(f"--{kinds[0]} and --{kinds[1]} in one call: show all images in one way, or call learn twice")
    kind = kinds[0] if kinds else "mask"
    if not images or len(images) != len(given[kind]):
        counts = f"{len(images)} --image and {len(given[kind])} --{kind}"
        raise UsageError(f"{counts}: give each image its {kind}, at least one pair")

    from ignota.cli.masks import read_example
    from ignota.cli.opening import opened_world
    from ignota.cli.terminal import say

    started = time.monotonic()
    pairs = list(zip(map(Path, images), given[kind], strict=True))
    with opened_world(args, writable=True) as world:
        world.exemplar_branches = branches_of(args) or ()
        if kind == "mask":
            masks = [read_example(image, Path(mask))[1] for image, mask in pairs]
            examples = [(image, mask) for (image, _), mask in zip(pairs, masks, strict=True)]
            lesson = world.learn(args.name, examples, force=args.force)
        else:
            marks = [(image, _mark(kind, text, args.extent)) for image, text in pairs]
            lesson = world.learn(args.name, marks, force=args.force)
    if not args.quiet:
        say(told(lesson, time.monotonic() - started))


def _mark(kind: str, text: str, extent: Literal["unknown", "region", "channels", "union"]) -> Mark:
    from ignota.world.marks import Box, Click, Polygon

    if kind == "polygon":
        return Polygon([(x, y) for x, y in (_numbers(corner, 2, "a corner 'x,y'") for corner in text.split())])
    if kind == "box":
        return Box(*_numbers(text, 4, "'left,top,right,bottom'"))
    x, y = _numbers(text, 2, "'x,y'")
    return Click(x, y, extent)


def _numbers(text: str, count: int, form: str) -> list[float]:
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count:
        raise UsageError(f"{form} in pixels is wanted, not {text!r}")
    return values


def told(lesson: Lesson, seconds: float) -> str:
    """What was learnt, and what it takes from other classes."""
    count = f"{lesson.examples} {'example' if lesson.examples == 1 else 'examples'}"
    lines = [f"learnt {lesson.name!r} from {count}, {lesson.pixels:,} pixels, in {seconds:.1f} s"]
    lines.append(f"it takes {100 * lesson.recognised:.0f} % of what was marked")
    for stolen, where in ((lesson.stolen, "on these images"), (lesson.stolen_held, "on held-out training images")):
        if stolen:
            parts = ", ".join(f"{100 * share:.1f} % of {name}" for name, share in list(stolen.items())[:3])
            lines.append(f"and, {where}, {parts}")
    return "\n".join(lines)
