"""Moves the examples of one taught class to another, and drops the first."""

from __future__ import annotations

from jsonargparse import Namespace

from ignota.cli.parsing import Parser, add_world

USAGE = "merge NAME INTO --world WORLD"
EXAMPLE = "ignota merge e-scooter scooter --world my-world"


def arguments(parser: Parser) -> None:
    parser.add_argument("name", type=str, help="a taught class, to be dropped")
    parser.add_argument("into", type=str, help="the taught class that gets its examples")
    add_world(parser, own=True)


def run(args: Namespace) -> None:
    from ignota.cli.opening import opened_world
    from ignota.cli.terminal import say

    with opened_world(args, writable=True) as world:
        world.merge(args.name, args.into)
    if not args.quiet:
        say(f"{args.name!r} is part of {args.into!r} now")
