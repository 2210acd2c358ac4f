"""Commands that run experiments, one's own and the paper's, and the options for their settings."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

from ignota.cli.launching import add_devices, among_processes, has_started, start
from ignota.cli.opening import chosen_device
from ignota.cli.outcome import UsageError, collapsed
from ignota.cli.parsing import Parser, add_branches, add_download, branches_of, command
from ignota.cli.terminal import note, percent, say, say_unless_quiet, show_table
from ignota.errors import InputError
from ignota.training import settings
from ignota.training.configuration import ExperimentConfig
from ignota.training.settings import in_words, is_set, leaves, presets, read_preset

ABSENT = "==SUPPRESS=="
_PRESET = "synthetic-16+3"
_REUSE = "finished runs of `ignota run`, or worlds, whose closed sets are taken: camvid-8+3,camvid-11 come along"


def add_settings(parser: ArgumentParser, besides: tuple[str, ...] = ()) -> None:
    """An option for every key, explained; those not given stay out of the result."""
    texts = settings.explained()
    for key, (kind, default) in leaves().items():
        if key not in besides:
            text = f"{texts[key]}; default: {_plain(default)}".replace("%", "%%")
            parser.add_argument(f"--{key}", type=kind, default=ABSENT, help=text)


def configuration(base: Mapping[str, Any], args: Namespace) -> ExperimentConfig:
    """The configuration of keys from a preset, overridden by options."""
    return settings.configuration({**base, **given(args)})


def given(args: Namespace) -> dict[str, Any]:
    """The settings that options give, by dotted key; raises InputError for null where a value must be."""
    values = {}
    for key, (kind, _) in leaves().items():
        value = args.get(key, ABSENT)
        if not (isinstance(value, str) and value == ABSENT) and not (key in ("size", "seed") and value is None):
            if not is_set(kind, value):
                raise InputError.of_argument(key, f"wants {in_words(kind)}, not {collapsed(value)[:80]!r}")
            values[key] = value
    return values


def _plain(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _run_options(parser: Parser) -> None:
    parser.add_argument("preset", type=str, help=f"one of {', '.join(presets())}, or a file of the same keys")
    parser.add_argument("--out", type=str, required=True, metavar="DIR", help="where everything goes")
    # `--data` alone is the images' folder; `--data.split` and the like are settings
    parser.renamed |= {"--data": "--data_root", "--target-fpr": "--fit.target_fpr"}
    parser.add_argument("--data_root", type=str | None, default=None, metavar="ROOT", help="where the images lie")
    add_devices(parser)
    add_download(parser)
    add_branches(parser, "systems of the paper to train: paper, released, dmlnet; by default as the preset says")
    add_settings(parser, besides=("size", "seed"))


@command(
    "run PRESET|FILE.yaml --out DIR [--data ROOT] [--key value …] [--devices N] [--nodes M]",
    "ignota run camvid-8+3 --data data/camvid --out runs/camvid --closed_set.steps 500",
    _run_options,
)
def run(args: Namespace) -> None:
    """All stages of an experiment; a stopped call resumes. Writes results.json, report.html, config.yaml and world/."""
    began, base = time.monotonic(), read_preset(args.preset)
    if (branches := branches_of(args)) is not None:
        base["meta_channels.branches"] = branches
    config = configuration(base, args)
    if not has_started(args):
        start(args.words, args)
        return

    from ignota.training.distributed import group, is_rank_zero
    from ignota.training.experiment import run_experiment, train_experiment
    from ignota.training.replicas import fit_for_group
    from ignota.training.training import hush_training

    hush_training()
    out, root, device = Path(args.out), None if args.data_root is None else Path(args.data_root), chosen_device(args)
    with among_processes(args, device):
        shared, first = group().size > 1, is_rank_zero()
        config = fit_for_group(config, device)
        if shared:
            if first and device.type == "cpu" and not args.quiet:
                note("batch norm keeps the statistics it starts with, as CPU processes cannot share them")
            train_experiment(config, out, root, device, args.quiet, args.allow_download)
    if first:
        run_experiment(config, out, root, device, args.quiet, began, args.allow_download)
    if first and not args.quiet:
        say(f"{out / 'results.json'}\n{out / 'report.html'}\n{out / 'world'}")


def _demo_options(parser: Parser) -> None:
    parser.add_argument("--out", type=str, default="runs/demo", metavar="DIR", help="where results and report go")
    parser.renamed["--target-fpr"] = "--fit.target_fpr"
    add_settings(parser, besides=("size", "seed"))


@command("demo [--out DIR] [--key value …]", "ignota demo --out runs/demo", _demo_options)
def demo(args: Namespace) -> None:
    """The whole loop on the built-in synthetic world: train, find the unknown, learn it, measure both."""
    config = configuration(read_preset(_PRESET), args)

    from ignota.training.experiment import REPORT, RESULTS, run_experiment
    from ignota.training.training import hush_training

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


def _reproduce_options(parser: Parser) -> None:
    parser.add_argument("tables", nargs="+", type=str, help="table-1 … table-g, figure-1 … figure-i, choices, or all")
    worlds = Literal["synthetic", "camvid", "cityscapes"]
    parser.add_argument("--world", type=worlds, default="synthetic", help="drawn streets, CamVid or the paper's data")
    parser.renamed |= {"--data": "--data_root", "--target-fpr": "--fit.target_fpr"}
    parser.add_argument(
        "--data_root",
        type=str | None,
        default=None,
        metavar="ROOT",
        help="the folder that holds those of the data sets",
    )
    parser.add_argument("--fidelity", type=Literal["quick", "full"], default="full", help="quick is a smoke test")
    parser.add_argument("--out", type=str, default="runs/reproduce", metavar="DIR", help="where everything is kept")
    parser.add_argument("--reuse", type=str | None, default=None, metavar="RUN,…", help=_REUSE)
    add_download(parser)
    add_settings(parser, besides=("size", "seed", "name"))


@command(
    "reproduce TABLE… [--world synthetic|camvid|cityscapes] [--data ROOT] [--fidelity quick|full] [--out DIR]",
    "ignota reproduce table-1 table-2 --fidelity quick --out runs/reproduce",
    _reproduce_options,
)
def reproduce(args: Namespace) -> None:
    """The tables and figures of the RAML paper, its published numbers beside ours; a stopped call resumes."""
    from ignota.reproduce.grounds import GROUNDS, Setting
    from ignota.reproduce.publishing import reproduce
    from ignota.reproduce.runner import chosen_names
    from ignota.storage.bundle import shipped_worlds
    from ignota.training.training import hush_training

    names = chosen_names(args.tables, GROUNDS[args.world].without)
    given = tuple(Path(run) for run in (args.reuse or "").split(",") if run)
    for source in given:
        if not source.is_dir() and str(source) not in shipped_worlds():
            raise UsageError(f"no folder {source}: --reuse names what `ignota run` wrote, or a world")

    def read(preset: str, changes: Mapping[str, Any]) -> Any:
        return configuration(read_preset(preset) | dict(changes), args)

    root = None if args.data_root is None else Path(args.data_root)
    setting = Setting.of(args.world, args.fidelity, read, root, bool(given))
    hush_training()
    written = reproduce(
        names, setting, Path(args.out), chosen_device(args), args.quiet, given, None if args.quiet else note,
        args.allow_download,
    )  # fmt: skip
    say_unless_quiet(args, "\n".join(str(path) for path in written))
