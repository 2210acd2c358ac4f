"""Measures few-shot learning: a copy of the world learns every novel class of a data set, then labels its images."""

from __future__ import annotations

from jsonargparse import Namespace

from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, add_world

USAGE = (
    "evaluate incremental DATASET --data ROOT [--split S] [--world WORLD] [--methods raml,npm,…] [--shots N]"
    " [--support ROOT] --json FILE"
)
EXAMPLE = "ignota evaluate incremental camvid --data data/camvid --world camvid-8+3 --shots 5 --json few.json"


def arguments(parser: Parser) -> None:
    parser.add_argument("dataset", type=str, help="name of a data set with classes, such as camvid")
    parser.add_argument("--data", type=str | None, default=None, metavar="ROOT", help="where it lies")
    parser.add_argument("--split", type=str | None, default=None, help="val, or else the only one present")
    add_world(parser)
    parser.add_argument("--methods", type=str | None, default=None, help="by default every method")
    parser.add_argument("--shots", type=int, default=5, metavar="N", help="examples of each class")
    parser.add_argument("--support", type=str | None, default=None, metavar="ROOT", help="whose train split teaches")
    parser.add_argument("--json", type=str | None, default=None, metavar="FILE", help="where the figures go")


def run(args: Namespace) -> None:
    if args.shots < 1:
        raise UsageError(f"--shots is 1 or more, not {args.shots}")

    from ignota.cli.measuring import finish, names_of, opened_dataset
    from ignota.cli.opening import opened_world
    from ignota.cli.terminal import percent, progress, show_table
    from ignota.data.datasets import open_dataset
    from ignota.engine.evaluation import evaluate_incremental
    from ignota.engine.head_methods import HEAD_METHODS
    from ignota.world.labelling import METHODS

    methods = names_of(args.methods, "method", (*METHODS, *HEAD_METHODS))
    dataset = opened_dataset(args)
    support = open_dataset(args.dataset, args.support or args.data, "train")
    with finish(args.json) as write, opened_world(args) as world:
        with progress(len(dataset), dataset.name, "image", args.quiet) as bar:
            figures = evaluate_incremental(world, dataset, support, methods, args.shots, lambda *_: bar.update())
        write(figures)
    rows = [
        (name, *(percent(found["miou"][key]) for key in ("all", "novel", "old", "harmonic")),
         percent(found["old_before"]), percent(found["old_after"]))
        for name, found in figures["methods"].items()
    ]  # fmt: skip
    title = f"{dataset.name}, {args.shots} shots, {len(dataset)} images, mIoU in percent"
    show_table(title, ("method", "all", "novel", "old", "harmonic", "old before", "old after"), rows)
