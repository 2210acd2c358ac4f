"""Checks a data set: every file is read, every fault counted and explained."""

from __future__ import annotations

from jsonargparse import Namespace

from ignota.cli.parsing import Parser

USAGE = "data check NAME ROOT [--split S]"
EXAMPLE = "ignota data check camvid data/camvid --split train"

# written out, so that the help loads no torch
NAMES = (
    "camvid, cityscapes, bdd100k, lost_and_found, road_anomaly, fishyscapes_lost_and_found, fishyscapes_static, "
    "road_anomaly_21, road_obstacle_21, streethazards, folder"
)


def arguments(parser: Parser) -> None:
    parser.add_argument("name", type=str, help=f"one of {NAMES}")
    parser.add_argument("root", type=str, help="where it lies")
    parser.add_argument("--split", type=str | None, default=None, help="val, or else the only one present")


def run(args: Namespace) -> None:
    from ignota.cli.terminal import percent, progress, say, show_table
    from ignota.data.check import check_dataset
    from ignota.structures import InputError

    with progress(0, args.name, "image", args.quiet) as bar:

        def tick(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = check_dataset(args.name, args.root, args.split, tick)
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
