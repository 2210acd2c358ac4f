"""Fetches a world from a repository on a hub: only a world's own files, with every seal checked."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from ignota.cli.parsing import Parser

USAGE = "pull REPO --out WORLD [--revision R]"
EXAMPLE = "ignota pull me/my-world --out my-world"


def arguments(parser: Parser) -> None:
    parser.add_argument("repo", type=str, help="OWNER/NAME on the hub")
    parser.add_argument("--out", type=str, required=True, metavar="WORLD", help="the folder to make")
    parser.add_argument("--revision", type=str | None, default=None, metavar="R", help="a branch, a tag or a commit")


def run(args: Namespace) -> None:
    from ignota.cli.terminal import note, say
    from ignota.storage.hub import pull

    pull(args.repo, Path(args.out), args.revision, (lambda _: None) if args.quiet else note)
    if not args.quiet:
        say(f"{args.out} is the world of {args.repo}")
