"""The exemplar store: taught classes, their examples and their history in SQLite, one transaction per change.

Nothing is overwritten: a class or example that is dropped is hidden, and each event lists the cells that it changed,
so undoing one writes the old values back.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ignota.exemplars.journal import EVENTS, Event, change, inserted, note, now, record, undoable, write_back
from ignota.exemplars.rows import checked_name, escaped, pack, seal_open_rows, unpack
from ignota.exemplars.store_files import explained, in_memory, opened_for_reading, opened_for_writing
from ignota.perception.calibration import Calibration, pack_calibration, unpack_calibration
from ignota.perception.novel import Exemplar, TaughtClass
from ignota.structures import InputError
from ignota.taxonomy import MAX_CLASSES

FILE = "exemplars.sqlite"
COUNTER_EXAMPLE = "not"
"""What was given of an exemplar that says what its class is not."""


@dataclass(frozen=True)
class ExemplarRow:
    """An exemplar with where it comes from.

    image_sha256: of the image's upright RGB pixels. source: name of the image. given: what people gave (mask, polygon,
    box, click), or `not` for what the class is not. mask: COCO RLE. thumbnail: JPEG.
    """

    exemplar: Exemplar
    image_sha256: str
    given: str = "mask"
    source: str = ""
    mask: dict[str, Any] | None = None
    thumbnail: bytes | None = None


@dataclass(frozen=True)
class ExemplarCard:
    """A stored exemplar without its tensors."""

    key: int
    name: str
    image_sha256: str
    source: str
    given: str
    author: str
    at: str
    mask: dict[str, Any] | None
    thumbnail: bytes | None


class ExemplarStore:
    """The SQLite file of one bundle, or none (`path` None): a world in memory keeps its rows in a database there.

    Threads may share it; processes open one each. A read-only store of an older version is read as a migrated copy.
    most: how many classes it may show.
    """

    most = MAX_CLASSES

    def __init__(self, path: Path | None, writable: bool = True, immutable: bool = False) -> None:
        self.path, self.writable, self._immutable = path, writable, immutable
        self._lock = threading.RLock()
        if path is None:
            self._connection = in_memory()
        else:
            self._connection = opened_for_writing(path) if writable else opened_for_reading(path, immutable)

    def close(self) -> None:
        self._connection.close()

    def state(self) -> int:
        """A number that grows with every change by whatever process."""
        return int(self._read("SELECT coalesce(max(id), 0) FROM history")[0][0])

    def classes(self) -> tuple[TaughtClass, ...]:
        """In order of teaching."""
        rows = self._read(
            "SELECT id, name, colour, (SELECT count(*) FROM exemplar WHERE class = c.id AND hidden = 0 AND given != ?)"
            " FROM class c WHERE hidden = 0 ORDER BY id",
            (COUNTER_EXAMPLE,),
        )
        return tuple(TaughtClass(key, name, _colour(colour), number) for key, name, colour, number in rows)

    def exemplars(self) -> tuple[Exemplar, ...]:
        """All rows, by class and age; raises InputError for a damaged one."""
        rows = self._read(
            "SELECT c.name, e.tensors FROM exemplar e JOIN class c ON c.id = e.class"
            " WHERE c.hidden = 0 AND e.hidden = 0 ORDER BY c.id, e.id"
        )
        return tuple(unpack(name, blob) for name, blob in rows)

    def calibration(self, recipe: str) -> Calibration | None:
        """The newest calibration of a recipe that was not taken back; raises InputError for a damaged one."""
        rows = self._read(
            "SELECT recipe, images, target_fpr, threshold, scale, reference, author, at, id FROM calibration"
            " WHERE hidden = 0 AND recipe = ? ORDER BY id DESC LIMIT 1",
            (recipe,),
        )
        return unpack_calibration(*rows[0]) if rows else None

    def read_taught(self, recipe: str) -> tuple[int, tuple[TaughtClass, ...], tuple[Exemplar, ...], Calibration | None]:
        """`state`, `classes`, `exemplars` and `calibration` as one transaction sees them, whatever others write."""
        with self._lock:
            self._connection.execute("BEGIN")
            try:
                return self.state(), self.classes(), self.exemplars(), self.calibration(recipe)
            finally:
                self._connection.execute("ROLLBACK")

    def cards(self, name: str | None = None) -> tuple[ExemplarCard, ...]:
        """What is known of the exemplars of a class, or of all."""
        rows = self._read(
            "SELECT e.id, c.name, e.image_sha256, e.source, e.given, e.author, e.at, e.mask, e.thumbnail"
            " FROM exemplar e JOIN class c ON c.id = e.class WHERE c.hidden = 0 AND e.hidden = 0"
            " AND (? IS NULL OR c.name = ?) ORDER BY c.id, e.id",
            (name, name),
        )
        return tuple(_card(*row) for row in rows)

    def history(self) -> tuple[Event, ...]:
        """All events, the oldest first."""
        return tuple(Event(*row) for row in self._read(f"{EVENTS} ORDER BY h.id"))

    def add(self, name: str, colour: tuple[int, int, int], rows: Sequence[ExemplarRow], author: str = "") -> int:
        """Teaches a class, or adds examples to one; returns the key of the event. Raises InputError for its name."""
        name = checked_name(name)
        with self._transaction() as connection:
            found = connection.execute("SELECT id FROM class WHERE name = ? AND hidden = 0", (name,)).fetchone()
            event = record(connection, "learn", name, len(rows), author)
            if found is None:
                values = (name, json.dumps(colour), now())
                key = inserted(connection, "INSERT INTO class (name, colour, taught_at) VALUES (?, ?, ?)", values)
            else:
                (key,) = found
            note(connection, event, "class", key, "hidden", int(found is None), 0)
            for row in rows:
                note(connection, event, "exemplar", _stored(connection, key, row, author), "hidden", 1, 0)
        return event

    def remove(self, name: str, author: str = "") -> int:
        """Forgets a class; raises InputError if there is none."""
        with self._transaction() as connection:
            key, number = _class_key(connection, name), self._count(name)
            event = record(connection, "forget", name, number, author)
            change(connection, event, "class", key, "hidden", 1)
        return event

    def rename(self, name: str, new: str, author: str = "") -> int:
        """Gives a class another name; raises InputError if there is none or the new one is taken or reserved."""
        new = checked_name(new)
        with self._transaction() as connection:
            key = _class_key(connection, name)
            event = record(connection, "rename", name, self._count(name), author, new)
            change(connection, event, "class", key, "name", new)
        return event

    def recolour(self, name: str, colour: tuple[int, int, int], author: str = "") -> int:
        """Gives a class another colour; raises InputError if there is none."""
        with self._transaction() as connection:
            key = _class_key(connection, name)
            event = record(
                connection, "recolour", name, self._count(name), author, "#{:02x}{:02x}{:02x}".format(*colour)
            )
            change(connection, event, "class", key, "colour", json.dumps(colour))
        return event

    def merge(self, name: str, into: str, author: str = "") -> int:
        """Gives the examples of one class to another and drops the first; raises InputError if one is missing."""
        with self._transaction() as connection:
            key, target = _class_key(connection, name), _class_key(connection, into)
            event = record(connection, "merge", name, self._count(name), author, into)
            rows = connection.execute("SELECT id FROM exemplar WHERE class = ? AND hidden = 0", (key,)).fetchall()
            for (row,) in rows:
                change(connection, event, "exemplar", row, "class", target)
            change(connection, event, "class", key, "hidden", 1)
            change(connection, event, "class", target, "hidden", 0)
        return event

    def calibrate(self, calibration: Calibration, author: str = "") -> int:
        """Adds a calibration, which stands until a newer one of its recipe; returns the key of the event."""
        cells = (
            calibration.recipe, escaped(author), now(), calibration.images, calibration.target_fpr,
            calibration.threshold, calibration.scale, pack_calibration(calibration),
        )  # fmt: skip
        with self._transaction() as connection:
            event = record(connection, "calibrate", calibration.recipe, 0, author, str(calibration))
            key = inserted(
                connection,
                "INSERT INTO calibration (recipe, author, at, images, target_fpr, threshold, scale, reference)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                cells,
            )
            note(connection, event, "calibration", key, "hidden", 1, 0)
        return event

    def undo(self, event: int | None = None, author: str = "") -> Event:
        """Takes an event back, the last one by default, and returns it.

        Raises InputError where there is none, or where a later event rests on it.
        """
        with self._transaction() as connection:
            taken = undoable(connection, event)
            undo = record(connection, "undo", taken.name, taken.exemplars, author, f"{taken.action} ({taken.key})")
            write_back(connection, taken.key)
            connection.execute("UPDATE history SET undone_by = ?, seal = x'' WHERE id = ?", (undo, taken.key))
        return taken

    def copy_to(self, path: Path) -> None:
        """A consistent copy by SQLite's backup call, whatever else uses the store."""
        target = sqlite3.connect(path, isolation_level=None)
        try:
            with self._lock:
                self._connection.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error as error:
            raise explained(error, path) from None
        finally:
            target.close()

    def _count(self, name: str) -> int:
        return next((taught.exemplars for taught in self.classes() if taught.name == name), 0)

    def _read(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.DatabaseError as error:
                raise explained(error, self.path) from None

    def check_writable(self) -> None:
        """Raises InputError where nothing may be stored."""
        if self._immutable:
            raise InputError("this world is read-only: make a copy with `ignota init WORLD` and teach that")
        if not self.writable:
            raise InputError("this world was opened read-only: open it with writable=True")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self.check_writable()
        with self._lock:
            connection = self._connection
            try:
                connection.execute("BEGIN IMMEDIATE")
                shown = _shown(connection)
                yield connection
                if _shown(connection) > max(shown, self.most):
                    raise InputError(f"this world is full with {MAX_CLASSES} classes: forget one first")
                seal_open_rows(connection)
                connection.execute("COMMIT")
            except sqlite3.IntegrityError as error:
                self._roll_back()
                if "class.name" not in str(error):
                    raise
                raise InputError("another class has that name now: rename one of them first") from None
            except BaseException as error:
                self._roll_back()
                raise explained(error, self.path) from None

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _shown(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM class WHERE hidden = 0").fetchone()[0])


def _colour(text: str) -> tuple[int, int, int]:
    try:
        red, green, blue = (int(value) for value in json.loads(text) if 0 <= value <= 255)
    except (ValueError, TypeError) as error:
        raise InputError(f"a colour in this world's store is damaged ({type(error).__name__}): copy it again") from None
    return red, green, blue


def _card(key: int, name: str, *cells: Any) -> ExemplarCard:
    sha256, source, given, author, at, mask, thumbnail = cells
    return ExemplarCard(
        key, name, sha256, source, given, author, at, None if mask is None else json.loads(mask), thumbnail
    )


def _class_key(connection: sqlite3.Connection, name: str) -> int:
    found = connection.execute("SELECT id FROM class WHERE name = ? AND hidden = 0", (name,)).fetchone()
    if found is None:
        raise InputError(f"there is no taught class {name!r} (any more): `ignota classes` lists what there is")
    return int(found[0])


def _stored(connection: sqlite3.Connection, key: int, row: ExemplarRow, author: str) -> int:
    mask = None if row.mask is None else json.dumps(row.mask, separators=(",", ":"))
    return inserted(
        connection,
        "INSERT INTO exemplar (class, image_sha256, source, given, author, at, mask, thumbnail, tensors)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key,
            row.image_sha256,
            escaped(row.source),
            row.given,
            escaped(author),
            now(),
            mask,
            row.thumbnail,
            pack(row.exemplar),
        ),
    )
