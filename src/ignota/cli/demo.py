"""The whole loop on the built-in synthetic world: train, find the unknown, learn it, measure both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from ignota.cli.parsing import Parser
from ignota.cli.settings import add_settings, configuration
from ignota.cli.terminal import percent, say, show_table
from ignota.training.settings import read_preset

USAGE = "demo [--out DIR] [--key value …]"
EXAMPLE = "ignota demo --out runs/demo"

_PRESET = "synthetic-16+3"


def arguments(parser: Parser) -> None:
    parser.add_argument("--out", type=str, default="runs/demo", metavar="DIR", help="where results and report go")
    parser.renamed["--target-fpr"] = "--fit.target_fpr"
    add_settings(parser, besides=("size", "seed"))


def run(args: Namespace) -> None:
    config = configuration(read_preset(_PRESET), args)

    from ignota.cli.opening import chosen_device
    from ignota.training.experiment import REPORT, RESULTS, run_experiment
    from ignota.training.progress import hush_training

    hush_training()
    out = Path(args.out)
    results = run_experiment(config, out, None, chosen_device(args), args.quiet)
    if not args.quiet:
        show(results)
        say(f"Figures: {out / RESULTS}\nPictures: {out / REPORT}")


def show(results: dict[str, Any]) -> None:
    """How well unknown pixels are seen and new classes learnt, as two tables."""
    scores, gain = results["anomaly"]["scores"], results["anomaly"]["raml_minus_max_logit"]
    pooled = {name: scores[name]["pooled"] for name in ("msp", "max_logit", "raml_paper", "raml")}
    closed = percent(results["closed_set"]["miou"])
    show_table(
        f"See the unknown (closed set: {closed} mIoU; pooled over all pixels, in percent)",
        ("score", "AUPR", "AUROC", "FPR95"),
        [(name, *(percent(found[key]) for key in ("aupr", "auroc", "fpr95"))) for name, found in pooled.items()],
    )
    low, mean, high = (f"{100 * gain[key]:+.1f}" for key in ("low", "mean", "high"))
    say(f"raml's AUPR minus max_logit's: {mean} (95 % interval {low} to {high})")
    sides = ("all", "novel", "old", "harmonic")
    methods = results["incremental"]["5-shot"]["methods"]
    rows = [(name, *(percent(found["miou"][key]) for key in sides)) for name, found in methods.items()]
    show_table("Learn it from 5 examples a class (mIoU, in percent)", ("method", *sides), rows)
