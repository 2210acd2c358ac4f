"""Checks a world whose world.json was edited by hand, and seals it; nothing is written if a check fails."""

from __future__ import annotations

from jsonargparse import Namespace

from ignota.cli.parsing import Parser

USAGE = "seal WORLD [--allow-code]"
EXAMPLE = "ignota seal my-world"


def arguments(parser: Parser) -> None:
    parser.add_argument("world", type=str, help="the folder of a world of your own")
    parser.renamed["--allow-code"] = "--allow_code"
    parser.add_argument("--allow_code", action="store_true", help="run the code that a world's segmenter is made of")


def run(args: Namespace) -> None:
    from ignota.cli.terminal import say
    from ignota.storage.upgrading import seal

    changed = seal(args.world, args.allow_code)
    if not args.quiet:
        say(f"{args.world}: sealed {', '.join(changed)}" if changed else f"{args.world}: nothing had changed")
