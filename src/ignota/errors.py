"""The error for a wrong input; it loads nothing, so that `--help` and early failures stay quick."""

from __future__ import annotations


class InputError(ValueError):
    """Something that came from outside is wrong: one line that says what, where and how to mend it.

    The command line prints it to standard error and ends with exit code 2.
    """
