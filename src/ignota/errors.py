"""The error for wrong input. This module imports nothing heavy, so `--help` and early failures stay fast."""

from __future__ import annotations

import re
from typing import Self

_ARGUMENT = re.compile(r'\b([a-z][\w.]*)=("?)(\w*)\2')


class InputError(ValueError):
    """Something that came from outside is wrong: one line that says what, where and how to fix it.

    remedy: how to fix it, where that is an argument, as Python takes it: `allow_download=True`, `data=ROOT`.
    command_line: the whole line with options in place of arguments: `--allow-download`, `--data ROOT`. The command
    line prints it to standard error and ends with exit code 2.
    """

    def __init__(self, line: str, remedy: str = "") -> None:
        super().__init__(f"{line}: {remedy}" if remedy else line)
        self.command_line = f"{line}: {_ARGUMENT.sub(_as_option, remedy)}" if remedy else line

    @classmethod
    def of_argument(cls, name: str, problem: str) -> Self:
        """The error for the value of one argument, which is an option of the same name on the command line."""
        error = cls(f"{name} {problem}")
        error.command_line = f"{_option(name)} {problem}"
        return error


def _as_option(argument: re.Match[str]) -> str:
    name, _, value = argument.groups()
    return _option(name) if value in ("", "True") else f"{_option(name)} {value}"


def _option(name: str) -> str:
    return f"--{name if '.' in name else name.replace('_', '-')}"  # a setting such as fit.target_fpr keeps its name
