"""Labels of a data set, or of the output of `segment`, in the format of another program; docs/formats.md lists them."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from ignota.cli.parsing import LABEL_FORMATS, Parser

USAGE = "export-labels FORMAT SOURCE --out DIR [--split S] [--regions]"
EXAMPLE = "ignota export-labels coco seen --out seen-coco"


def arguments(parser: Parser) -> None:
    parser.add_argument("format", type=str, help=LABEL_FORMATS)
    parser.add_argument("source", type=str, help="what `segment` left, or images/ + masks/ + classes.yaml")
    parser.add_argument("--out", type=str, required=True, metavar="DIR", help="the folder to make")
    parser.add_argument("--split", type=str | None, default=None, help="of a data set: val, or else the only one")
    parser.add_argument("--regions", action="store_true", help="a shape for each connected region, not for each class")


def run(args: Namespace) -> None:
    from ignota.cli.terminal import progress, reach, say
    from ignota.formats.convert import export_labels

    out = Path(args.out)
    with progress(0, args.format, "image", args.quiet) as bar:
        tick = reach(bar)
        number = export_labels(args.format, Path(args.source), out, args.split, args.regions, tick)
    if not args.quiet:
        say(f"labels of {number} {'image' if number == 1 else 'images'} → {out}")
