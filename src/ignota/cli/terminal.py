"""Output for people: results on standard output, progress on standard error."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from jsonargparse import Namespace
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ignota.cli.outcome import plain, said
from ignota.progress import progress as progress

_WIDTH_OF_A_PIPE = 400


def say(text: str) -> None:
    """One line of result."""
    sys.stdout.write(plain(text) + "\n")


def say_unless_quiet(args: Namespace, text: str) -> None:
    """One line of result; nothing with `--quiet`."""
    if not args.quiet:
        say(text)


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


class _PlainFormatter(logging.Formatter):
    """Log lines without what a terminal would act on."""

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record))


@contextmanager
def logging_here() -> Iterator[None]:
    """Writes the messages of the loggers `ignota.*` to standard error, above a progress bar."""
    logger, handler = logging.getLogger("ignota"), logging.StreamHandler()
    handler.setFormatter(_PlainFormatter("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    before, logger.propagate = (logger.level, logger.propagate), False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    try:
        with logging_redirect_tqdm([logger]) if sys.stderr.isatty() else nullcontext():
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def complain(faults: Sequence[Exception]) -> None:
    """One line on standard error for each fault; the last one is raised, so that it decides how the command ends."""
    for fault in faults[:-1]:
        sys.stderr.write(f"ignota: {plain(said(fault))}\n")
    if faults:
        raise faults[-1]
