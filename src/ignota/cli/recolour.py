"""Gives a taught class another colour."""

from __future__ import annotations

import re

from jsonargparse import Namespace

from ignota.cli.outcome import UsageError
from ignota.cli.parsing import Parser, add_world

USAGE = "recolour NAME COLOUR --world WORLD"
EXAMPLE = "ignota recolour scooter '#ffb000' --world my-world"


def arguments(parser: Parser) -> None:
    parser.add_argument("name", type=str, help="a taught class")
    parser.add_argument("colour", type=str, help="as #rrggbb")
    add_world(parser, own=True)


def run(args: Namespace) -> None:
    if not re.fullmatch(r"#?[0-9a-fA-F]{6}", args.colour):
        raise UsageError(f"a colour is #rrggbb, such as '#ffb000', not {args.colour!r}")

    from ignota.cli.opening import opened_world
    from ignota.cli.terminal import say

    red, green, blue = bytes.fromhex(args.colour.lstrip("#"))
    with opened_world(args, writable=True) as world:
        world.recolour(args.name, (red, green, blue))
    if not args.quiet:
        say(f"{args.name!r} is #{args.colour.lstrip('#').lower()} now")
