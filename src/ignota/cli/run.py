"""All stages of an experiment; a stopped call resumes. Writes results.json, report.html, config.yaml and world/."""

from __future__ import annotations

import time
from pathlib import Path

from jsonargparse import Namespace

from ignota.cli.launching import add_devices, among_processes, has_started, start
from ignota.cli.parsing import Parser, add_branches, add_download, branches_of
from ignota.cli.settings import add_settings, configuration
from ignota.training.settings import presets, read_preset

USAGE = "run PRESET|FILE.yaml --out DIR [--data ROOT] [--key value …] [--devices N] [--nodes M]"
EXAMPLE = "ignota run camvid-8+3 --data data/camvid --out runs/camvid --closed_set.steps 500"


def arguments(parser: Parser) -> None:
    parser.add_argument("preset", type=str, help=f"one of {', '.join(presets())}, or a file of the same keys")
    parser.add_argument("--out", type=str, required=True, metavar="DIR", help="where everything goes")
    # `--data` alone is the images' folder; `--data.split` and the like are settings
    parser.renamed |= {"--data": "--data_root", "--target-fpr": "--fit.target_fpr"}
    parser.add_argument("--data_root", type=str | None, default=None, metavar="ROOT", help="where the images lie")
    add_devices(parser)
    add_download(parser)
    add_branches(parser, "systems of the paper to train: paper, released, dmlnet; by default as the preset says")
    add_settings(parser, besides=("size", "seed"))


def run(args: Namespace) -> None:
    began, base = time.monotonic(), read_preset(args.preset)
    if (branches := branches_of(args)) is not None:
        base["meta_channels.branches"] = branches
    config = configuration(base, args)
    if not has_started(args):
        start(args.words, args)
        return

    from ignota.cli.opening import chosen_device
    from ignota.cli.terminal import note, say
    from ignota.training.distributed import group, is_rank_zero
    from ignota.training.experiment import run_experiment, train_experiment
    from ignota.training.progress import hush_training
    from ignota.training.replicas import fit_for_group

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
