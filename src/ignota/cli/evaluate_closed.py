"""Measures the closed set: mIoU of the known classes on a labelled data set, pixels of other classes left out."""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace

from ignota.cli.opening import opened_world
from ignota.cli.parsing import Parser, add_backend, add_world, command
from ignota.cli.terminal import percent, progress, show_table


def arguments(parser: Parser) -> None:
    parser.add_argument("dataset", type=str, help="name of a data set with classes, such as camvid")
    parser.add_argument("--data", type=str | None, default=None, metavar="ROOT", help="where it lies")
    parser.add_argument("--split", type=str | None, default=None, help="val, or else the only one present")
    add_world(parser)
    add_backend(parser)
    parser.add_argument("--json", type=str | None, default=None, metavar="FILE", help="where the figures go")


@command(
    "evaluate closed DATASET --data ROOT [--split S] [--world WORLD] [--json FILE]",
    "ignota evaluate closed camvid --data data/camvid --world camvid-11 --json closed.json",
    arguments,
)
def run(args: Namespace) -> None:
    from ignota.cli.measuring import finish, opened_dataset
    from ignota.evaluation.evaluation import evaluate_closed_set

    dataset = opened_dataset(args)
    with finish(args.json) as write, opened_world(args) as world:
        with progress(len(dataset), dataset.name, "image", args.quiet) as bar:
            found = evaluate_closed_set(world, dataset, lambda *_: bar.update())
        figures = {"dataset": dataset.name, "images": len(dataset), **found}
        write(figures)
    show(figures)


def show(figures: dict[str, Any]) -> None:
    """The figures as a table."""
    classes = figures["iou"]
    columns = ["mIoU", "pixel accuracy", *classes]
    row = [percent(figures["miou"]), percent(figures["pixel_accuracy"]), *map(percent, classes.values())]
    show_table(f"{figures['dataset']}, {figures['images']} images, percent", columns, [row])
