"""Commands that check a data set, and that draw one."""

from __future__ import annotations

import re
from pathlib import Path

from jsonargparse import Namespace

from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, command
from ignota.cli.terminal import percent, progress, reach, say, say_unless_quiet, show_table
from ignota.errors import InputError

# written out, so that the help loads no torch
NAMES = (
    "camvid, cityscapes, bdd100k, lost_and_found, road_anomaly, fishyscapes_lost_and_found, fishyscapes_static, "
    "road_anomaly_21, road_obstacle_21, streethazards, folder"
)


def _check_options(parser: Parser) -> None:
    parser.add_argument("name", type=str, help=f"one of {NAMES}")
    parser.add_argument("root", type=str, help="where it lies")
    parser.add_argument("--split", type=str | None, default=None, help="val, or else the only one present")


@command("data check NAME ROOT [--split S]", "ignota data check camvid data/camvid --split train", _check_options)
def check(args: Namespace) -> None:
    """Checks a data set: every file is read, every fault counted and explained."""
    from ignota.data.check import check_dataset

    with progress(0, args.name, "image", args.quiet) as bar:
        report = check_dataset(args.name, args.root, args.split, reach(bar))
    title = f"{report.name}, {report.split}, {report.images} images"
    if report.rows:
        columns = ("problem", "count", "for example", "remedy")
        show_table(title, columns, [row.cells for row in report.rows], numbers=False)
    shares = [(name, percent(share)) for name, share in report.shares]
    show_table(
        f"{title}: shares of labelled pixels", ("class", "percent"), [*shares, ("(void)", percent(report.void_share))]
    )
    if not report.fine:
        kinds = [row.problem.title for row in report.rows if not row.problem.is_note]
        raise InputError(f"{report.name} ({report.split}) cannot be used as it is: {', '.join(kinds)}; see the table")
    say(f"{title}: fine")


def _synthesize_options(parser: Parser) -> None:
    parser.add_argument("dir", type=str, help="the folder to make")
    parser.add_argument("--layout", type=str, required=True, help="cityscapes, camvid, smiyc, …, folder")
    for split in ("train", "val", "anomalies"):
        parser.add_argument(f"--{split}", type=int | None, default=None, metavar="N", help="how many scenes of them")
    parser.add_argument("--size", type=str, default="256x512", metavar="HxW", help="height and width of the scenes")


@command(
    "data synthesize DIR --layout L [--train N] [--val N] [--anomalies N] [--size HxW] [--seed N]",
    "ignota data synthesize data/streets --layout cityscapes --train 200 --val 20 --size 256x512",
    _synthesize_options,
)
def synthesize(args: Namespace) -> None:
    """Writes synthetic street scenes in the layout of a published data set, to try loaders without it."""
    size = _size(args.size)

    from ignota.data.layouts import write_layout

    lengths = _lengths(args)
    with progress(0, args.layout, "scene", args.quiet) as bar:
        root = write_layout(Path(args.dir), args.layout, lengths, size, args.seed or 0, reach(bar))
    say_unless_quiet(args, f"{root}: {', '.join(f'{number} {split}' for split, number in lengths.items())}")


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{2,4})(?:[x×](\d{2,4}))?", text)
    if not found:
        raise UsageError(f"--size wants HxW in pixels, such as 256x512, not {text!r}")
    height = int(found[1])
    return height, int(found[2] or 2 * height)


def _lengths(args: Namespace) -> dict[str, int]:
    """Scenes by split: the layout's own numbers, with what was asked for instead."""
    from ignota.data.layouts import LAYOUTS
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
