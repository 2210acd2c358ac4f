"""What people see: results on standard output, progress on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from ignota.cli.outcome import plain, said

_WIDTH_OF_A_PIPE = 160
_SELDOM = 10.0
"""Seconds between two states of a bar that is written to a file or a pipe."""


def say(text: str) -> None:
    """One line of result."""
    sys.stdout.write(plain(text) + "\n")


def note(text: str) -> None:
    """One line beside the result."""
    sys.stderr.write(f"ignota: {plain(text)}\n")


def say_json(value: Any) -> None:
    """A result for programs."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    say(text if plain(text) == text else json.dumps(value, indent=2).replace("\x7f", "\\u007f"))


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], numbers: bool = True) -> None:
    """A table; columns after the first stand right-aligned where they hold numbers."""
    table = Table(highlight=False)
    for i, column in enumerate(columns):
        table.add_column(Text(plain(column)), justify="right" if numbers and i else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) if isinstance(cell, str) else cell for cell in row))
    say(title)
    piped = not sys.stdout.isatty()
    Console(file=sys.stdout, width=_WIDTH_OF_A_PIPE if piped else None, highlight=False).print(table)


def swatch(colour: tuple[int, int, int]) -> Text:
    """A patch of a colour with its number, for terminals with and without colours."""
    red, green, blue = colour
    number = f"#{red:02x}{green:02x}{blue:02x}"
    return Text.assemble(("  ", f"on rgb({red},{green},{blue})"), f" {number}")


def progress(total: int, title: str, unit: str, quiet: bool) -> tqdm:
    """A bar with the time left and the units a second, means over the whole run.

    In a file or a pipe it is written every ten seconds; work that takes less writes nothing.
    """
    often, wait = (0.5, 0) if sys.stderr.isatty() else (_SELDOM, _SELDOM)
    return tqdm(total=total, desc=title, unit=f" {unit}", disable=quiet, mininterval=often, delay=wait, smoothing=0)


def skip(bar: tqdm) -> None:
    """Counts one unit that was finished before: done, but no part of the units a second."""
    bar.initial = getattr(bar, "initial", 0) + 1  # a bar that is not shown has none
    bar.update()


def reach(bar: tqdm) -> Callable[[int, int], None]:
    """Sets the bar to (done, total), for work that knows its total only when it has begun."""

    def tick(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return tick


def percent(fraction: float | None) -> str:
    """A fraction in percent; a dash where there is none."""
    return "–" if fraction is None else f"{100 * fraction:.2f}"


def complain(faults: Sequence[Exception]) -> None:
    """One line on standard error for each fault; the last one is raised, so that it decides how the command ends."""
    for fault in faults[:-1]:
        sys.stderr.write(f"ignota: {plain(said(fault))}\n")
    if faults:
        raise faults[-1]
