"""The whole loop on the built-in synthetic world: train, see the unknown, learn it, prove it."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from ignota.cli.parsing import Parser
from ignota.cli.settings import add_settings, configuration
from ignota.engine.settings import read_preset

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
    from ignota.engine.demo import run_demo
    from ignota.engine.progress import hush_training

    hush_training()
    run_demo(config, Path(args.out), chosen_device(args), args.quiet)
