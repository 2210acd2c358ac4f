"""Commands that measure on a data set: scores, the closed set, few-shot learning, and the merged states of machines."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import Namespace

from ignota.cli.opening import opened_world
from ignota.cli.parsing import Parser, add_dataset, add_outside, add_shard, check_shard, command
from ignota.cli.terminal import percent, progress, show_table

if TYPE_CHECKING:
    from ignota.evaluation.choices import AnomalyChoice


def _anomaly_options(parser: Parser) -> None:
    add_dataset(parser, ", such as road_anomaly_21")
    parser.add_argument("--scores", type=str | None, default=None, help="by default every score of the world")
    add_outside(parser)
    parser.add_argument(
        "--protocol", type=Literal["standard", "dmlnet"], default="standard", help="dmlnet adds DMLNet's five scales"
    )
    parser.add_argument(
        "--edges", type=str, default="training", help="α and β of Equation 2: training, paper (its test sets) or two"
    )
    parser.add_argument("--json", type=str | None, default=None, metavar="FILE", help="where the figures go")
    add_shard(parser)


@command(
    "evaluate anomaly DATASET --data ROOT [--split S] [--world WORLD] [--scores a,b,…] [--protocol dmlnet] --json FILE"
    " [--maps NAME=DIR] [--edges training|paper|ALPHA,BETA] [--shard K/N --state DIR]",
    "ignota evaluate anomaly road_anomaly_21 --data data/road_anomaly_21_val --scores raml,max_logit --json a.json",
    _anomaly_options,
)
def anomaly(args: Namespace) -> None:
    """Measures anomaly scores on a data set, one forward pass for all, without the taught classes."""
    check_shard(args)
    if args.state is not None:
        _measure_shard(args)
        return

    from ignota.cli.measuring import finish, opened_dataset

    dataset, choice = opened_dataset(args), _choice(args)
    with finish(args.json) as write, opened_world(args) as world:
        with progress(len(dataset), dataset.name, "image", args.quiet) as bar:
            figures = choice.figures(world, dataset, bar.update)
        write(figures)
    show_anomaly(figures)


def _measure_shard(args: Namespace) -> None:
    from ignota.cli.measuring import opened_dataset, shard_of
    from ignota.evaluation.component_reading import ComponentReading
    from ignota.evaluation.evaluation import AnomalyState, edges_of, fixed_thresholds, measured_images
    from ignota.evaluation.shards import MAPS
    from ignota.metrics.anomaly import AnomalyMetrics
    from ignota.metrics.components import track_sizes

    whole = opened_dataset(args)
    with opened_world(args) as world:
        choice = _choice(args)
        world, scores = choice.of(world, whole)
        made_by = {"scores": scores, "protocol": args.protocol, "edges": edges_of(world)}
        made_by["maps"] = {maps.name: maps.mark(whole) for maps in choice.outside}
        with shard_of(args, whole, world, made_by) as (part, draft, finish):
            reading = ComponentReading(track_sizes(whole.name), fixed_thresholds(world, scores), draft / MAPS)
            state = AnomalyState(whole.name, AnomalyMetrics(args.protocol), reading, edges_of(world))
            with progress(len(part), whole.name, "image", args.quiet) as bar:
                for _ in measured_images(world, part, scores, state, outside=choice.outside):
                    bar.update()
            finish(state)


def _choice(args: Namespace) -> AnomalyChoice:
    from ignota.cli.measuring import outside_of, words_of
    from ignota.evaluation.choices import AnomalyChoice

    edges = args.edges
    if edges not in ("training", "paper"):
        with suppress(ValueError):  # a text that is no numbers is refused with all other wrong ones
            edges = tuple(float(word) for word in edges.split(","))
    return AnomalyChoice(words_of(args.scores), args.protocol, edges, outside_of(args))


def show_anomaly(figures: dict[str, Any]) -> None:
    """The figures as tables."""
    protocol = "dmlnet" if any("dmlnet" in found for found in figures["scores"].values()) else "standard"
    title = f"{figures['dataset']}, {figures['images']} images, percent"
    show_table(title, _columns(protocol), [_row(name, found) for name, found in figures["scores"].items()])
    title = "whole components, percent; threshold with the best pixel F1 on this very set | of held-out training images"
    rows = [_component_row(name, found["component"]) for name, found in figures["scores"].items()]
    show_table(title, ["score", *(f"{metric}, {kind}" for kind in _KINDS for metric in ("sIoU", "PPV", "F1"))], rows)
    _show_sizes(figures["scores"])
    _show_open(figures["scores"])


def _show_sizes(scores: dict[str, Any]) -> None:
    """True components by size, at the fixed threshold or else at the oracle's."""
    rows = []
    for name, found in scores.items():
        reading = found["component"].get("fixed", found["component"].get("oracle"))
        if reading is not None:
            sizes = reading["by_size"].values()
            rows.append([name, *(f"{percent(each['recall'])} of {each['true']}" for each in sizes)])
    title = "true components found, percent: below 32², 96² pixels and larger; at the fixed threshold, else the oracle"
    if rows:
        show_table(title, ["score", "small", "medium", "large"], rows)


