"""A writable copy of a world with its taught classes; teach the copy."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from ignota.cli.parsing import DEFAULT_WORLD, Parser

USAGE = "init WORLD [--from WORLD]"
EXAMPLE = "ignota init my-world --from camvid-8+3"


def arguments(parser: Parser) -> None:
    parser.add_argument("world", type=str, help="the folder to make")
    parser.renamed["--from"] = "--source"
    parser.add_argument("--source", type=str, default=DEFAULT_WORLD, metavar="WORLD", help="a bundle or shipped")


def run(args: Namespace) -> None:
    from ignota.cli.terminal import say
    from ignota.storage import bundle
    from ignota.structures import InputError

    path = Path(args.world)
    if path.exists():
        raise InputError(f"{path} exists already: choose another name or remove it")
    bundle.copy(args.source, path)
    if not args.quiet:
        say(f"{path} is yours: `ignota learn NAME --image I --mask M --world {path}` teaches it")
