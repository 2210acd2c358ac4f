"""Writes synthetic street scenes in the layout of a published data set, to try loaders without it."""

from __future__ import annotations

import re
from pathlib import Path

from jsonargparse import Namespace

from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser

USAGE = "data synthesize DIR --layout L [--train N] [--val N] [--anomalies N] [--size HxW] [--seed N]"
EXAMPLE = "ignota data synthesize data/streets --layout cityscapes --train 200 --val 20 --size 256x512"


def arguments(parser: Parser) -> None:
    parser.add_argument("dir", type=str, help="the folder to make")
    parser.add_argument("--layout", type=str, required=True, help="cityscapes, camvid, smiyc, …, folder")
    for split in ("train", "val", "anomalies"):
        parser.add_argument(f"--{split}", type=int | None, default=None, metavar="N", help="how many scenes of them")
    parser.add_argument("--size", type=str, default="256x512", metavar="HxW", help="height and width of the scenes")


def run(args: Namespace) -> None:
    size = _size(args.size)

    from ignota.cli.terminal import progress, say
    from ignota.data.layouts import write_layout

    lengths = _lengths(args)
    with progress(0, args.layout, "scene", args.quiet) as bar:

        def tick(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        root = write_layout(Path(args.dir), args.layout, lengths, size, args.seed or 0, tick)
    if not args.quiet:
        say(f"{root}: {', '.join(f'{number} {split}' for split, number in lengths.items())}")


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{2,4})(?:[x×](\d{2,4}))?", text)
    if not found:
        raise UsageError(f"--size wants HxW in pixels, such as 256x512, not {text!r}")
    height = int(found[1])
    return height, int(found[2] or 2 * height)


def _lengths(args: Namespace) -> dict[str, int]:
    """Scenes by split: the layout's own numbers, with what was asked for instead."""
    from ignota.data.layouts import LAYOUTS
    from ignota.structures import InputError
    from ignota.taxonomy import nearest

    if args.layout not in LAYOUTS:
        raise InputError(f"no layout {args.layout!r}{nearest(args.layout, list(LAYOUTS))}")
    writer = LAYOUTS[args.layout]
    lengths = dict(writer.splits)
    for option in ("anomalies", "train", "val"):
        number = args[option]
        if number is None:
            continue
        splits = writer.anomalous if option == "anomalies" else (option,) if option in writer.splits else ()
        if not splits:
            raise InputError(f"layout {args.layout} has no {option}: it has {', '.join(writer.splits)}")
        if number < 0:
            raise UsageError(f"--{option} is 0 or more, not {number}")
        lengths |= dict.fromkeys(splits, number)
    return {split: number for split, number in lengths.items() if number}
