"""Undoes the last learn, forget, rename, merge, recolour or calibrate, or the one with a number."""

from __future__ import annotations

from jsonargparse import Namespace

from ignota.cli.parsing import Parser, add_world

USAGE = "undo [--event N] --world WORLD"
EXAMPLE = "ignota undo --world my-world"


def arguments(parser: Parser) -> None:
    parser.add_argument("--event", type=int | None, default=None, help="its number in `ignota history`; else the last")
    add_world(parser, own=True)


def run(args: Namespace) -> None:
    from ignota.cli.opening import opened_world
    from ignota.cli.terminal import say

    with opened_world(args, writable=True) as world:
        taken = world.undo(args.event)
    if not args.quiet:
        say(f"undid event {taken.key}: {taken.action} {taken.name!r}")
