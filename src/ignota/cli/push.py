"""Writes a world with its taught classes to a repository on a hub, private unless --public."""

from __future__ import annotations

from jsonargparse import Namespace

from ignota.cli.parsing import Parser

USAGE = "push WORLD REPO [--public]"
EXAMPLE = "ignota push my-world me/my-world"


def arguments(parser: Parser) -> None:
    parser.add_argument("world", type=str, help="a bundle or shipped")
    parser.add_argument("repo", type=str, help="OWNER/NAME on the hub; made where it is missing")
    parser.add_argument("--public", action="store_true", help="make a new repository one that everybody reads")


def run(args: Namespace) -> None:
    from ignota.cli.terminal import say
    from ignota.storage.hub import push

    address = push(args.world, args.repo, args.public)
    if not args.quiet:
        say(f"{args.world} → {address}")
