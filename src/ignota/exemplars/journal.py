"""The history of a store: every event lists its changed cells, and undo writes them back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ignota.exemplars.rows import escaped
from ignota.structures import InputError


@dataclass(frozen=True)
class Event:
    """One learn, forget, rename, merge, recolour, calibrate or undo; name: of the class, or of the recipe that was
    calibrated. undone_by: the event that took it back."""

    key: int
    at: str
    author: str
    action: str
    name: str
    detail: str
    exemplars: int
    undone_by: int | None


EVENTS = "SELECT h.id, h.at, h.author, h.action, h.class, h.detail, h.exemplars, h.undone_by FROM history h"
_STANDING = (
    f"{EVENTS} WHERE h.action != 'undo' AND h.undone_by IS NULL"
    " AND EXISTS (SELECT 1 FROM change WHERE event = h.id) ORDER BY h.id"
)
_CLASSES = "SELECT row FROM change WHERE kind = 'class' AND event = ?"
_LATER = (
    f"{EVENTS} JOIN change c ON c.event = h.id AND c.kind = 'class' WHERE h.id > ? AND h.action != 'undo'"
    f" AND h.undone_by IS NULL AND c.row IN ({_CLASSES}) ORDER BY h.id DESC LIMIT 1"
)
_FIELDS = {
    ("class", "name"), ("class", "colour"), ("class", "hidden"), ("exemplar", "class"), ("exemplar", "hidden"),
    ("calibration", "hidden"),
}  # fmt: skip


def record(connection: sqlite3.Connection, action: str, name: str, number: int, author: str, detail: str = "") -> int:
    """A new row of the history; returns its key."""
    return inserted(
        connection,
        "INSERT INTO history (at, author, action, class, detail, exemplars) VALUES (?, ?, ?, ?, ?, ?)",
        (now(), escaped(author), action, name, detail, number),
    )


def inserted(connection: sqlite3.Connection, query: str, values: Sequence[object]) -> int:
    """Runs an INSERT; returns the key of its row."""
    key = connection.execute(query, values).lastrowid
    if key is None:
        raise sqlite3.DatabaseError("a row was not written")
    return key


def change(connection: sqlite3.Connection, event: int, kind: str, row: int, field: str, value: object) -> None:
    """Writes one cell and notes what it held."""
    (before,) = connection.execute(f"SELECT {field} FROM {kind} WHERE id = ?", (row,)).fetchone()
    connection.execute(f"UPDATE {kind} SET {field} = ?, seal = x'' WHERE id = ?", (value, row))
    note(connection, event, kind, row, field, before, value)


def note(
    connection: sqlite3.Connection, event: int, kind: str, row: int, field: str, before: object, after: object
) -> None:
    """Tells that an event changed a cell."""
    connection.execute(
        "INSERT INTO change (event, kind, row, field, before, after) VALUES (?, ?, ?, ?, ?, ?)",
        (event, kind, row, field, before, after),
    )


def write_back(connection: sqlite3.Connection, event: int) -> None:
    """Gives every cell that an event changed its old value."""
    query = "SELECT kind, row, field, before FROM change WHERE event = ? ORDER BY id DESC"
    for kind, row, field, before in connection.execute(query, (event,)).fetchall():
        if (kind, field) not in _FIELDS:
            raise InputError(f"the history of this world is damaged (a change of {kind}.{field}): nothing was undone")
        connection.execute(f"UPDATE {kind} SET {field} = ?, seal = x'' WHERE id = ?", (before, row))


def undoable(connection: sqlite3.Connection, wanted: int | None) -> Event:
    """The event to be undone; raises InputError where there is none, or where a later one rests on it."""
    standing = [Event(*row) for row in connection.execute(_STANDING).fetchall()]
    if wanted is None and not standing:
        raise InputError("there is nothing to undo in this world")
    chosen = standing[-1] if wanted is None else next((event for event in standing if event.key == wanted), None)
    if chosen is None:
        raise InputError(f"there is no event {wanted} that can be undone; `ignota history` lists them")
    later = connection.execute(_LATER, (chosen.key, chosen.key)).fetchone()
    if later is not None:
        raise InputError(f"event {later[0]} ({later[3]} {later[4]!r}) rests on event {chosen.key}: undo that first")
    return chosen


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
