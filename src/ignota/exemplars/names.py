"""Which class names a store accepts, and how other text is made printable."""

from __future__ import annotations

from ignota.structures import InputError
from ignota.taxonomy import RESERVED_NAMES

LONGEST_NAME, _LONGEST_TEXT = 64, 1000


def checked_name(name: str) -> str:
    """A class name without blanks around it; raises InputError for one that cannot be printed or that is reserved."""
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise InputError(f"a class name has 1 to {LONGEST_NAME} printable characters, not {name[:200]!r}")
    if name.casefold() in RESERVED_NAMES:
        raise InputError(f"{name!r} is a reserved name, which label files need for themselves: choose another name")
    return name


def escaped(text: str) -> str:
    """Text for people (an author, the name of an image) with every character that cannot be printed as \\xNN."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return shown[:_LONGEST_TEXT]
