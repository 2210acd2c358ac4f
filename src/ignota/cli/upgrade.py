"""Converts a world of an older schema to the current one in place, with its exemplars and history."""

from __future__ import annotations

from jsonargparse import Namespace

from ignota.cli.parsing import Parser

USAGE = "upgrade WORLD [--allow-code]"
EXAMPLE = "ignota upgrade my-world"


def arguments(parser: Parser) -> None:
    parser.add_argument("world", type=str, help="the folder of a world of your own")
    parser.renamed["--allow-code"] = "--allow_code"
    parser.add_argument("--allow_code", action="store_true", help="run the code that a world's segmenter is made of")


def run(args: Namespace) -> None:
    from ignota.cli.terminal import say
    from ignota.storage.document import SCHEMA
    from ignota.storage.upgrading import upgrade

    needed = upgrade(args.world, args.allow_code)
    if not args.quiet:
        say(f"{args.world} is of schema {SCHEMA} {'now' if needed else 'already'}")
