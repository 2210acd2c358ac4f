"""The tables of the exemplar store, and the migration of older versions."""

from __future__ import annotations

import sqlite3

from ignota.exemplars.rows import escaped, seal_open_rows
from ignota.structures import InputError

VERSION = 3

TABLES = """
CREATE TABLE class (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  colour TEXT NOT NULL,
  hidden INTEGER NOT NULL DEFAULT 0,
  taught_at TEXT NOT NULL,
  seal BLOB NOT NULL DEFAULT x''
) STRICT;
CREATE UNIQUE INDEX shown_name ON class (name) WHERE hidden = 0;
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
  tensors BLOB NOT NULL,
  counter BLOB,
  seal BLOB NOT NULL DEFAULT x''
) STRICT;
CREATE INDEX exemplar_class ON exemplar (class);
CREATE TABLE calibration (
  id INTEGER PRIMARY KEY,
  hidden INTEGER NOT NULL DEFAULT 0,
  recipe TEXT NOT NULL,
  author TEXT NOT NULL,
  at TEXT NOT NULL,
  images INTEGER NOT NULL,
  target_fpr REAL NOT NULL,
  threshold REAL NOT NULL,
  scale REAL NOT NULL,
  reference BLOB,
  seal BLOB NOT NULL DEFAULT x''
) STRICT;
CREATE TABLE history (
  id INTEGER PRIMARY KEY,
  at TEXT NOT NULL,
  author TEXT NOT NULL,
  action TEXT NOT NULL,
  class TEXT NOT NULL,
  detail TEXT NOT NULL DEFAULT '',
  exemplars INTEGER NOT NULL,
  undone_by INTEGER REFERENCES history(id),
  seal BLOB NOT NULL DEFAULT x''
) STRICT;
CREATE TABLE change (
  id INTEGER PRIMARY KEY,
  event INTEGER NOT NULL REFERENCES history(id) ON DELETE CASCADE,
  kind TEXT NOT NULL CHECK (kind IN ('class', 'exemplar', 'calibration')),
  row INTEGER NOT NULL,
  field TEXT NOT NULL,
  before ANY NOT NULL,
  after ANY NOT NULL,
  seal BLOB NOT NULL DEFAULT x''
) STRICT;
CREATE INDEX change_event ON change (event);
CREATE INDEX change_row ON change (kind, row);
CREATE TABLE seal (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  total BLOB NOT NULL
) STRICT;
"""

_FROM_1 = f"""
ALTER TABLE class RENAME TO old_class;
ALTER TABLE exemplar RENAME TO old_exemplar;
ALTER TABLE history RENAME TO old_history;
{TABLES}
INSERT INTO class (id, name, colour, taught_at) SELECT id, name, colour, taught_at FROM old_class;
INSERT INTO exemplar (id, class, image_sha256, source, given, author, at, tensors)
  SELECT e.id, e.class, e.image_sha256, '', escaped(e.source), '', c.taught_at, e.tensors
  FROM old_exemplar e JOIN old_class c ON c.id = e.class;
INSERT INTO history (id, at, author, action, class, exemplars) SELECT id, at, '', action, escaped(class), exemplars
  FROM old_history;
DROP TABLE old_exemplar;
DROP TABLE old_class;
DROP TABLE old_history;
"""

_FROM_2 = f"""
DROP INDEX shown_name;
DROP INDEX exemplar_class;
DROP INDEX change_event;
DROP INDEX change_row;
ALTER TABLE class RENAME TO old_class;
ALTER TABLE exemplar RENAME TO old_exemplar;
ALTER TABLE history RENAME TO old_history;
ALTER TABLE change RENAME TO old_change;
{TABLES}
INSERT INTO class (id, name, colour, hidden, taught_at) SELECT id, name, colour, hidden, taught_at FROM old_class;
INSERT INTO exemplar (id, class, hidden, image_sha256, source, given, author, at, mask, thumbnail, tensors)
  SELECT id, class, hidden, image_sha256, escaped(source), given, escaped(author), at, mask, thumbnail, tensors
  FROM old_exemplar;
INSERT INTO history (id, at, author, action, class, detail, exemplars, undone_by)
  SELECT id, at, escaped(author), action, class, escaped(detail), exemplars, undone_by FROM old_history;
INSERT INTO change (event, kind, row, field, before, after)
  SELECT event, kind, row, field, before, after FROM old_change ORDER BY rowid;
DROP TABLE old_change;
DROP TABLE old_exemplar;
DROP TABLE old_class;
DROP TABLE old_history;
"""

_STEPS = {1: _FROM_1, 2: _FROM_2}
_OLD_TABLES = {1: {"class", "exemplar", "history"}, 2: {"class", "exemplar", "history", "change"}}


def create(connection: sqlite3.Connection) -> None:
    """An empty store of today's version."""
    _run(connection, TABLES, only_from=0)
    connection.execute("PRAGMA foreign_keys = ON")


def version(connection: sqlite3.Connection) -> int:
    """The version that a store was written with."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Brings an older store to today's version in one transaction and seals its rows; nothing to do for a new one."""
    found = version(connection)
    if found not in _STEPS:
        return
    kinds = connection.execute("SELECT type, name FROM sqlite_master").fetchall()
    if {name for kind, name in kinds if kind == "table"} != _OLD_TABLES[found] or not {k for k, _ in kinds} <= {
        "table",
        "index",
    }:
        raise InputError("it holds other tables than a store of its version, or views or triggers")
    connection.create_function("escaped", 1, escaped, deterministic=True)
    connection.execute("PRAGMA foreign_keys = OFF")  # tables are rebuilt; a pragma has no effect inside a transaction
    connection.execute("PRAGMA legacy_alter_table = ON")
    _run(connection, _STEPS[found], only_from=found)
    connection.execute("PRAGMA legacy_alter_table = OFF")
    connection.execute("PRAGMA foreign_keys = ON")


def check_tables(connection: sqlite3.Connection) -> None:
    """Raises InputError unless tables and indices are exactly those of `create`: no views, no triggers."""
    fresh = sqlite3.connect(":memory:", isolation_level=None)
    try:
        create(fresh)
        if _layout(connection) != _layout(fresh):
            raise InputError("its tables are not those of a store, or it holds views or triggers")
    finally:
        fresh.close()


def _layout(connection: sqlite3.Connection) -> set[tuple[object, ...]]:
    return set(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall())


def _run(connection: sqlite3.Connection, script: str, only_from: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if version(connection) == only_from:  # another process may have been first
            for statement in script.split(";"):
                connection.execute(statement)
            seal_open_rows(connection)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
