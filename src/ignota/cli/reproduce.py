"""The tables and figures of the RAML paper, its published numbers beside ours; a stopped call resumes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from jsonargparse import Namespace

from ignota.cli.experiments import add_settings, configuration
from ignota.cli.opening import chosen_device
from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, add_download, command
from ignota.cli.terminal import note, say_unless_quiet
from ignota.training.settings import read_preset

_REUSE = "finished runs of `ignota run`, or worlds, whose closed sets are taken: camvid-8+3,camvid-11 come along"


def arguments(parser: Parser) -> None:
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
    arguments,
)
def run(args: Namespace) -> None:
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
