"""The tables of the exemplar store, and how a store of an older version becomes one of today."""

from __future__ import annotations

import sqlite3

VERSION = 2

_CLASS = """
CREATE TABLE class (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  colour TEXT NOT NULL,
  hidden INTEGER NOT NULL DEFAULT 0,
  taught_at TEXT NOT NULL
);
CREATE UNIQUE INDEX shown_name ON class (name) WHERE hidden = 0;
"""

_EXEMPLAR = """
CREATE TABLE exemplar (
  id INTEGER PRIMARY KEY,
  class INTEGER NOT NULL REFERENCES class(id) ON DELETE CASCADE,
  hidden INTEGER NOT NULL DEFAULT 0,
  image_sha256 TEXT NOT NULL,
  source TEXT NOT NULL,
  given TEXT NOT NULL,
  author TEXT NOT NULL,
  at TEXT NOT NULL,
  mask TEXT,
  thumbnail BLOB,
  tensors BLOB NOT NULL
);
CREATE INDEX exemplar_class ON exemplar (class);
"""

_HISTORY = """
CREATE TABLE history (
  id INTEGER PRIMARY KEY,
  at TEXT NOT NULL,
  author TEXT NOT NULL,
  action TEXT NOT NULL,
  class TEXT NOT NULL,
  detail TEXT NOT NULL DEFAULT '',
  exemplars INTEGER NOT NULL,
  undone_by INTEGER REFERENCES history(id)
);
CREATE TABLE change (
  event INTEGER NOT NULL REFERENCES history(id) ON DELETE CASCADE,
  kind TEXT NOT NULL CHECK (kind IN ('class', 'exemplar')),
  row INTEGER NOT NULL,
  field TEXT NOT NULL,
  before NOT NULL,
  after NOT NULL
);
CREATE INDEX change_event ON change (event);
CREATE INDEX change_row ON change (kind, row);
"""

_FROM_1 = f"""
ALTER TABLE class RENAME TO old_class;
ALTER TABLE exemplar RENAME TO old_exemplar;
ALTER TABLE history RENAME TO old_history;
{_CLASS}{_EXEMPLAR}{_HISTORY}
INSERT INTO class (id, name, colour, taught_at) SELECT id, name, colour, taught_at FROM old_class;
INSERT INTO exemplar (id, class, image_sha256, source, given, author, at, tensors)
  SELECT e.id, e.class, e.image_sha256, '', e.source, '', c.taught_at, e.tensors
  FROM old_exemplar e JOIN old_class c ON c.id = e.class;
INSERT INTO history (id, at, author, action, class, exemplars) SELECT id, at, '', action, class, exemplars
  FROM old_history;
DROP TABLE old_exemplar;
DROP TABLE old_class;
DROP TABLE old_history;
"""

_STEPS = {1: _FROM_1}


def create(connection: sqlite3.Connection) -> None:
    """An empty store of today's version."""
    _run(connection, _CLASS + _EXEMPLAR + _HISTORY, VERSION)
    connection.execute("PRAGMA foreign_keys = ON")


def version(connection: sqlite3.Connection) -> int:
    """The version that a store was written with."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Brings an older store to today's version, step by step, each in one transaction; nothing to do for a new one."""
    connection.execute("PRAGMA foreign_keys = OFF")  # tables are rebuilt; a pragma has no effect inside a transaction
    connection.execute("PRAGMA legacy_alter_table = ON")
    while (found := version(connection)) in _STEPS:
        _run(connection, _STEPS[found], found + 1, only_from=found)
    connection.execute("PRAGMA legacy_alter_table = OFF")
    connection.execute("PRAGMA foreign_keys = ON")


def _run(connection: sqlite3.Connection, script: str, reached: int, only_from: int = 0) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if version(connection) == only_from:  # another process may have been first
            for statement in script.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {reached}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
