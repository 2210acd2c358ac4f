"""Teaches a class from images, each with a mask, a polygon, a box or a click that shows the object.

Whatever is not zero in a mask is the object; what lies outside it on the same image is not. --not marks what is not the
class although it was taken for it. --preview tells what the class would cover and stores nothing. A class that would
flood the images of its own examples is refused, unless --force is given.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import Namespace

from ignota.cli.opening import opened_world
from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, add_branches, add_world, branches_of, command
from ignota.cli.terminal import say, say_unless_quiet

if TYPE_CHECKING:
    from ignota.perception.marks import Mark
    from ignota.world.model import OpenWorldModel
    from ignota.world.previewing import Preview

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
        "--not", action="append", metavar="N", help="a mask of what is not the class, for each image; alone it corrects"
    )
    parser.add_argument(
        "--extent",
        type=Literal["unknown", "region", "channels", "union"],
        default="unknown",
        help="how far round a click the object reaches: the unknown pixels, the region between edges, the meta "
        "channels' region, or both regions",
    )
    parser.add_argument("--preview", action="store_true", help="tell what the class would cover, and store nothing")
    parser.add_argument("--on", action="append", metavar="IMAGE", help="with --preview: another image to try it on")
    parser.add_argument(
        "--out", type=str | None, default=None, metavar="DIR", help="with --preview: where its pictures go"
    )
    parser.add_argument("--force", action="store_true", help="teach it even if it floods the images of its examples")
    add_branches(parser, "branches of the world that read the examples too, for `segment --method`")
    add_world(parser, own=True)


@command(
    "learn NAME --image I --mask M [--image I --mask M …] --world WORLD [--not N …]"
    " [--preview [--on IMAGE …] [--out DIR]]",
    "ignota learn scooter --image a.jpg --mask a_mask.png --image b.jpg --mask b_mask.png --world my-world",
    arguments,
)
def run(args: Namespace) -> None:
    kind, examples = _examples(args)
    if not args.preview and (args.on or args.out):
        raise UsageError("--on and --out belong to --preview: add it, or leave them out")

    started = time.monotonic()
    shown, against = _read(kind, examples, args)
    with opened_world(args, writable=not args.preview) as world:
        world.exemplar_branches = branches_of(args) or ()
        if args.preview:
            _preview(world, args, shown, against)
            return
        found = world.learn(args.name, shown, force=args.force, against=against)
    say_unless_quiet(args, summary(found, time.monotonic() - started))


def _examples(args: Namespace) -> tuple[str, list[str]]:
    """How the images are marked and by what; raises UsageError where their numbers differ."""
    images, wrong = args.image or [], args.get("not") or []
    given = {kind: args.get(kind) or [] for kind in KINDS}
    kinds = [kind for kind in KINDS if given[kind]]
    if len(kinds) > 1:
        raise UsageError(f"--{kinds[0]} and --{kinds[1]} in one call: show all images in one way, or call learn twice")
    kind = kinds[0] if kinds else "mask"
    corrects = bool(wrong) and not kinds
    if not images or (len(images) != len(given[kind]) and not corrects):
        counts = f"{len(images)} --image and {len(given[kind])} --{kind}"
        raise UsageError(f"{counts}: give each image its {kind}, at least one pair")
    if wrong and len(wrong) != len(images):
        raise UsageError(f"{len(images)} --image and {len(wrong)} --not: give each image its --not, or none")
    return kind, given[kind]


def _read(kind: str, examples: list[str], args: Namespace) -> tuple[list[Any], list[Any]]:
    """What shows the class and what is not the class, as pairs of an image and a mask or mark."""
    from ignota.cli.inputs import read_example

    paths = {text: Path(text) for text in args.image}  # one object for an image that is named twice: it is read once
    images = [paths[text] for text in args.image]

    def masked(masks: list[str]) -> list[Any]:
        pairs = zip(images, masks, strict=True) if masks else ()
        return [(image, read_example(image, Path(mask))[1]) for image, mask in pairs]

    wrong = masked(args.get("not") or [])
    if kind == "mask":
        return masked(examples), wrong
    return [(image, _mark(kind, text, args.extent)) for image, text in zip(images, examples, strict=True)], wrong


def _preview(world: OpenWorldModel, args: Namespace, shown: list[Any], against: list[Any]) -> None:
    from ignota.reports.pictures import write_previews

    others = [Path(image) for image in args.on or []]
    paths = [*dict.fromkeys(image for image, _ in (*shown, *against)), *others]
    found = world.preview(args.name, shown, against, others)
    say(foretold(found))
    if args.out is not None:
        written = write_previews(Path(args.out), paths, found)
        say(f"{len(written)} pictures → {args.out}")


def _mark(kind: str, text: str, extent: Literal["unknown", "region", "channels", "union"]) -> Mark:
    from ignota.perception.marks import Box, Click, Polygon

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


def summary(found: Preview, seconds: float) -> str:
    """What was learnt, what the class covers, and what it takes from other classes."""
    count = f"{found.examples} {'example' if found.examples == 1 else 'examples'}"
    learnt = f"learnt {found.name!r} from {count}, {found.pixels:,} pixels, in {seconds:.1f} s"
    if not found.examples:
        learnt = f"corrected {found.name!r} in {seconds:.1f} s"
    return "\n".join([learnt, *_covers(found, "it covers")])


def foretold(found: Preview) -> str:
    """What a class would cover if it were taught."""
    lines = [f"preview of {found.name!r}: nothing was stored", *_covers(found, "it would cover")]
    lines += [f"it would be refused: {doubt}" for doubt in found.doubts]
    for image in found.images:
        most = ", ".join(list(image.taken)[:3])
        share = f"{100 * image.mask.mean():.1f} % of the image"
        lines.append(f"{image.source}: {share}" + (f", so far {most}" if most else ""))
    return "\n".join(lines)


def _covers(found: Preview, verb: str) -> list[str]:
    lines = []
    if found.examples:
        lines.append(f"{verb} {100 * found.coverage:.0f} % of the mark, IoU {found.iou:.2f}")
        lines[0] += f"; {100 * found.outside:.0f} % of what it covers lies outside the mark"
    conflicts = ((found.conflicts, "on these images"), (found.conflicts_held, "on held-out training images"))
    for taken, where in conflicts:
        if taken:
            parts = ", ".join(f"{100 * share:.1f} % of {name}" for name, share in list(taken.items())[:3])
            lines.append(f"conflicts {where}: {parts}")
    return lines
