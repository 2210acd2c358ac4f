"""Measures few-shot learning: a copy of the world learns every novel class of a data set, then labels its images."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from typing import Any

from jsonargparse import Namespace

from ignota.cli.opening import opened_world
from ignota.cli.parsing import Parser, add_backend, add_shard, add_world, check_shard, command
from ignota.cli.terminal import percent, progress, show_table


def arguments(parser: Parser) -> None:
    parser.add_argument("dataset", type=str, help="name of a data set with classes, such as camvid")
    parser.add_argument("--data", type=str | None, default=None, metavar="ROOT", help="where it lies")
    parser.add_argument("--split", type=str | None, default=None, help="val, or else the only one present")
    add_world(parser)
    add_backend(parser)
    parser.add_argument("--methods", type=str | None, default=None, help="by default every method")
    parser.add_argument("--shots", type=int, default=5, metavar="N", help="examples of each class")
    parser.add_argument(
        "--draws", type=int, default=0, metavar="N", help="random draws of the examples; 0: the largest"
    )
    parser.add_argument("--min-share", type=float, default=0.0, metavar="S", help="of an image that may be drawn")
    parser.add_argument(
        "--novel", type=str | None, default=None, help="the classes to teach, by default all novel ones"
    )
    parser.add_argument("--support", type=str | None, default=None, metavar="ROOT", help="whose train split teaches")
    parser.add_argument("--json", type=str | None, default=None, metavar="FILE", help="where the figures go")
    add_shard(parser)


@command(
    "evaluate incremental DATASET --data ROOT [--split S] [--world WORLD] [--methods raml,npm,…] [--shots N]"
    " [--support ROOT] --json FILE [--draws N [--min-share S]] [--novel a,b] [--shard K/N --state DIR]",
    "ignota evaluate incremental camvid --data data/camvid --world camvid-8+3 --shots 5 --json few.json",
    arguments,
)
def run(args: Namespace) -> None:
    check_shard(args)

    from ignota.cli.measuring import finish, identity, opened_dataset, shard_of, words_of
    from ignota.data.datasets import open_dataset
    from ignota.evaluation.choices import checked_methods, chosen_shots, default_methods
    from ignota.evaluation.incremental_evaluation import evaluate_incremental, measure_incremental

    shots = chosen_shots(args.shots, args.draws, args.min_share, args.seed or 0)
    named, novel = checked_methods(words_of(args.methods)), words_of(args.novel) or []
    dataset = opened_dataset(args)
    support = open_dataset(args.dataset, args.support or args.data, "train")
    if args.state is not None:
        drawn = [dataclasses.asdict(each) for each in shots]
        with ExitStack() as stack:
            world = stack.enter_context(opened_world(args))
            methods = named or default_methods(world)
            made_by = {"methods": methods, "novel": novel, "shots": drawn, "support": identity(support)}
            part, _, write_part = stack.enter_context(shard_of(args, dataset, world, made_by))
            with progress(len(part), dataset.name, "image", args.quiet) as bar:
                state = measure_incremental(world, part, support, methods, shots, lambda *_: bar.update(), novel)
            write_part(state)
        return
    with finish(args.json) as write, opened_world(args) as world:
        methods = named or default_methods(world)
        with progress(len(dataset), dataset.name, "image", args.quiet) as bar:
            figures = evaluate_incremental(world, dataset, support, methods, shots, lambda *_: bar.update(), novel)
        write(figures)
    show(figures, args.draws)


def show(figures: dict[str, Any], draws: int) -> None:
    """The figures as a table; draws: at random, 0 for the largest exemplars."""

    rows = [(name, *_cells(found)) for name, found in figures["methods"].items()]
    drawn = f"{draws} random draws of " if draws else ""
    title = f"{figures['dataset']}, {drawn}{figures['shots']} shots, {figures['images']} images, mIoU in percent"
    show_table(title, ("method", "all", "novel", "old", "harmonic", "old before", "old after"), rows)


def _cells(found: dict[str, Any]) -> list[str]:
    """The figures of a method, each with its standard deviation where there were several draws."""

    cells = []
    for key in ("all", "novel", "old", "harmonic", "old_before", "old_after"):
        value, spread = ((one.get("miou", {}) | one).get(key) for one in (found, found.get("std", {})))
        cells.append(percent(value) + (f" ± {percent(spread)}" if spread is not None else ""))
    return cells
