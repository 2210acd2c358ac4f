"""How a command ends: one line on standard error and an exit code, whatever went wrong."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import traceback
import unicodedata
from pathlib import Path
from types import TracebackType
from typing import Self

from ignota.errors import InputError

DONE, FAILED, WRONG = 0, 1, 2
OUTCOMES = "IGNOTA_OUTCOMES"
"""Folder in which a process that another one started leaves its outcome, so that one of them speaks for all."""

_BEYOND_ASCII = re.compile(r"[^\n\t\x20-\x7e]")
_FULL = (errno.ENOSPC, errno.EDQUOT)


class UsageError(Exception):
    """The call is wrong: one line that says what and how to fix it. It speaks of options alone."""


class CutShortError(Exception):
    """Processes that work together were ended: one line that says why and how to go on."""

    def __init__(self, line: str, code: int = FAILED) -> None:
        super().__init__(line)
        self.code = code


class Boundary:
    """Turns whatever leaves its block into `code` and a line; IGNOTA_TRACEBACK=1 shows the traceback as well."""

    code = DONE

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            return True
        self.code, line = verdict(error)
        if isinstance(error, BrokenPipeError):
            _drop_stdout()
        elif line:
            if os.environ.get("IGNOTA_TRACEBACK") == "1":
                traceback.print_exception(error, file=sys.stderr)
            _complain(line, self.code, isinstance(error, CutShortError))
        return True


def verdict(error: BaseException) -> tuple[int, str]:
    """The exit code and the line of an exception; an empty line where there is nothing to say."""
    if isinstance(error, SystemExit):
        return (
            (error.code, "") if isinstance(error.code, int) else (FAILED if error.code else DONE, str(error.code or ""))
        )
    if isinstance(error, BrokenPipeError):
        return DONE, ""
    if isinstance(error, KeyboardInterrupt):
        return FAILED, "stopped; run the same command again to go on"
    text = said(error)
    if isinstance(error, CutShortError):
        return error.code, text
    if isinstance(error, UsageError | InputError):
        return FAILED if _is_full(error) else WRONG, text
    if _is_full(error) or "No space left on device" in text:
        where = f" for {error.filename}" if isinstance(error, OSError) and error.filename else ""
        return FAILED, f"no space left on the disk{where}: free some and run the same command again"
    if isinstance(error, OSError) and error.filename is not None:
        return WRONG, f"{collapsed(error.filename)}: {error.strerror}; check path and permissions"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return FAILED, f"out of memory ({text[:120]}): try a smaller --size, or --device cpu"
    return FAILED, f"{type(error).__name__}: {text}; IGNOTA_TRACEBACK=1 shows where"


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is the cause: the call was right, and the same call works when there is room."""
    while error is not None:
        if getattr(error, "errno", None) in _FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def plain(text: str) -> str:
    """Text without what a terminal would act on: control and format characters become escapes, line breaks stay.

    Names and paths come from files that people exchange.
    """
    return _BEYOND_ASCII.sub(lambda found: _escaped(found[0]), text)


def _escaped(letter: str) -> str:
    shown = letter.isprintable() or unicodedata.category(letter) == "Zs"
    return letter if shown else letter.encode("unicode_escape").decode("ascii")


def said(error: BaseException) -> str:
    """What an exception says, in one line, with options where Python has arguments."""
    return collapsed(error.command_line if isinstance(error, InputError) else error)


def collapsed(text: object) -> str:
    """Line breaks and runs of blanks become one blank."""
    return " ".join(str(text).split())


def _complain(line: str, code: int, cut_short: bool) -> None:
    if OUTCOMES in os.environ and "RANK" in os.environ:
        outcome = {"rank": os.environ["RANK"], "code": code, "line": line, "cut_short": cut_short}
        Path(os.environ[OUTCOMES], f"outcome-{outcome['rank']}.json").write_text(json.dumps(outcome), encoding="utf-8")
        return
    start = "\r\x1b[K" if sys.stderr.isatty() else ""  # over a progress bar that was cut short
    sys.stderr.write(f"{start}ignota: {plain(line)}\n")
    sys.stderr.flush()


def _drop_stdout() -> None:
    """The reader closed the pipe; avoid a second BrokenPipeError at exit."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
