"""The exemplar store: taught classes and their examples in SQLite, one transaction for each change."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from ignota.structures import InputError
from ignota.world.novel import Exemplar

FILE = "exemplars.sqlite"
VERSION = 1

_SCHEMA = """
CREATE TABLE class (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  colour TEXT NOT NULL,
  taught_at TEXT NOT NULL
);
CREATE TABLE exemplar (
  id INTEGER PRIMARY KEY,
  class INTEGER NOT NULL REFERENCES class(id) ON DELETE CASCADE,
  image_sha256 TEXT NOT NULL,
  source TEXT NOT NULL,
  tensors BLOB NOT NULL
);
CREATE TABLE history (
  id INTEGER PRIMARY KEY,
  at TEXT NOT NULL,
  action TEXT NOT NULL,
  class TEXT NOT NULL,
  exemplars INTEGER NOT NULL
);
"""


@dataclass(frozen=True)
class TaughtClass:
    """A taught class: name, colour, number of exemplars."""

    name: str
    colour: tuple[int, int, int]
    exemplars: int


@dataclass(frozen=True)
class ExemplarRow:
    """An exemplar with where it comes from."""

    exemplar: Exemplar
    image_sha256: str
    source: str


class ExemplarStore:
    """The SQLite file of one bundle, or none (`path` None): a world in memory keeps its rows in a database there."""

    def __init__(self, path: Path | None, writable: bool = True, immutable: bool = False) -> None:
        self.path, self.writable = path, writable
        if path is None:
            self._connection = sqlite3.connect(":memory:", isolation_level=None)
            create(self._connection)
            return
        if not path.exists():
            raise InputError(f"{path.parent} has no {FILE}: the world is damaged; make it anew with `ignota init`")
        mode = "mode=rw" if writable else "mode=ro&immutable=1" if immutable else "mode=ro"
        try:
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?{mode}", uri=True, isolation_level=None, timeout=10
            )
            self._connection.execute("PRAGMA foreign_keys = ON")
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path} is damaged ({error}): make the world anew with `ignota init`") from None
        if version != VERSION:
            self.close()
            raise InputError(f"{path} has schema version {version}, this program reads {VERSION}: update ignota")

    def close(self) -> None:
        self._connection.close()

    def classes(self) -> tuple[TaughtClass, ...]:
        """In order of teaching."""
        rows = self._connection.execute(
            "SELECT name, colour, (SELECT count(*) FROM exemplar WHERE class = c.id) FROM class c ORDER BY id"
        )
        return tuple(TaughtClass(name, tuple(json.loads(colour)), number) for name, colour, number in rows)

    def exemplars(self) -> tuple[Exemplar, ...]:
        """All rows, by class and age; raises InputError for a damaged one."""
        rows = self._connection.execute(
            "SELECT c.name, e.tensors FROM exemplar e JOIN class c ON c.id = e.class ORDER BY c.id, e.id"
        )
        return tuple(_unpack(name, blob) for name, blob in rows)

    def add(self, name: str, colour: tuple[int, int, int], rows: list[ExemplarRow]) -> None:
        """Teaches a class, or adds examples to one, in one transaction."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO class (name, colour, taught_at) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING",
                (name, json.dumps(colour), _now()),
            )
            (key,) = connection.execute("SELECT id FROM class WHERE name = ?", (name,)).fetchone()
            connection.executemany(
                "INSERT INTO exemplar (class, image_sha256, source, tensors) VALUES (?, ?, ?, ?)",
                [(key, row.image_sha256, row.source, _pack(row.exemplar)) for row in rows],
            )
            _record(connection, "learn", name, len(rows))

    def remove(self, name: str) -> None:
        """Forgets a class with its examples in one transaction; raises KeyError if there is none."""
        with self._transaction() as connection:
            found = connection.execute("SELECT id FROM class WHERE name = ?", (name,)).fetchone()
            if found is None:
                raise KeyError(name)
            (number,) = connection.execute("SELECT count(*) FROM exemplar WHERE class = ?", found).fetchone()
            connection.execute("DELETE FROM class WHERE id = ?", found)
            _record(connection, "forget", name, number)

    def copy_to(self, path: Path) -> None:
        """A consistent copy by SQLite's backup call, whatever else uses the store."""
        target = sqlite3.connect(path, isolation_level=None)
        try:
            self._connection.backup(target)
            target.execute("PRAGMA journal_mode = WAL")
        finally:
            target.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if not self.writable:
            raise InputError("this world is read-only: make a copy with `ignota init WORLD` and teach that")
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._roll_back()
            raise InputError(f"cannot write {self.path}: {error}; free space or close what holds it") from None
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def create(connection: sqlite3.Connection) -> None:
    """An empty store."""
    connection.executescript(_SCHEMA)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _record(connection: sqlite3.Connection, action: str, name: str, number: int) -> None:
    connection.execute(
        "INSERT INTO history (at, action, class, exemplars) VALUES (?, ?, ?, ?)", (_now(), action, name, number)
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _pack(exemplar: Exemplar) -> bytes:
    groups = {"whole": exemplar.whole, "parts": exemplar.parts, "shares": exemplar.shares}
    tensors: dict[str, Tensor] = {
        f"{group}:{key}": value.detach().cpu().contiguous()
        for group, values in groups.items()
        for key, value in values.items()
    }
    return safetensors.torch.save(tensors)


def _unpack(name: str, blob: bytes) -> Exemplar:
    groups: dict[str, dict[str, Tensor]] = {"whole": {}, "parts": {}, "shares": {}}
    try:
        for key, value in safetensors.torch.load(blob).items():
            group, _, rest = key.partition(":")
            groups[group][rest] = value
    except (SafetensorError, KeyError, ValueError) as error:
        raise InputError(f"an exemplar of {name!r} is damaged ({error}): forget the class and teach it again") from None
    return Exemplar(name, groups["whole"], groups["parts"], groups["shares"])
