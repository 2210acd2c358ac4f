"""Measures anomaly scores on a data set, one forward pass for all, without the taught classes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from jsonargparse import Namespace

from ignota.cli.parsing import Parser, add_backend, add_outside, add_shard, add_world, check_shard

if TYPE_CHECKING:
    from ignota.evaluation.choices import AnomalyChoice

USAGE = (
    "evaluate anomaly DATASET --data ROOT [--split S] [--world WORLD] [--scores a,b,…] [--protocol dmlnet] --json FILE"
    " [--maps NAME=DIR] [--edges training|paper|ALPHA,BETA] [--shard K/N --state DIR]"
)
EXAMPLE = (
    "ignota evaluate anomaly road_anomaly_21 --data data/road_anomaly_21_val --scores raml,max_logit --json a.json"
)


def arguments(parser: Parser) -> None:
    parser.add_argument("dataset", type=str, help="name of a data set, such as road_anomaly_21")
    parser.add_argument("--data", type=str | None, default=None, metavar="ROOT", help="where it lies")
    parser.add_argument("--split", type=str | None, default=None, help="val, or else the only one present")
    add_world(parser)
    add_backend(parser)
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


def run(args: Namespace) -> None:
    check_shard(args)
    if args.state is not None:
        _measure_shard(args)
        return

    from ignota.cli.measuring import finish, opened_dataset
    from ignota.cli.opening import opened_world
    from ignota.cli.terminal import progress

    dataset, choice = opened_dataset(args), _choice(args)
    with finish(args.json) as write, opened_world(args) as world:
        with progress(len(dataset), dataset.name, "image", args.quiet) as bar:
            figures = choice.figures(world, dataset, bar.update)
        write(figures)
    show(figures)


def _measure_shard(args: Namespace) -> None:
    from ignota.cli.measuring import opened_dataset, shard_of
    from ignota.cli.opening import opened_world
    from ignota.cli.terminal import progress
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


def show(figures: dict[str, Any]) -> None:
    """The figures as tables."""
    from ignota.cli.terminal import show_table

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
    from ignota.cli.terminal import percent, show_table

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
    from ignota.cli.terminal import percent, show_table

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
    from ignota.cli.terminal import percent

    readings = [found.get(kind, {}) for kind in _KINDS]
    return [name, *(percent(reading.get(metric)) for reading in readings for metric in ("siou", "ppv", "f1"))]


def _columns(protocol: str) -> list[str]:
    readings = ["pooled", "per image", *(["DMLNet"] if protocol == "dmlnet" else [])]
    columns = [f"{metric}, {reading}" for reading in readings for metric in ("AUPR", "AUROC", "FPR95")]
    return ["score", *columns, "TPR at FPR 5 %, pooled"]


def _row(name: str, found: dict[str, Any]) -> list[str]:
    from ignota.cli.terminal import percent

    readings = [found[key] for key in ("pooled", "per_image", "dmlnet") if key in found]
    cells = [percent(reading[metric]) for reading in readings for metric in ("aupr", "auroc", "fpr95")]
    return [name, *cells, percent(found["pooled"]["tpr5"])]
