"""Commands about the folder of a world: they copy, seal, upgrade and share it."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from ignota.cli.parsing import DEFAULT_WORLD, Parser, add_code, command
from ignota.cli.terminal import note, say_unless_quiet
from ignota.errors import InputError


def _init_options(parser: Parser) -> None:
    parser.add_argument("world", type=str, help="the folder to make")
    parser.renamed["--from"] = "--source"
    parser.add_argument("--source", type=str, default=DEFAULT_WORLD, metavar="WORLD", help="a bundle or shipped")


@command("init WORLD [--from WORLD]", "ignota init my-world --from camvid-8+3", _init_options)
def init(args: Namespace) -> None:
    """A writable copy of a world with its taught classes; teach the copy."""
    from ignota.storage import bundle

    path = Path(args.world)
    if path.exists():
        raise InputError(f"{path} exists already: choose another name or remove it")
    bundle.copy(args.source, path)
    say_unless_quiet(args, f"{path} is yours: `ignota learn NAME --image I --mask M --world {path}` teaches it")


def _own_folder(parser: Parser) -> None:
    parser.add_argument("world", type=str, help="the folder of a world of your own")
    add_code(parser)


@command("seal WORLD [--allow-code]", "ignota seal my-world", _own_folder)
def seal(args: Namespace) -> None:
    """Checks a world whose world.json was edited by hand, and seals it; nothing is written if a check fails."""
    from ignota.storage.upgrading import seal

    changed = seal(args.world, args.allow_code)
    say_unless_quiet(
        args, f"{args.world}: sealed {', '.join(changed)}" if changed else f"{args.world}: nothing had changed"
    )


@command("upgrade WORLD [--allow-code]", "ignota upgrade my-world", _own_folder)
def upgrade(args: Namespace) -> None:
    """Converts a world of an older schema to the current one in place, with its exemplars and history."""
    from ignota.storage.document import SCHEMA
    from ignota.storage.upgrading import upgrade

    needed = upgrade(args.world, args.allow_code)
    say_unless_quiet(args, f"{args.world} is of schema {SCHEMA} {'now' if needed else 'already'}")


def _push_options(parser: Parser) -> None:
    parser.add_argument("world", type=str, help="a bundle or shipped")
    parser.add_argument("repo", type=str, help="OWNER/NAME on the hub; made where it is missing")
    parser.add_argument("--public", action="store_true", help="make a new repository one that everybody reads")


@command("push WORLD REPO [--public]", "ignota push my-world me/my-world", _push_options)
def push(args: Namespace) -> None:
    """Writes a world with its taught classes to a repository on a hub, private unless --public."""
    from ignota.storage.hub import push

    address = push(args.world, args.repo, args.public)
    say_unless_quiet(args, f"{args.world} → {address}")


def _pull_options(parser: Parser) -> None:
    parser.add_argument("repo", type=str, help="OWNER/NAME on the hub")
    parser.add_argument("--out", type=str, required=True, metavar="WORLD", help="the folder to make")
    parser.add_argument("--revision", type=str | None, default=None, metavar="R", help="a branch, a tag or a commit")


@command("pull REPO --out WORLD [--revision R]", "ignota pull me/my-world --out my-world", _pull_options)
def pull(args: Namespace) -> None:
    """Fetches a world from a repository on a hub: only a world's own files, with every seal checked."""
    from ignota.storage.hub import pull

    pull(args.repo, Path(args.out), args.revision, (lambda _: None) if args.quiet else note)
    say_unless_quiet(args, f"{args.out} is the world of {args.repo}")
