"""Drops a taught class: later results are bit for bit those from before it was taught."""

from __future__ import annotations

from jsonargparse import Namespace

from ignota.cli.parsing import Parser, add_world

USAGE = "forget NAME --world WORLD"
EXAMPLE = "ignota forget scooter --world my-world"


def arguments(parser: Parser) -> None:
    parser.add_argument("name", type=str, help="a taught class")
    add_world(parser, own=True)


def run(args: Namespace) -> None:
    from ignota.cli.opening import opened_world
    from ignota.cli.terminal import say

    with opened_world(args, writable=True) as world:
        world.forget(args.name)
        left = len(world.classes)
    if not args.quiet:
        say(f"forgot {args.name!r}; {left} classes are left")
