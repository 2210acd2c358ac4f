"""Renames a taught class; its examples and its number stay."""

from __future__ import annotations

from jsonargparse import Namespace

from ignota.cli.parsing import Parser, add_world

USAGE = "rename NAME NEW --world WORLD"
EXAMPLE = "ignota rename scooter 'electric scooter' --world my-world"


def arguments(parser: Parser) -> None:
    parser.add_argument("name", type=str, help="a taught class")
    parser.add_argument("new", type=str, help="what it is to be called")
    add_world(parser, own=True)


def run(args: Namespace) -> None:
    from ignota.cli.opening import opened_world
    from ignota.cli.terminal import say

    with opened_world(args, writable=True) as world:
        world.rename(args.name, args.new)
    if not args.quiet:
        say(f"{args.name!r} is {args.new.strip()!r} now")
