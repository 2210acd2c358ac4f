"""Merges the states of all parts of a data set, as written by `evaluate anomaly` or `evaluate incremental` with
--shard K/N --state DIR: the figures are those of one machine, to the last bit.
"""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from ignota.cli.parsing import Parser, command


def arguments(parser: Parser) -> None:
    parser.add_argument("states", nargs="+", type=str, help="the folders of all parts")
    parser.add_argument("--json", type=str | None, default=None, metavar="FILE", help="where the figures go")


@command(
    "evaluate merge STATE… --json FILE", "ignota evaluate merge states/1 states/2 states/3 --json a.json", arguments
)
def run(args: Namespace) -> None:
    from ignota.cli import evaluate_anomaly, evaluate_incremental
    from ignota.cli.measuring import finish
    from ignota.evaluation.incremental_evaluation import IncrementalState
    from ignota.evaluation.shards import merged

    with finish(args.json) as write:
        state = merged([Path(folder) for folder in args.states])
        figures = state.figures()
        write(figures)
    if isinstance(state, IncrementalState):
        evaluate_incremental.show(figures, 0 if len(state.lessons) == 1 else len(state.lessons))
    else:
        evaluate_anomaly.show(figures)
