"""The command line: thin modules, one for each group of commands."""

from __future__ import annotations

import io
import sys
import warnings

from jsonargparse import Namespace

from ignota import __version__
from ignota.cli.commands import COMMANDS, find_command, overview
from ignota.cli.outcome import Boundary
from ignota.cli.parsing import Command, Parser
from ignota.heap import keep_freed_memory

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns 0 done, 1 the work failed, 2 the call or the input is wrong."""
    words = sys.argv[1:] if argv is None else list(argv)
    keep_freed_memory()
    with Boundary() as boundary:
        if argv is None and not sys.warnoptions:
            warnings.simplefilter("ignore")  # libraries' advice to programmers, of no use to who runs a command
        if argv is None and isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold bytes that are no UTF-8
        _dispatch(words)
        sys.stdout.flush()
    return boundary.code


def _dispatch(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(overview(__version__))
    elif words[0] == "--version":
        sys.stdout.write(f"ignota {__version__}\n")
    elif words[0] == "--print-completion":
        from ignota.cli.completion import completion

        sys.stdout.write(completion(words[1:]))
    else:
        name, rest = find_command(words)
        if name not in COMMANDS:  # a group such as `evaluate`, asked for help
            sys.stdout.write(overview(__version__, name))
            return
        parser = Parser(name)
        if "--version" in rest:
            sys.stdout.write(f"ignota {__version__}\n")
            return
        args = parser.parse(rest)
        if not args.verbose:
            _run(parser.command, args)
            return
        from ignota.cli.terminal import logging_here

        with logging_here():
            _run(parser.command, args)


def _run(command: Command, args: Namespace) -> None:
    """A command, after installed packages and `--plugin` are loaded. A package that fails is reported and left out."""
    from importlib.metadata import entry_points

    if args.plugin or any(entry_points(group=group) for group in ("ignota.scores", "ignota.datasets")):
        from ignota.cli.terminal import note
        from ignota.plugins import load_plugins

        for fault in load_plugins(args.plugin):
            note(f"{fault}; it is left out")
    command.run(args)
