"""Commands about data sets: they check one, draw one, and read and write the label formats of other programs."""

from __future__ import annotations

import re
from pathlib import Path

from jsonargparse import Namespace

from ignota.cli.outcome import UsageError
from ignota.cli.parsing import LABEL_FORMATS, Parser, command
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


def _import_options(parser: Parser) -> None:
    parser.add_argument("format", type=str, help=LABEL_FORMATS)
    parser.add_argument("source", type=str, help="the file or folder that the other program exported")
    parser.add_argument("--out", type=str, required=True, metavar="DIR", help="the folder to make")
    parser.add_argument("--images", type=str | None, default=None, metavar="DIR", help="where the images lie")
    parser.add_argument(
        "--classes",
        type=str | None,
        default=None,
        metavar="FILE",
        help="names and values: a classes.yaml or label_map.json",
    )
    parser.add_argument("--rest", type=str | None, default=None, metavar="NAME", help="class of what no shape covers")


@command(
    "import-labels FORMAT SOURCE --out DIR [--images DIR] [--classes FILE] [--rest NAME]",
    "ignota import-labels cvat annotations.xml --images photos --out labelled",
    _import_options,
)
def import_(args: Namespace) -> None:
    """Labels of another program as a data set (images/ + masks/ + classes.yaml) that `evaluate`, `run` and `learn`
    read."""
    import sys

    from ignota.formats.convert import import_labels

    out = Path(args.out)
    images, classes = (None if text is None else Path(text) for text in (args.images, args.classes))
    with progress(0, args.format, "image", args.quiet) as bar:
        tick = reach(bar)
        number, left_out = import_labels(args.format, Path(args.source), out, images, classes, args.rest, tick)
    if left_out:
        sys.stderr.write(f"ignota: left out: {', '.join(f'{count} {kind}' for kind, count in left_out.items())}\n")
    say_unless_quiet(args, f"labels of {number} {'image' if number == 1 else 'images'} → {out}")


def _export_options(parser: Parser) -> None:
    parser.add_argument("format", type=str, help=LABEL_FORMATS)
    parser.add_argument("source", type=str, help="what `segment` left, or images/ + masks/ + classes.yaml")
    parser.add_argument("--out", type=str, required=True, metavar="DIR", help="the folder to make")
    parser.add_argument("--split", type=str | None, default=None, help="of a data set: val, or else the only one")
    parser.add_argument("--regions", action="store_true", help="a shape for each connected region, not for each class")


@command(
    "export-labels FORMAT SOURCE --out DIR [--split S] [--regions]",
    "ignota export-labels coco seen --out seen-coco",
    _export_options,
)
def export(args: Namespace) -> None:
    """Labels of a data set, or of the output of `segment`, in the format of another program; docs/formats.md lists
    them."""
    from ignota.formats.convert import export_labels

    out = Path(args.out)
    with progress(0, args.format, "image", args.quiet) as bar:
        tick = reach(bar)
        number = export_labels(args.format, Path(args.source), out, args.split, args.regions, tick)
    say_unless_quiet(args, f"labels of {number} {'image' if number == 1 else 'images'} → {out}")
