"""Shell completion of commands, options and choices, made by shtab from the options of every command.

The script is static: completing a word starts no Python. Values that are no choice complete as paths.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

import shtab

from ignota.cli.commands import COMMANDS, hint
from ignota.cli.data_sets import NAMES
from ignota.cli.outcome import UsageError
from ignota.cli.parsing import LABEL_FORMATS, Parser
from ignota.training.settings import presets

OPTION = "--print-completion"
SHELLS = ("bash", "zsh", "fish")


def completion(words: Sequence[str]) -> str:
    """The script for the shell that `words` name, one of SHELLS; raises UsageError."""
    if len(words) != 1 or words[0] not in SHELLS:
        near = hint(words[0], SHELLS) if words else ""
        raise UsageError(f"{OPTION} takes {', '.join(SHELLS[:-1])} or {SHELLS[-1]}{near}")
    root = argparse.ArgumentParser("ignota", add_help=False)
    root.add_argument("--help", action="store_true", help="list all commands")
    root.add_argument("--version", action="store_true", help="print the version")
    root.add_argument(OPTION, choices=SHELLS, help="print the script that completes commands in a shell")
    below: dict[str, Any] = {"": root.add_subparsers()}
    for name, entry in COMMANDS.items():
        group, _, last = name.rpartition(" ")
        if group not in below:
            members = ", ".join(other.partition(" ")[2] for other in COMMANDS if other.startswith(f"{group} "))
            below[group] = below[""].add_parser(group, help=members, add_help=False).add_subparsers()
        inner = below[group].add_parser(last, help=entry.summary, add_help=False)
        _copy(Parser(name), inner)
    return shtab.complete(root, words[0])


def _copy(parser: Parser, plain: argparse.ArgumentParser) -> None:
    """The options of a command as people write them, in argparse's own terms."""
    shown = {inner: option for option, inner in parser.renamed.items()}
    for action in parser._actions:
        names = [shown.get(option, option) for option in action.option_strings] or [action.dest]
        if action.nargs == 0:
            plain.add_argument(*names, action="store_true", help=action.help)
            continue
        choices = _choices(
            parser.kinds.get((action.option_strings or [action.dest])[-1].lstrip("-").replace("-", "_"))
        ) or _named(action)
        added: Any = plain.add_argument(*names, choices=choices or None, nargs=action.nargs, help=action.help)
        if not choices:
            added.complete = shtab.FILE


def _choices(kind: Any) -> list[str]:
    """What an option takes, where its type lists it."""
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    return [choice for inner in get_args(kind) for choice in _choices(inner)]


def _named(action: argparse.Action) -> list[str]:
    """What a word of the call may be, where that is known by its name."""
    if action.option_strings:
        return []
    known = {"dataset": NAMES, "datasets": NAMES, "format": LABEL_FORMATS, "preset": ", ".join(presets())}
    return known[action.dest].split(", ") if action.dest in known else []