def _show_open(scores: dict[str, Any]) -> None:
    rows = {name: found["open_miou"] for name, found in scores.items() if "open_miou" in found}
    if rows:
        kinds = {
            "closed": "closed set", "tpr95": "at TPR 95 %", "fpr5": "at FPR 5 %", "best_f1": "at the best F1",
            "fixed": "fixed",
        }  # fmt: skip
        cells = [[name, *(percent(found.get(kind)) for kind in kinds)] for name, found in rows.items()]
        show_table("open-mIoU over the known classes, percent", ["score", *kinds.values()], cells)


_KINDS = ("oracle", "fixed")


def _component_row(name: str, found: dict[str, Any]) -> list[str]:
    readings = [found.get(kind, {}) for kind in _KINDS]
    return [name, *(percent(reading.get(metric)) for reading in readings for metric in ("siou", "ppv", "f1"))]


def _columns(protocol: str) -> list[str]:
    readings = ["pooled", "per image", *(["DMLNet"] if protocol == "dmlnet" else [])]
    columns = [f"{metric}, {reading}" for reading in readings for metric in ("AUPR", "AUROC", "FPR95")]
    return ["score", *columns, "TPR at FPR 5 %, pooled"]


def _row(name: str, found: dict[str, Any]) -> list[str]:
    readings = [found[key] for key in ("pooled", "per_image", "dmlnet") if key in found]
    cells = [percent(reading[metric]) for reading in readings for metric in ("aupr", "auroc", "fpr95")]
    return [name, *cells, percent(found["pooled"]["tpr5"])]


def _closed_options(parser: Parser) -> None:
    add_dataset(parser, " with classes, such as camvid")
    parser.add_argument("--json", type=str | None, default=None, metavar="FILE", help="where the figures go")


@command(
    "evaluate closed DATASET --data ROOT [--split S] [--world WORLD] [--json FILE]",
    "ignota evaluate closed camvid --data data/camvid --world camvid-11 --json closed.json",
    _closed_options,
)
def closed(args: Namespace) -> None:
    """Measures the closed set: mIoU of the known classes on a labelled data set, pixels of other classes left out."""
    from ignota.cli.measuring import finish, opened_dataset
    from ignota.evaluation.evaluation import evaluate_closed_set

    dataset = opened_dataset(args)
    with finish(args.json) as write, opened_world(args) as world:
        with progress(len(dataset), dataset.name, "image", args.quiet) as bar:
            found = evaluate_closed_set(world, dataset, lambda *_: bar.update())
        figures = {"dataset": dataset.name, "images": len(dataset), **found}
        write(figures)
    show_table(
        f"{figures['dataset']}, {figures['images']} images, percent",
        ["mIoU", "pixel accuracy", *figures["iou"]],
        [[percent(figures["miou"]), percent(figures["pixel_accuracy"]), *map(percent, figures["iou"].values())]],
    )


def _incremental_options(parser: Parser) -> None:
    add_dataset(parser, " with classes, such as camvid")
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
    _incremental_options,
)
def incremental(args: Namespace) -> None:
    """Measures few-shot learning: a copy of the world learns every novel class of a data set, then labels its
    images."""
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
    show_incremental(figures, args.draws)


def show_incremental(figures: dict[str, Any], draws: int) -> None:
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


def _merge_options(parser: Parser) -> None:
    parser.add_argument("states", nargs="+", type=str, help="the folders of all parts")
    parser.add_argument("--json", type=str | None, default=None, metavar="FILE", help="where the figures go")


@command(
    "evaluate merge STATE… --json FILE",
    "ignota evaluate merge states/1 states/2 states/3 --json a.json",
    _merge_options,
)
def merge(args: Namespace) -> None:
    """Merges the states of all parts of a data set, as written by `evaluate anomaly` or `evaluate incremental` with
    --shard K/N --state DIR: the figures are those of one machine, to the last bit.
    """
    from ignota.cli.measuring import finish
    from ignota.evaluation.incremental_evaluation import IncrementalState
    from ignota.evaluation.shards import merged

    with finish(args.json) as write:
        state = merged([Path(folder) for folder in args.states])
        figures = state.figures()
        write(figures)
    if isinstance(state, IncrementalState):
        show_incremental(figures, 0 if len(state.lessons) == 1 else len(state.lessons))
    else:
        show_anomaly(figures)
