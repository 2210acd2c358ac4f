"""Progress on standard error: a bar on a terminal, a line every ten seconds in a file or a pipe."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

OFTEN, SELDOM = 0.5, 10.0
"""Seconds between two states of a bar on a terminal, and between two lines elsewhere."""

_COUNTED = "{desc}: {n_fmt} of {total_fmt}{unit}s ({percentage:.0f} %), {elapsed} so far, {remaining} left{postfix}"
_ENDLESS = "{desc}: {n_fmt}{unit}s, {elapsed} so far{postfix}"


class Lines(tqdm):
    """A bar of which each state is a line of its own; work that takes less than SELDOM has none."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Writes the state, or `msg`; False, as nothing is left that would have to be wiped away."""
        self.bar_format = _COUNTED if self.total else _ENDLESS
        text = str(self) if msg is None else msg
        if text:
            self.fp.write(f"{text}\n")
            self.fp.flush()
        return False

    def close(self) -> None:
        """Writes how it ended, where something was written before."""
        if not self.disable and self.last_print_t >= self.start_t + self.delay and self.n != self.last_print_n:
            self.display()
        super().close()


def progress(total: int, title: str, unit: str, quiet: bool, **options: Any) -> tqdm:
    """A bar with the time left and the units a second, or lines where standard error is no terminal.

    Both are means over the whole run, unless `options` of tqdm's constructor say otherwise.
    """
    chosen = {"total": total, "desc": title, "unit": f" {unit}", "disable": quiet, "smoothing": 0} | options
    if sys.stderr.isatty():
        return tqdm(mininterval=OFTEN, **chosen)
    return Lines(mininterval=SELDOM, delay=SELDOM, miniters=1, leave=False, **chosen)
