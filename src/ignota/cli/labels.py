"""Commands that read and write the label formats of other programs."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from ignota.cli.parsing import LABEL_FORMATS, Parser, command
from ignota.cli.terminal import progress, reach, say_unless_quiet


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
