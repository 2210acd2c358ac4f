"""Ranks every anomaly score that a world holds on your own data, with the uncertainty of the ranking."""

from __future__ import annotations

import shlex
from typing import Any

from jsonargparse import Namespace

from ignota.cli.opening import opened_world
from ignota.cli.parsing import Parser, add_outside, add_world, command
from ignota.cli.terminal import percent, progress, say, show_table
from ignota.errors import InputError


def arguments(parser: Parser) -> None:
    parser.add_argument("datasets", nargs="+", type=str, help="names of data sets, or NAME=ROOT where each lies apart")
    parser.add_argument("--data", type=str | None, default=None, metavar="ROOT", help="where they lie")
    parser.add_argument("--split", type=str | None, default=None, help="val, or else the only one present")
    add_world(parser)
    parser.add_argument("--scores", type=str | None, default=None, help="by default all, and their means over regions")
    add_outside(parser)
    parser.add_argument("--draws", type=int, default=1000, help="of the bootstrap over images")
    parser.add_argument("--json", type=str | None, default=None, metavar="FILE", help="where the figures go")


@command(
    "compare DATASET… [--world WORLD] [--data ROOT] [--split S] [--scores a,b,…] [--maps NAME=DIR] [--draws N]"
    " [--json FILE]",
    "ignota compare folder --data my-images --world my-world --json ranks.json",
    arguments,
)
def run(args: Namespace) -> None:
    from ignota.cli.measuring import finish, outside_of, words_of
    from ignota.data.datasets import open_dataset
    from ignota.evaluation.choices import check_outside, chosen_scores
    from ignota.evaluation.comparison import compare_scores, held_scores, mean_ranks, missing_scores
    from ignota.evaluation.evaluation import anomaly_label_lut

    if args.draws < 1:
        raise InputError(f"--draws is 1 or more, not {args.draws}")
    places = (name.partition("=") for name in args.datasets)
    datasets = [open_dataset(name, root or args.data, args.split) for name, _, root in places]
    outside = outside_of(args)
    with finish(args.json) as write, opened_world(args) as world:
        scores = held_scores(world.known) if args.scores is None else chosen_scores(words_of(args.scores), world)
        for dataset in datasets:
            anomaly_label_lut(world, dataset)  # refuses what holds nothing unknown before any image is read
            check_outside(outside, scores, dataset)
        found = []
        for dataset in datasets:
            with progress(len(dataset), dataset.name, "image", args.quiet) as bar:
                found.append(compare_scores(world, dataset, scores, args.draws, args.seed or 0, bar.update, outside))
        missing = missing_scores(world.known)
        command = (
            f"ignota fit {' '.join(missing)} --world {shlex.quote(args.world)} --data ROOT --out NEW"
            + "".join(f" --plugin {shlex.quote(file)}" for file in args.plugin)
            if missing
            else None
        )
        write({"comparisons": found, "missing": missing, "command": command})
    for one in found:
        title = f"{one['dataset']}, {one['images']} images, percent over all pixels [95 % of draws of images]"
        columns = ("", "score", "AUPR", "AUROC", "FPR95", "TPR at FPR 5 %", *_COMPONENTS, "behind the best", "as good?")
        show_table(title, columns, [_row(place, row) for place, row in enumerate(one["scores"], 1)])
    if len(found) > 1:
        rows = [(name, f"{place:.1f}") for name, place in mean_ranks(found)]
        show_table(f"mean place on {len(found)} data sets", ("score", "place"), rows)
    if command:
        say(f"not held: {', '.join(missing)}. To add them: {command}")


_COMPONENTS = ("F1 of components, oracle", "fixed")
"""At the threshold with the best pixel F1 on this very set, and at that of held-out training images."""


def _row(place: int, row: dict[str, Any]) -> tuple[str, ...]:
    def with_limits(of: dict[str, float], key: str) -> str:
        return f"{percent(of[key])} [{percent(of['low'])}, {percent(of['high'])}]"

    behind = "–" if place == 1 else with_limits(row["behind"], "mean")
    near = "best" if place == 1 else "perhaps" if row["behind"]["low"] <= 0 else "no"
    return (
        str(place),
        row["name"],
        with_limits(row["aupr"], "value"),
        with_limits(row["auroc"], "value"),
        with_limits(row["fpr95"], "value"),
        percent(row["tpr5"]),
        *(percent(row["component"].get(kind, {}).get("f1")) for kind in ("oracle", "fixed")),
        behind,
        near,
    )
